// SPDX-License-Identifier: MIT
// Ranks that train one model together, as processes with the CPU's backend and sums through shared memory: what each
// has after some steps is what one process has that trains alone on the same batches.
#include <float.h>
#include <math.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/run/trainer.h"
#include "tests/model/build.h"
#include "tests/test.h"

enum { RANKS = 2, STEPS = 6, NUMBERS = 1 << 16, HOST_NUMBERS = 8, BATCH = 8 };

// Both ranks see it.
struct meeting {
	pthread_barrier_t barrier;
	real x[RANKS][NUMBERS];
	double sum[RANKS][HOST_NUMBERS], loss[RANKS][STEPS];
	real weights[RANKS][NUMBERS];
	long n_moment[RANKS];
	int differs[RANKS];
};

static struct arena arena;
static struct meeting *meeting;
static struct rank_slots slots;

static void meet(void)
{
	pthread_barrier_wait(&meeting->barrier);
}

static void reduce(const struct exec *exec UNUSED, real *x, long n)
{
	memcpy(meeting->x[slots.rank], x, (size_t)(slots.n_rank * n) * sizeof(*x));
	meet();
	for (long i = slots.rank * n; i < (slots.rank + 1) * n; i++) {
		x[i] = meeting->x[0][i];
		for (int rank = 1; rank < slots.n_rank; rank++)
			x[i] += meeting->x[rank][i];
	}
	for (long i = 0; i < slots.n_rank * n; i++) // undefined outside of it
		if (i / n != slots.rank)
			x[i] = (real)NAN;
	meet();
}

static void gather(const struct exec *exec UNUSED, real *x, long n)
{
	memcpy(meeting->x[0] + slots.rank * n, x + slots.rank * n, (size_t)n * sizeof(*x));
	meet();
	memcpy(x, meeting->x[0], (size_t)(slots.n_rank * n) * sizeof(*x));
	meet();
}

static void sum(const struct exec *exec UNUSED, double *x, int n)
{
	memcpy(meeting->sum[slots.rank], x, (size_t)n * sizeof(*x));
	meet();
	for (int i = 0; i < n; i++) {
		x[i] = 0;
		for (int rank = 0; rank < slots.n_rank; rank++)
			x[i] += meeting->sum[rank][i];
	}
	meet();
}

static void train(const struct setup *setup, const struct backend *backend, int rank)
{
	static const struct optimizer_config adamw = {
	        .lr = 0.01, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-6, .weight_decay = 0.1, .clip = 0.5, .steps = STEPS};
	struct trainer t;
	struct err err = {0};
	if (trainer_init_on(&t, backend, setup, &adamw, BATCH, 1, 1, NULL, NULL, &err))
		_exit(9);
	for (int step = 1; step <= STEPS; step++)
		meeting->loss[rank][step - 1] = trainer_step(&t, step).mean;
	memcpy(meeting->weights[rank], t.model.x, (size_t)t.model.n_padded * sizeof(real));
	meeting->n_moment[rank] = t.optimizer.n_moment;
	meeting->differs[rank] = trainer_differs(&t, 7) + 2 * trainer_differs(&t, t.rank) +
	                         4 * trainer_agree(&t, t.rank == 1) + 8 * trainer_agree(&t, 0);
	trainer_release(&t);
}

// Each rank is a process.
static void train_together(const struct setup *setup, int n_rank)
{
	pthread_barrierattr_t shared;
	pthread_barrierattr_init(&shared);
	pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(&meeting->barrier, &shared, (unsigned)n_rank);
	pid_t child[RANKS];
	for (int rank = 0; rank < n_rank; rank++) {
		child[rank] = fork();
		if (child[rank])
			continue;
		struct backend backend = backend_cpu;
		alarm(60); // the other one may have died
		slots = (struct rank_slots){rank, n_rank, reduce, gather, sum};
		backend.ranks = &slots;
		train(setup, &backend, rank);
		_exit(0);
	}
	for (int rank = 0; rank < n_rank; rank++) {
		int status = -1;
		waitpid(child[rank], &status, 0);
		assert_int_equal(status, 0);
	}
	pthread_barrier_destroy(&meeting->barrier);
}

