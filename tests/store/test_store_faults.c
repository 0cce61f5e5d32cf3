// SPDX-License-Identifier: MIT
// Files that cannot be used, disks that are full, folders that are read-only: one line with the file and a remedy,
// and what was stored is still there.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/store/internal.h"
#include "tests/store/sample.h"
#include "tests/test.h"

static const int heads[] = {1}, keys[] = {4, 8, 16, 32}, widths[] = {1, 2, 3, 4, 6, 8, 12, 16};
static const struct sample_grid grid = {.experiment = "trial",
        .n_head = heads,
        .n_key = keys,
        .d_select_per_head = widths,
        .n_n_head = 1,
        .n_n_key = 4,
        .n_d_select_per_head = 8,
        .n_seed = 4};

static void refused(const char *path, int create, const char *reason, const char *remedy)
{
	struct store *store;
	struct err err = {0};
	assert_int_equal(store_open(&store, path, create, &err), -1);
	assert_null(store);
	assert_false(err.is_fault); // exit status 2
	if (strncmp(err.message, path, strlen(path)) || !strstr(err.message, reason) || !strstr(err.message, remedy) ||
	        strchr(err.message, '\n'))
		fail_msg("message: %s", err.message);
}

static void write_text(const char *path, const char *text)
{
	FILE *out = fopen(path, "w");
	assert_non_null(out);
	fputs(text, out);
	fclose(out);
}

