// SPDX-License-Identifier: MIT
#include "harness/bench/floor.h"

#include "harness/bench/sample.h"
#include "harness/num/cpu/probe.h"

const char *const floor_way_name[FLOOR_WAYS] = {
        "OpenBLAS, its own threads", "OpenBLAS, one thread a call", "own kernel"};

static const double attention_of_peak = 0.5, cap_s = 0.12;

struct product {
	struct exec exec;
	struct gemm gemm;
};

static void run_openblas(void *product)
{
	struct product *p = product;
	probe_gemm(&p->exec, &p->gemm, PROBE_BLAS_OWN_THREADS);
}

static void run_halves(void *product)
{
	struct product *p = product;
	probe_gemm(&p->exec, &p->gemm, PROBE_BLAS_HALVES);
}

static void run_own(void *product)
{
	struct product *p = product;
	backend_cpu.gemm(&p->exec, &p->gemm);
}

static real *numbers(struct arena *arena, long n)
{
	real *x = arena_alloc(arena, (size_t)n * sizeof(real));
	struct rng rng = rng_make(1, RNG_CHECK, (uint64_t)n);
	for (long i = 0; i < n; i++)
		x[i] = (real)(rng_uniform(&rng) - 0.5);
	return x;
}

// Which products one step runs: noted by the profile's wrappers.
static void note_step(struct profile *profile, const struct workload *w)
{
	struct stepper s;
	stepper_init(&s, w, 1);
	s.trainer.tape.backend = profile_start(profile);
	stepper_run(&s);
	trainer_release(&s.trainer);
}

static void time_product(double *s, const struct profile_product *p, int n_thread, struct arena *arena,
        struct arena *scratch, struct arm *arm, struct rng *rng)
{
	const int is_tn = p->form == GEMM_TN, is_nt = p->form == GEMM_NT;
	struct product product = {{n_thread, scratch}, {.form = p->form,
	                                                       .m = p->m,
	                                                       .n = p->n,
	                                                       .k = p->k,
	                                                       .a = numbers(arena, (long)p->m * p->k),
	                                                       .lda = is_tn ? p->m : p->k,
	                                                       .b = numbers(arena, (long)p->k * p->n),
	                                                       .ldb = is_nt ? p->k : p->n,
	                                                       .c = numbers(arena, (long)p->m * p->n),
	                                                       .ldc = p->n}};
	void (*const run[FLOOR_WAYS])(void *) = {run_openblas, run_halves, run_own};
	// With one thread the first two ways are the same call.
	const int first = n_thread > 1 ? 0 : 1;
	for (int way = first; way < FLOOR_WAYS; way++)
		arm[way].run = run[way], arm[way].arg = &product;
	sample_arms(arm + first, FLOOR_WAYS - first, 0.01, cap_s, rng);
	if (first)
		arm[0].median = arm[1].median;
	for (int way = 0; way < FLOOR_WAYS; way++)
		s[way] = arm[way].median;
}

// Seconds of a call by each way; NULL when it has not been timed yet.
static const double *find_product(const struct floor_memory *memory, const struct profile_product *p)
{
	for (int i = 0; i < memory->n; i++) {
		const struct profile_product *known = &memory->shape[i];
		if (known->form == p->form && known->m == p->m && known->n == p->n && known->k == p->k)
			return memory->s[i];
	}
	return NULL;
}

static void add_product(struct floor *floor, const struct profile_product *p, const double *s)
{
	double best = s[0];
	for (int way = 0; way < FLOOR_WAYS; way++) {
		floor->gemm_s[way] += s[way] * (double)p->calls;
		best = s[way] < best ? s[way] : best;
	}
	floor->gemm_best_s += best * (double)p->calls;
	floor->sgemm_best_s +=
	        (s[FLOOR_OPENBLAS] < s[FLOOR_HALVES] ? s[FLOOR_OPENBLAS] : s[FLOOR_HALVES]) * (double)p->calls;
	floor->gemm_flops += 2.0 * p->m * p->n * p->k * (double)p->calls;
}

void floor_measure(
        struct floor *floor, struct floor_memory *memory, const struct workload *w, int n_thread, struct rng *rng)
{
	struct profile profile;
	struct arena arena, scratch;
	arena_init(&arena, 64 << 20);
	arena_init(&scratch, 16 << 20);
	note_step(&profile, w);
	struct arm *arm = arena_zalloc(&arena, FLOOR_WAYS * sizeof(*arm));
	*floor = (struct floor){.attention_flops = profile.attention_flops, .n_product = profile.n_product};
	memory = memory ? memory : arena_zalloc(&arena, sizeof(*memory));
	for (int i = 0; i < profile.n_product; i++) {
		const struct profile_product *p = &profile.product[i];
		const double *known = find_product(memory, p);
		if (!known) {
			struct arena_mark mark = arena_mark(&arena);
			if (memory->n == FLOOR_PRODUCTS)
				BUG("bench: more than %d product shapes", FLOOR_PRODUCTS);
			memory->shape[memory->n] = *p;
			time_product(memory->s[memory->n], p, n_thread, &arena, &scratch, arm, rng);
			known = memory->s[memory->n++];
			arena_rewind(&arena, mark);
		}
		add_product(floor, p, known);
	}
	arena_release(&arena);
	arena_release(&scratch);
}

double floor_step_s(const struct floor *floor, double fma_flops_s)
{
	return floor->gemm_best_s + floor->attention_flops / (attention_of_peak * fma_flops_s);
}

double floor_sgemm_step_s(const struct floor *floor, double fma_flops_s)
{
	return floor_step_s(floor, fma_flops_s) - floor->gemm_best_s + floor->sgemm_best_s;
}