static const struct setup *setup_of(const char *task)
{
	return build_setup("decoder n_layer=2 d_model=16 n_head=2 d_ff=32", "thin_keys d_select=8", task, "", &arena);
}

static void several_ranks_train_as_one_does(void **state UNUSED)
{
	// The second has targets in some places only: ranks have them in different numbers.
	static const char *const tasks[] = {"copy_back length=13 n_symbol=4 lag=3", "induction"};
	for (int i = 0; i < 2; i++) {
		const struct setup *setup = setup_of(tasks[i]);
		double alone[STEPS];
		static real weights[NUMBERS];
		train(setup, &backend_cpu, 0);
		memcpy(alone, meeting->loss[0], sizeof(alone));
		memcpy(weights, meeting->weights[0], sizeof(weights));
		const long n_moment = meeting->n_moment[0];
		assert_int_equal(meeting->differs[0], 0);
		train_together(setup, RANKS);
		assert_memory_equal(meeting->loss[0], meeting->loss[1], sizeof(alone));
		assert_memory_equal(meeting->weights[0], meeting->weights[1], sizeof(weights));
		for (int step = 0; step < STEPS; step++)
			if (!(fabs(meeting->loss[0][step] - alone[step]) <=
			            8 * (double)FLT_EPSILON * (step + 1) * (1 + alone[step])))
				fail_msg("step %d: a loss of %.9g, alone %.9g", step + 1, meeting->loss[0][step],
				        alone[step]);
		for (int rank = 0; rank < RANKS; rank++) {
			assert_int_equal(meeting->n_moment[rank] * RANKS, n_moment);
			assert_int_equal(meeting->differs[rank], 2 + 4);
		}
	}
}

static void one_rank_has_the_bits_of_none(void **state UNUSED)
{
	const struct setup *setup = setup_of("copy_back length=13 n_symbol=4 lag=3");
	double alone[STEPS];
	static real weights[NUMBERS];
	train(setup, &backend_cpu, 0);
	memcpy(alone, meeting->loss[0], sizeof(alone));
	memcpy(weights, meeting->weights[0], sizeof(weights));
	train_together(setup, 1);
	assert_memory_equal(meeting->loss[0], alone, sizeof(alone));
	assert_memory_equal(meeting->weights[0], weights, sizeof(weights));
}

static void what_cannot_be_shared_is_refused(void **state UNUSED)
{
	const struct setup *setup = setup_of("copy_back length=13 n_symbol=4 lag=3");
	static const struct optimizer_config adam = {.lr = 0.01, .steps = 1};
	static const struct {
		int n_rank, batch;
		const char *train_only, *sentence;
	} refused[] = {
	        {2, 7, NULL, "cannot share a batch of 7"},
	        {3, 6, NULL, "3 ranks cannot share"},
	        {2, 6, "w_q w_k", "leave train_only out"},
	};
	for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
		struct backend backend = backend_cpu;
		struct trainer t;
		struct err err = {0};
		slots = (struct rank_slots){0, refused[i].n_rank, reduce, gather, sum};
		backend.ranks = &slots;
		assert_int_equal(trainer_init_on(&t, &backend, setup, &adam, refused[i].batch, 1, 1, NULL,
		                         refused[i].train_only, &err),
		        -1);
		assert_non_null(strstr(err.message, refused[i].sentence));
	}
}

static int begin(void **state UNUSED)
{
	arena_init(&arena, 1 << 20);
	meeting = mmap(NULL, sizeof(*meeting), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return meeting == MAP_FAILED;
}

static int end(void **state UNUSED)
{
	arena_release(&arena);
	return munmap(meeting, sizeof(*meeting));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(several_ranks_train_as_one_does),
	        cmocka_unit_test(one_rank_has_the_bits_of_none),
	        cmocka_unit_test(what_cannot_be_shared_is_refused),
	};
	return cmocka_run_group_tests_name("ranks", tests, begin, end);
}