static void raw_database(const char *path, const char *sql)
{
	sqlite3 *db;
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void files_that_are_not_ours_are_refused(void **state UNUSED)
{
	char path[300];
	char *folder = sample_folder();
	struct stat before, after;
	snprintf(path, sizeof(path), "%s/none.db", folder);
	refused(path, 0, "no such database", "--db");
	refused(folder, 1, "is a folder", "--db");
	snprintf(path, sizeof(path), "%s/text.db", folder);
	write_text(path, "this is no database, but longer than a header\n");
	refused(path, 1, "not a SQLite database", "--db");
	snprintf(path, sizeof(path), "%s/short.db", folder);
	write_text(path, "x");
	refused(path, 1, "not a SQLite database", "--db");
	snprintf(path, sizeof(path), "%s/torn.db", folder);
	write_text(path, "SQLite format 3");
	refused(path, 1, "not a SQLite database", "--db");
	snprintf(path, sizeof(path), "%s/foreign.db", folder);
	raw_database(path, "PRAGMA application_id = 99; CREATE TABLE bookmark (url)");
	stat(path, &before);
	refused(path, 1, "another program (application_id 0x00000063)", "--db");
	stat(path, &after);
	assert_int_equal(before.st_size, after.st_size);
	snprintf(path, sizeof(path), "%s/plain.db", folder);
	raw_database(path, "CREATE TABLE note (text)");
	refused(path, 1, "another program", "--db");
	snprintf(path, sizeof(path), "%s/newer.db", folder);
	store_close(sample_open(path));
	raw_database(path, "PRAGMA user_version = 99");
	char message[80];
	snprintf(message, sizeof(message), "newer kvlab (schema 99, this one knows %d)",
	        store_migrations[store_n_migration - 1].to);
	refused(path, 1, message, "--db");
	sample_remove(folder);
}

static void an_empty_file_becomes_a_database(void **state UNUSED)
{
	char path[300];
	char *folder = sample_folder();
	snprintf(path, sizeof(path), "%s/empty.db", folder);
	write_text(path, "");
	store_close(sample_open(path));
	sample_remove(folder);
}

// Fills the disk under a database until a run cannot be finished; then with room again, all that was reported is
// there and the rest goes on.
static void until_it_is_full(const char *path, long *n_done)
{
	struct arena arena;
	struct err err = {0};
	struct store_run run;
	struct store *store;
	enum { N_METRIC = 500 };
	static struct metric metric[N_METRIC];
	int rc = 0;
	*n_done = 0;
	arena_init(&arena, 1 << 16);
	if (!store_open(&store, path, 0, &err))
		while ((rc = store_claim(store, "trial", "small", &run, &arena, &err)) > 0) {
			for (int i = 0; i < N_METRIC; i++)
				metric[i] = (struct metric){"loss", "train", i, 0.1 * i};
			if (store_finish(store, run.id, RUN_DONE, NULL, metric, N_METRIC, NULL, 0, 1, &err))
				break;
			++*n_done;
		}
	if (!err.is_set || !err.is_fault || strncmp(err.message, path, strlen(path)) ||
	        !strstr(err.message, "free some space")) {
		fprintf(stderr, "%ld done, message: %s\n", *n_done, err.message);
		*n_done = -1;
	}
	store_close(store);
	arena_release(&arena);
}

static void check_kept(const char *path, long n_done)
{
	struct arena arena;
	struct err err = {0};
	struct table table;
	assert_true(n_done > 3 && n_done < 128);
	arena_init(&arena, 1 << 16);
	struct store *store = sample_open(path);
	assert_int_equal(
	        store_query(store, "SELECT count(*), (SELECT count(*) FROM metric) FROM run WHERE state = 'done'", NULL,
	                &table, &arena, &err),
	        0);
	assert_int_equal(atol(table.cell[0]), n_done);
	assert_int_equal(atol(table.cell[1]), 500 * n_done);
	assert_int_equal(sample_finish(store, "trial", 1000, &err), 128 - n_done);
	store_close(store);
	arena_release(&arena);
}

static void prepare(const char *path)
{
	struct err err = {0};
	struct store *store = sample_open(path);
	assert_int_equal(sample_plan(store, &grid, &err), 0);
	store_close(store);
}

// In a process of its own, so that its lease dies with it. most_bytes 0: no limit on the size of a file.
static long fill(const char *path, rlim_t most_bytes)
{
	int channel[2], status;
	long n_done = -1;
	assert_int_equal(pipe(channel), 0);
	pid_t child = fork();
	if (child == 0) {
		struct rlimit limit = {most_bytes, most_bytes};
		signal(SIGXFSZ, SIG_IGN);
		if (most_bytes)
			setrlimit(RLIMIT_FSIZE, &limit);
		until_it_is_full(path, &n_done);
		_exit(write(channel[1], &n_done, sizeof(n_done)) != sizeof(n_done));
	}
	close(channel[1]);
	assert_int_equal(read(channel[0], &n_done, sizeof(n_done)), sizeof(n_done));
	waitpid(child, &status, 0);
	close(channel[0]);
	return n_done;
}

static void a_file_that_may_not_grow_keeps_what_it_has(void **state UNUSED)
{
	char path[300];
	char *folder = sample_folder();
	snprintf(path, sizeof(path), "%s/results.db", folder);
	prepare(path);
	check_kept(path, fill(path, 400000));
	sample_remove(folder);
}

static void a_full_disk_keeps_what_it_has(void **state UNUSED)
{
	char path[300];
	char *folder = sample_folder();
	if (mount("tmpfs", folder, "tmpfs", 0, "size=1m")) {
		rmdir(folder);
		print_message("skipped: a small tmpfs cannot be mounted here (needs root)\n");
		skip();
	}
	snprintf(path, sizeof(path), "%s/results.db", folder);
	prepare(path);
	long n_done = fill(path, 0);
	int rc = mount("tmpfs", folder, "tmpfs", MS_REMOUNT, "size=64m");
	if (!rc)
		check_kept(path, n_done);
	umount(folder);
	rmdir(folder);
	assert_int_equal(rc, 0);
}

// As an ordinary user: root may write everywhere.
static void as_nobody(void (*check)(const char *folder), const char *folder)
{
	int status;
	pid_t child = fork();
	if (child == 0) {
		if (geteuid() == 0 && (setgid(65534) || setuid(65534)))
			_exit(2);
		check(folder);
		_exit(0);
	}
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
}

static void refused_or_exit(const char *path, int create, const char *reason)
{
	struct store *store;
	struct err err = {0};
	if (store_open(&store, path, create, &err) == -1 && strstr(err.message, reason) && strstr(err.message, "--db"))
		return;
	fprintf(stderr, "message: %s\n", err.message);
	_exit(1);
}

static void check_read_only(const char *folder)
{
	char path[300];
	snprintf(path, sizeof(path), "%s/results.db", folder);
	refused_or_exit(path, 1, "cannot be");
	snprintf(path, sizeof(path), "%s/new.db", folder);
	refused_or_exit(path, 1, "cannot be opened");
	snprintf(path, sizeof(path), "%s/sub/new.db", folder);
	refused_or_exit(path, 1, "cannot be made: Permission denied");
	snprintf(path, sizeof(path), "%s/secret.db", folder);
	refused_or_exit(path, 0, "cannot be read: Permission denied");
}

static void read_only_folders_are_told(void **state UNUSED)
{
	char path[300];
	char *folder = sample_folder();
	snprintf(path, sizeof(path), "%s/secret.db", folder);
	prepare(path);
	chmod(path, 0);
	snprintf(path, sizeof(path), "%s/results.db", folder);
	prepare(path);
	chmod(path, 0444);
	chmod(folder, 0555);
	as_nobody(check_read_only, folder);
	chmod(folder, 0755);
	sample_remove(folder);
}

// Reads of run and metric, in a process of its own as an ordinary user; n_done finished runs are expected.
static int64_t expected_done;
static const char *readable_name;

static void check_readable(const char *folder)
{
	char path[300];
	struct store *store;
	struct err err = {0};
	int64_t n_done = -1;
	snprintf(path, sizeof(path), "%s/%s", folder, readable_name);
	if (store_open(&store, path, STORE_READ, &err) ||
	        store_get(store, &err, &n_done, 0,
	                "SELECT count(*) FROM run r WHERE state = 'done' AND EXISTS (SELECT 1 FROM metric m WHERE "
	                "m.run_id = r.id)",
	                "")) {
		fprintf(stderr, "message: %s\n", err.message);
		_exit(1);
	}
	store_close(store);
	if (n_done != expected_done) {
		fprintf(stderr, "%lld finished runs, expected %lld\n", (long long)n_done, (long long)expected_done);
		_exit(1);
	}
	refused_or_exit(path, STORE_WRITE, "cannot be");
}

static void copy_file(const char *from, const char *to)
{
	struct arena arena;
	arena_init(&arena, 1 << 16);
	struct stat info;
	char *data = sample_read_file(from, &arena);
	assert_non_null(data);
	assert_int_equal(stat(from, &info), 0);
	FILE *out = fopen(to, "w");
	assert_non_null(out);
	assert_int_equal(fwrite(data, 1, (size_t)info.st_size, out), info.st_size);
	fclose(out);
	arena_release(&arena);
}

// Read-only in four states: closed, open elsewhere, left by a killed process, and copied with its -wal alone.
static void read_only_databases_can_be_read(void **state UNUSED)
{
	char path[300], copy[300];
	struct err err = {0};
	static const char *const folder_suffix[] = {"", "-wal", "-shm"};
	for (int kind = 0; kind < 4; kind++) {
		char *folder = sample_folder();
		snprintf(path, sizeof(path), "%s/a?b%%20#.db", folder);
		prepare(path);
		struct store *store = sample_open(path);
		expected_done = sample_finish(store, "trial", 40, &err);
		assert_int_equal(expected_done, 40);
		readable_name = "a?b%20#.db";
		if (kind == 0) {
			store_close(store);
			store = NULL;
		}
		if (kind >= 2) {
			for (int i = 0; i < (kind == 2 ? 3 : 2); i++) {
				char from[320];
				snprintf(from, sizeof(from), "%s%s", path, folder_suffix[i]);
				snprintf(copy, sizeof(copy), "%s/copy.db%s", folder, folder_suffix[i]);
				copy_file(from, copy);
				chmod(copy, 0444);
			}
			readable_name = "copy.db";
		}
		chmod(path, 0444);
		chmod(folder, 0555);
		as_nobody(check_readable, folder);
		chmod(folder, 0755);
		chmod(path, 0644);
		store_close(store);
		sample_remove(folder);
	}
}

static void an_older_file_that_is_read_only_says_so(void **state UNUSED)
{
	char path[300];
	char *folder = sample_folder();
	snprintf(path, sizeof(path), "%s/results.db", folder);
	prepare(path);
	raw_database(path, "PRAGMA user_version = 1");
	chmod(path, 0444);
	chmod(folder, 0555);
	pid_t child = fork();
	int status;
	if (child == 0) {
		if (geteuid() == 0 && (setgid(65534) || setuid(65534)))
			_exit(2);
		refused_or_exit(path, STORE_READ, "written by an older kvlab (schema 1) and read-only");
		_exit(0);
	}
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
	chmod(folder, 0755);
	sample_remove(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(files_that_are_not_ours_are_refused),
	        cmocka_unit_test(an_empty_file_becomes_a_database),
	        cmocka_unit_test(a_file_that_may_not_grow_keeps_what_it_has),
	        cmocka_unit_test(a_full_disk_keeps_what_it_has),
	        cmocka_unit_test(read_only_folders_are_told),
	        cmocka_unit_test(read_only_databases_can_be_read),
	        cmocka_unit_test(an_older_file_that_is_read_only_says_so),
	};
	return cmocka_run_group_tests_name("store faults", tests, NULL, NULL);
}
