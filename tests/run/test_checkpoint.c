// SPDX-License-Identifier: MIT
// Checkpoints: read back whole or not at all. Whatever is missing, cut, changed or of another run is ignored and leaves
// everything as it was; what cannot be read or written is reported, and the old file stays.
#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/run/run.h"
#include "tests/test.h"

enum { WEIGHTS = 37 };

static char folder[] = "/tmp/kvlab_checkpoint_XXXXXX";
static char path[sizeof(folder) + 16];

struct state {
	long step;
	float weight[WEIGHTS];
	struct checkpoint_block block[2];
	struct run_log log;
};

static void make(struct state *s, int first)
{
	memset(s, 0, sizeof(*s));
	s->step = first;
	for (int i = 0; i < WEIGHTS; i++)
		s->weight[i] = (float)(first + i);
	s->block[0] = (struct checkpoint_block){&s->step, sizeof(s->step)};
	s->block[1] = (struct checkpoint_block){s->weight, sizeof(s->weight)};
	run_log_init(&s->log);
	run_log_metric(&s->log, "loss", "train", first, 0.1 * first);
}

static void write_good(const struct state *s)
{
	struct err err = {0};
	if (checkpoint_write(path, "key/1", &s->log, s->block, 2, &err))
		fail_msg("%s", err.message);
}

static void assert_same(const struct state *a, const struct state *b)
{
	assert_int_equal(a->step, b->step);
	assert_memory_equal(a->weight, b->weight, sizeof(a->weight));
	assert_int_equal(a->log.n_metric, b->log.n_metric);
	for (long i = 0; i < a->log.n_metric; i++) {
		const struct metric *x = &a->log.metric[i], *y = &b->log.metric[i];
		assert_string_equal(x->name, y->name);
		assert_string_equal(x->split, y->split);
		assert_int_equal(x->step, y->step);
		assert_memory_equal(&x->value, &y->value, sizeof(double));
	}
}

static void what_was_written_is_read_back(void **state UNUSED)
{
	struct state a, b;
	struct err err = {0};
	make(&a, 7);
	run_log_metric(&a.log, "accuracy", "validation", 3, NAN);
	run_log_metric(&a.log, "accuracy", "test", -1, -INFINITY);
	for (int i = 0; i < 1000; i++)
		run_log_metric(&a.log, "loss", "train", i, 1.0 / (i + 3));
	write_good(&a);
	make(&b, 1);
	assert_int_equal(checkpoint_read(path, "key/1", &b.log, b.block, 2, &err), 1);
	assert_same(&b, &a);
	run_log_release(&a.log);
	run_log_release(&b.log);
}

// Reading finds nothing for this run, says nothing and changes nothing.
static void assert_ignored(const char *identity, int n_block, size_t weight_bytes)
{
	struct state got, before;
	struct err err = {0};
	make(&got, 50);
	make(&before, 50);
	got.block[1].bytes = weight_bytes;
	assert_int_equal(checkpoint_read(path, identity, &got.log, got.block, n_block, &err), 0);
	assert_false(err.is_set);
	assert_same(&got, &before);
	run_log_release(&got.log);
	run_log_release(&before.log);
}

static void replace_file(const void *data, size_t n)
{
	FILE *out = fopen(path, "w");
	assert_non_null(out);
	assert_int_equal(fwrite(data, 1, n, out), n);
	assert_int_equal(fclose(out), 0);
}

static void what_is_not_this_runs_is_ignored(void **state UNUSED)
{
	struct state a;
	make(&a, 7);
	unlink(path);
	assert_ignored("key/1", 2, sizeof(a.weight)); // none there
	write_good(&a);
	assert_ignored("key/2", 2, sizeof(a.weight)); // another seed
	assert_ignored("key/11", 2, sizeof(a.weight));
	assert_ignored("", 2, sizeof(a.weight));
	assert_ignored("key/1", 1, sizeof(a.weight)); // another layout
	assert_ignored("key/1", 2, sizeof(a.weight) - 4);
	replace_file("", 0);
	assert_ignored("key/1", 2, sizeof(a.weight));
	const char *text = "not a checkpoint at all, but a text that is longer than the head of one would be\n";
	replace_file(text, strlen(text));
	assert_ignored("key/1", 2, sizeof(a.weight));
	run_log_release(&a.log);
}

