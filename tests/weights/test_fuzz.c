// SPDX-License-Identifier: MIT
// Fuzzes each reader of foreign files from the corpus, in a process of its own: a crash or a hang is reported with the
// seed and the number of the case, and is run again alone by naming both.
//     KVLAB_FUZZ_S=600      seconds for each reader (1 where it is not said)
//     KVLAB_TEST_SEED=7     other cases
//     KVLAB_FUZZ_CASE=1234  that case only
// For hours, under sanitizers: make tests SAN=address,undefined, then run this program from the project's folder.
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/base/progress.h"
#include "tests/num/rig.h"
#include "tests/test.h"
#include "tests/weights/fuzz.h"

enum { CORPUS_MOST = 200, HANG_S = 20, SAVE_EVERY = 64 };

struct corpus {
	struct bytes file[CORPUS_MOST];
	int n;
};

// Shared with the process that works.
struct progress_of {
	long n_case, n_accepted;
};

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

// In the order of names, so that a seed means the same everywhere.
static void read_corpus(struct corpus *corpus, const char *name)
{
	char folder[300], path[600], *names[CORPUS_MOST];
	snprintf(folder, sizeof(folder), FIXTURES "corpus/%s", name);
	DIR *dir = opendir(folder);
	if (!dir)
		fail_msg("%s cannot be read (run from the project's folder)", folder);
	corpus->n = 0;
	for (struct dirent *entry; (entry = readdir(dir)) && corpus->n < CORPUS_MOST;)
		if (entry->d_name[0] != '.')
			names[corpus->n++] = strdup(entry->d_name);
	closedir(dir);
	qsort(names, (size_t)corpus->n, sizeof(*names), by_name);
	for (int i = 0; i < corpus->n; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		corpus->file[i] = bytes_of_file(path);
		free(names[i]);
	}
	assert_true(corpus->n > 0);
}

static void release_corpus(struct corpus *corpus)
{
	for (int i = 0; i < corpus->n; i++)
		free(corpus->file[i].data);
}

// Cases come from (seed, case) alone. The first ones are the corpus as it is.
static int run_case(const struct fuzz_target *target, const struct corpus *corpus, long n, const char *scratch)
{
	const int first = (int)(target - fuzz_targets);
	struct rng rng = rng_make(test_seed(), RNG_CHECK, (uint64_t)n * N_FUZZ_TARGET + (uint64_t)first);
	const struct bytes *start = &corpus->file[n < corpus->n ? n : (long)rng_below(&rng, (uint32_t)corpus->n)];
	struct bytes b = {0};
	bytes_add(&b, start->data, start->n);
	if (n >= corpus->n)
		fuzz_mutate(&b, target->shape, corpus->file, corpus->n, &rng);
	unsigned char *exact = malloc(b.n ? b.n : 1);
	if (b.n)
		memcpy(exact, b.data, b.n);
	// In time of the processor: a busy machine is no hang.
	const struct itimerval limit = {.it_value = {.tv_sec = HANG_S}}, none = {{0}};
	setitimer(ITIMER_PROF, &limit, NULL);
	// An empty file is refused before any reader sees it.
	int accepted = b.n ? fuzz_input(target, exact, b.n, scratch && n % SAVE_EVERY == 0 ? scratch : NULL) : 0;
	setitimer(ITIMER_PROF, &none, NULL);
	free(exact);
	free(b.data);
	return accepted;
}

static void work(
        const struct fuzz_target *target, const struct corpus *corpus, struct progress_of *done, const char *scratch)
{
	const char *seconds = getenv("KVLAB_FUZZ_S"), *only = getenv("KVLAB_FUZZ_CASE");
	const double end = clock_s() + (seconds ? atof(seconds) : 1);
	if (only) {
		done->n_case = atol(only);
		done->n_accepted = run_case(target, corpus, done->n_case, scratch);
		return;
	}
	for (; done->n_case < corpus->n || clock_s() < end; done->n_case++)
		done->n_accepted += run_case(target, corpus, done->n_case, scratch);
}

static void fuzz(const struct fuzz_target *target)
{
	struct corpus corpus;
	int status;
	char *folder = folder_make(), scratch[400];
	snprintf(scratch, sizeof(scratch), "%s/saved.safetensors", folder);
	read_corpus(&corpus, target->name);
	struct progress_of *done = mmap(NULL, sizeof(*done), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(done, MAP_FAILED);
	test_seed();
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		work(target, &corpus, done, scratch);
		release_corpus(&corpus);
		free(folder);
		exit(0); // a leak fails here under AddressSanitizer
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	print_message("%s: %ld cases, %ld accepted\n", target->name, done->n_case, done->n_accepted);
	const long at = done->n_case;
	munmap(done, sizeof(*done));
	release_corpus(&corpus);
	folder_remove(folder);
	if (status)
		fail_msg("%s: %s in case %ld: KVLAB_TEST_SEED=%llu KVLAB_FUZZ_CASE=%ld runs it again", target->name,
		        WIFSIGNALED(status) && WTERMSIG(status) == SIGPROF ? "a hang" : "a crash", at,
		        (unsigned long long)test_seed(), at);
}

#define FUZZ_TARGET(name, number)                                                                                      \
	static void name(UNUSED void **state)                                                                          \
	{                                                                                                              \
		fuzz(&fuzz_targets[number]);                                                                           \
	}
FUZZ_TARGET(safetensors, 0)
FUZZ_TARGET(gguf, 1)
FUZZ_TARGET(llama2c, 2)
FUZZ_TARGET(sharded_index, 3)
FUZZ_TARGET(config, 4)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(safetensors),
	        cmocka_unit_test(gguf),
	        cmocka_unit_test(llama2c),
	        cmocka_unit_test(sharded_index),
	        cmocka_unit_test(config),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
