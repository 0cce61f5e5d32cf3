// SPDX-License-Identifier: MIT
// Models of every variant on the CUDA backend: prefill and decode, slot by slot and as the engine plays them, against
// the CPU's logits. The emulated plugin everywhere, the real one where there is a
// device.
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness/run/engine.h"
#include "tests/model/build.h"
#include "tests/num/cuda_rig.h"
#include "tests/test.h"
#include "tests/variants/cases.h"

enum { B = 2, T = 40, V = 5, PREFILL = 37, N_STEP = T - PREFILL + 1, N_CTX = 64, CHUNK = 1 << 20 };

// Two ways of adding up, through a few layers: as test_conformance.c has it for decode against forward, twice.
static const double EXACT_ROUNDING = 128;
// Rounded products: each operand is off by 2^-9 at most; a handful of products follow each other in a layer.
static const double BF16_ROUNDING = 8 * 0x1p-9;
// A number that falls on the other side of a rounding boundary is a whole step off, in one row of one stream.
static const double step_of[N_DTYPE] = {0, 0x1p-10, 0x1p-7, 1 / 127.0, 1 / 15.0};

static struct cuda_rig rig;
static double worst_exact, worst_rounded;

// Logits (N_STEP, B, V): of a prefill, and after every step of one token.
static void decode(
        real *logits, const struct backend *backend, const struct model *from, const struct cache_config *config)
{
	struct tape tape;
	struct tape_memory work;
	struct arena arena, memory;
	struct model model;
	struct cache cache;
	struct err err = {0};
	int tokens[B * PREFILL];
	tape_open(&tape, &work, backend, 1, CHUNK);
	arena_init(&arena, CHUNK);
	arena_init_from(&memory, CHUNK, backend->memory);
	model_upload(&model, from, backend, 0, &arena, &memory);
	if (cache_init_in(
	            &cache, config, from->variant, &from->dims, from->variant_config, B, T, &arena, &memory, &err))
		fail_msg("%s", err.message);
	for (int i = 0; i < B * PREFILL; i++)
		tokens[i] = i * i % V;
	for (int at = 0, n; at < T; at += n, logits += B * V) {
		n = at ? 1 : PREFILL;
		tape_restart(&tape, TAPE_RUN);
		const struct tensor *y = model_forward(&tape, &model, tokens, B, n, n - 1, 1, &cache);
		memcpy(logits, tensor_on_host(&tape, y), B * V * sizeof(*logits));
	}
	tape_close(&work);
	arena_release(&arena);
	arena_release(&memory);
}

// The same by the engine, which takes a step down and plays it where the backend can.
static void decode_by_engine(
        real *logits, const struct backend *backend, const struct model *from, const struct cache_config *config)
{
	struct engine engine;
	struct cache cache;
	struct err err = {0};
	int tokens[B * PREFILL];
	engine_init_around(&engine, from, backend, 1);
	if (engine_cache(&engine, &cache, config, B, T, &err))
		fail_msg("%s", err.message);
	for (int i = 0; i < B * PREFILL; i++)
		tokens[i] = i * i % V;
	for (int at = 0; at < T; logits += B * V) {
		const struct tensor *y = at ? engine_step(&engine, &cache, at, tokens)
		                            : engine_prefill(&engine, &cache, tokens, PREFILL);
		memcpy(logits, tensor_on_host(&engine.tape, y), B * V * sizeof(*logits));
		at += at ? 1 : PREFILL;
	}
	engine_release(&engine);
}

static void compare(const char *name, const char *how, const struct cache_config *config, const real *cpu,
        const real *got, double allowed, double *worst)
{
	const double step = fmax(step_of[config->k_dtype], step_of[config->v_dtype]);
	for (int i = 0; i < N_STEP * B * V; i++) {
		const double a = (double)cpu[i], off = fabs((double)got[i] - a) / fmax(1, fabs(a));
		if (step == 0)
			*worst = fmax(*worst, off);
		if (!(off <= allowed + step))
			fail_msg("%s, keys %s, values %s, %s: step %d: logit %g, the CPU's %g", name,
			        dtype_name[config->k_dtype], dtype_name[config->v_dtype], how, i / (B * V),
			        (double)got[i], a);
	}
}

static void check_engine(const struct model *m, const struct cache_config *config, const char *name, const real *cpu)
{
	real played[N_STEP * B * V];
	decode_by_engine(played, rig.exact, m, config);
	compare(name, "played", config, cpu, played, EXACT_ROUNDING * (double)FLT_EPSILON, &worst_exact);
}

static void check(const struct model *m, const struct cache_config *config, const char *name, int is_whole)
{
	real cpu[N_STEP * B * V], exact[N_STEP * B * V], again[N_STEP * B * V], rounded[N_STEP * B * V];
	decode(cpu, &backend_cpu, m, config);
	check_engine(m, config, name, cpu);
	if (!is_whole)
		return;
	decode(exact, rig.exact, m, config);
	decode(again, rig.exact, m, config);
	decode(rounded, rig.rounded, m, config);
	compare(name, "exact", config, cpu, exact, EXACT_ROUNDING * (double)FLT_EPSILON, &worst_exact);
	compare(name, "rounded", config, cpu, rounded, BF16_ROUNDING, &worst_rounded);
	if (memcmp(exact, again, sizeof(exact)))
		fail_msg("%s: a second time gives other bits", name);
}

static int n_checked, n_causal;

// Each in one of the types in turn. Emulated: every other one, and some of them in every way.
static void check_variant(struct model *m, const char *name, int i UNUSED)
{
	static const struct cache_config types[] = {
	        {DTYPE_F32, DTYPE_F32, 0},
	        {DTYPE_F16, DTYPE_BF16, 0},
	        {DTYPE_Q8, DTYPE_Q4, 0},
	        {DTYPE_Q4, DTYPE_F16, K_SCALES_CHANNEL},
	};
	if (!m->config.causal || (n_causal++ % 2 && rig.is_emulated))
		return;
	check(m, &types[n_checked % 4], name, !rig.is_emulated || n_checked % 9 == (int)(test_seed() % 9));
	n_checked++;
}

static void test_variants(void **state UNUSED)
{
	worst_exact = worst_rounded = 0;
	variant_cases_each(check_variant, N_CTX, &rig.host.memory);
	assert_true(n_checked > 50);
	printf("# %d models, f32 caches: off by %.2g at most, %.2g with rounded products\n", n_checked, worst_exact,
	        worst_rounded);
}

static void test_quantised_weights(void **state UNUSED)
{
	static const struct cache_config f32 = {DTYPE_F32, DTYPE_F32, 0};
	static const char *const variants[][2] = {
	        {"mha", ""}, {"mla", "d_latent=6"}, {"keyless", "m1=2 routing=per_head"}};
	for (int dtype = 0; dtype < N_DTYPE; dtype++)
		for (size_t i = 0; i < sizeof(variants) / sizeof(*variants); i++) {
			const struct model_config *config = build_config("decoder",
			        "n_layer=2 d_model=32 n_head=4 d_head=8 d_ff=24", V, N_CTX, &rig.host.memory);
			struct model *m = build_variant(config, variants[i][0], variants[i][1], 1, &rig.host.memory);
			m->dx = NULL;
			model_quantize(m, (enum dtype)dtype, 1, &rig.host.memory);
			check(m, &f32, variants[i][0], 1);
		}
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_variants),
	        cmocka_unit_test(test_quantised_weights),
	};
	return cmocka_run_group_tests_name(rig.is_emulated ? "emulated" : "device", tests, NULL, NULL);
}

int main(void)
{
	return cuda_run_tests(&rig, run);
}