static void any_damage_is_seen(void **state UNUSED)
{
	struct state a;
	make(&a, 7);
	write_good(&a);
	unsigned char file[4096];
	FILE *in = fopen(path, "r");
	assert_non_null(in);
	const size_t n = fread(file, 1, sizeof(file), in);
	fclose(in);
	assert_in_range(n, sizeof(a.weight), sizeof(file) - 1);
	for (size_t cut = 0; cut < n; cut++) {
		replace_file(file, cut);
		assert_ignored("key/1", 2, sizeof(a.weight));
	}
	for (size_t at = 0; at < n; at++) {
		file[at] ^= 1 << at % 8;
		replace_file(file, n);
		assert_ignored("key/1", 2, sizeof(a.weight));
		file[at] ^= 1 << at % 8;
	}
	file[n] = 'x';
	replace_file(file, n + 1);
	assert_ignored("key/1", 2, sizeof(a.weight));
	run_log_release(&a.log);
}

static int n_file(void)
{
	int n = 0;
	DIR *dir = opendir(folder);
	for (struct dirent *entry; (entry = readdir(dir));)
		n += entry->d_name[0] != '.';
	closedir(dir);
	return n;
}

static void what_cannot_be_written_is_reported_and_the_old_one_stays(void **state UNUSED)
{
	struct state old, new, got;
	struct err err = {0};
	make(&old, 1);
	make(&new, 2);
	make(&got, 3);
	unlink(path);
	write_good(&old);
	// A limit on the size of files stands for a full disk.
	struct rlimit before, small = {64, 64};
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small.rlim_max = before.rlim_max;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	const int status = checkpoint_write(path, "key/1", &new.log, new.block, 2, &err);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(status, -1);
	assert_non_null(strstr(err.message, path));
	assert_int_equal(n_file(), 1); // nothing half written is left
	err_clear(&err);
	assert_int_equal(checkpoint_read(path, "key/1", &got.log, got.block, 2, &err), 1);
	assert_same(&got, &old);

	char nowhere[sizeof(path) + 16];
	snprintf(nowhere, sizeof(nowhere), "%s/none/x", folder);
	assert_int_equal(checkpoint_write(nowhere, "key/1", &new.log, new.block, 2, &err), -1);
	assert_non_null(strstr(err.message, nowhere));
	err_clear(&err);
	snprintf(nowhere, sizeof(nowhere), "%s/x", path); // in a file as if it were a folder
	assert_int_equal(checkpoint_read(nowhere, "key/1", &got.log, got.block, 2, &err), -1);
	assert_non_null(strstr(err.message, nowhere));
	run_log_release(&old.log);
	run_log_release(&new.log);
	run_log_release(&got.log);
}

static void an_unreadable_one_is_reported(void **state UNUSED)
{
	if (geteuid() == 0)
		skip(); // root reads everything
	struct state a;
	struct err err = {0};
	make(&a, 1);
	write_good(&a);
	assert_int_equal(chmod(path, 0), 0);
	assert_int_equal(checkpoint_read(path, "key/1", &a.log, a.block, 2, &err), -1);
	assert_non_null(strstr(err.message, path));
	run_log_release(&a.log);
}

static int begin(void **state UNUSED)
{
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/checkpoint", folder);
	return 0;
}

static int end(void **state UNUSED)
{
	unlink(path);
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(what_was_written_is_read_back),
	        cmocka_unit_test(what_is_not_this_runs_is_ignored),
	        cmocka_unit_test(any_damage_is_seen),
	        cmocka_unit_test(what_cannot_be_written_is_reported_and_the_old_one_stays),
	        cmocka_unit_test(an_unreadable_one_is_reported),
	};
	return cmocka_run_group_tests_name("checkpoints", tests, begin, end);
}
