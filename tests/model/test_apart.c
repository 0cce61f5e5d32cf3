// SPDX-License-Identifier: MIT
// Nothing but slots touches a backend's memory: models of every variant train, prefill and decode on a backend whose
// pages fault at all other times, and every number has the bits of backend_cpu's.
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/model/optimizer.h"
#include "tests/model/build.h"
#include "tests/num/apart.h"
#include "tests/num/rig.h"
#include "tests/test.h"
#include "tests/variants/cases.h"

enum { B = 2, T = 40, V = 5, PREFILL = 35, STEPS = 3, N_CTX = 64, CHUNK = 1 << 20 };

RIG_FIXTURE; // what the test holds

// A model at work on a backend, from the same weights.
struct side {
	struct tape tape;
	struct tape_memory work;
	struct arena arena, memory; // what is known of it, and what it holds
	struct model model;
};

static void open_side(struct side *s, const struct backend *backend, const struct model *from, int with_gradients)
{
	tape_open(&s->tape, &s->work, backend, 1, CHUNK);
	s->tape.dropout_seed = 3;
	arena_init(&s->arena, CHUNK);
	arena_init_from(&s->memory, CHUNK, backend->memory);
	model_upload(&s->model, from, backend, with_gradients, &s->arena, &s->memory);
}

static void close_side(struct side *s)
{
	tape_close(&s->work);
	arena_release(&s->arena);
	arena_release(&s->memory);
}

// --- training -----------------------------------------------------------------------------------------------------

// Losses of some steps, then all weights.
static void train(real *weights, double *loss, const struct backend *backend, const struct model *from)
{
	static const struct optimizer_config adam = {.lr = 1e-2,
	        .beta1 = 0.9,
	        .beta2 = 0.99,
	        .eps = 1e-8,
	        .weight_decay = 0.1,
	        .clip = 0.5,
	        .warmup = 1,
	        .steps = STEPS};
	struct side s;
	struct optimizer o;
	int tokens[B * T], targets[B * T];
	open_side(&s, backend, from, 1);
	optimizer_init(&o, &adam, &s.model, &s.memory);
	for (int i = 0; i < B * T; i++)
		tokens[i] = i * i % V, targets[i] = i % 7 ? (i * 3 + 1) % V : -1;
	for (int step = 0; step < STEPS; step++) {
		tape_restart(&s.tape, TAPE_RECORD);
		s.tape.dropout_step = (unsigned long long)step;
		model_clear_gradients(&s.model);
		loss[step] = model_loss(&s.tape, &s.model, tokens, B, T, 0, T, NULL, targets, NULL).mean;
		tape_backward(&s.tape);
		model_settle_gradients(&s.model);
		const struct exec exec = op_exec(&s.tape);
		optimizer_step(&o, &s.model, step + 1, &exec, backend);
	}
	model_download_values(&s.model, weights);
	close_side(&s);
}

static void check_training(struct model *m, const char *name, int i UNUSED)
{
	const struct arena_mark mark = arena_mark(&rig.memory);
	const size_t n = (size_t)m->n_padded;
	real *here = arena_alloc(&rig.memory, n * sizeof(real)), *apart = arena_alloc(&rig.memory, n * sizeof(real));
	double loss[STEPS], loss_apart[STEPS];
	train(here, loss, &backend_cpu, m);
	train(apart, loss_apart, &backend_apart, m);
	assert_true(isfinite(loss[STEPS - 1]));
	if (memcmp(loss, loss_apart, sizeof(loss)) || memcmp(here, apart, n * sizeof(real)))
		fail_msg("%s: training differs", name);
	arena_rewind(&rig.memory, mark);
}

static void every_variant_trains(void **state UNUSED)
{
	assert_true(variant_cases_each(check_training, N_CTX, &rig.memory) > 100);
}

// Shapes that differ outside of attention.
static void every_kind_of_block_trains(void **state UNUSED)
{
	block_cases_each(check_training, "n_layer=2 d_model=16 n_head=2 d_head=8 d_ff=12", N_CTX, &rig.memory);
}

// --- inference ----------------------------------------------------------------------------------------------------

// Logits (B, V) after a prefill and after every step of one token; the cache is then repeated onto a longer one.
static void decode(
        real *logits, const struct backend *backend, const struct model *from, const struct cache_config *config)
{
	struct side s;
	struct cache cache;
	struct err err = {0};
	int tokens[B * PREFILL];
	open_side(&s, backend, from, 0);
	if (cache_init_in(
	            &cache, config, from->variant, &from->dims, from->variant_config, B, T, &s.arena, &s.memory, &err))
		fail_msg("%s", err.message);
	for (int i = 0; i < B * PREFILL; i++)
		tokens[i] = i * i % V;
	for (int at = 0, n; at < T; at += n, logits += B * V) {
		n = at ? 1 : PREFILL;
		tape_restart(&s.tape, TAPE_RUN);
		const struct tensor *y = model_forward(&s.tape, &s.model, tokens, B, n, n - 1, 1, &cache);
		memcpy(logits, tensor_on_host(&s.tape, y), B * V * sizeof(*logits));
	}
	close_side(&s);
}

static void check_decoding(const struct model *m, const struct cache_config *config, const char *name)
{
	real here[(T - PREFILL + 1) * B * V], apart[(T - PREFILL + 1) * B * V];
	decode(here, &backend_cpu, m, config);
	decode(apart, &backend_apart, m, config);
	for (size_t i = 0; i < sizeof(here) / sizeof(*here); i++)
		assert_true(isfinite((double)here[i]));
	if (memcmp(here, apart, sizeof(here)))
		fail_msg("%s: keys %s, values %s: decoding differs", name, dtype_name[config->k_dtype],
		        dtype_name[config->v_dtype]);
}

static void check_types(struct model *m, const char *name, int n UNUSED)
{
	static const struct cache_config types[] = {
	        {DTYPE_F32, DTYPE_F32, 0},
	        {DTYPE_F16, DTYPE_BF16, 0},
	        {DTYPE_Q8, DTYPE_Q4, 0},
	        {DTYPE_Q4, DTYPE_F16, K_SCALES_CHANNEL},
	        {DTYPE_Q8, DTYPE_F32, K_SCALES_CHANNEL},
	};
	for (size_t i = 0; m->config.causal && i < sizeof(types) / sizeof(*types); i++)
		check_decoding(m, &types[i], name);
}

static void every_variant_decodes_through_every_type(void **state UNUSED)
{
	variant_cases_each(check_types, N_CTX, &rig.memory);
}

// Weights in every type, uploaded as they are.
static void quantised_weights_decode(void **state UNUSED)
{
	static const struct cache_config f16 = {DTYPE_F16, DTYPE_F16, 0};
	static const char *const variants[][2] = {{"mha", ""}, {"key_channels", "d_keep=4"}, {"mla", "d_latent=6"},
	        {"keyless", "m1=2 routing=per_head"}, {"shared_kv", "plus=true m=5"}};
	for (int dtype = 0; dtype < N_DTYPE; dtype++)
		for (size_t i = 0; i < sizeof(variants) / sizeof(*variants); i++) {
			const struct model_config *config = build_config(
			        "decoder", "n_layer=2 d_model=32 n_head=4 d_head=8 d_ff=24", V, N_CTX, &rig.memory);
			struct model *m = build_variant(config, variants[i][0], variants[i][1], 1, &rig.memory);
			m->dx = NULL;
			model_quantize(m, (enum dtype)dtype, 1, &rig.memory);
			check_decoding(m, &f16, variants[i][0]);
		}
}

// --- the test itself ----------------------------------------------------------------------------------------------

// What the others rely on: a look into that memory between slots ends the process.
static void a_look_behind_the_backend_is_fatal(void **state UNUSED)
{
	struct side s;
	const struct model *m =
	        build_variant(build_config("decoder", "n_layer=1 d_model=8 n_head=1 d_ff=4", V, N_CTX, &rig.memory),
	                "mha", "", 1, &rig.memory);
	open_side(&s, &backend_apart, m, 0);
	fflush(stdout);
	const pid_t child = fork();
	if (!child) {
		signal(SIGSEGV, SIG_DFL); // not cmocka's, nor a sanitizer's
		volatile const real *x = s.model.x;
		_exit(*x == 0 || *x != 0 ? 0 : 1);
	}
	int status = 0;
	waitpid(child, &status, 0);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	close_side(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_look_behind_the_backend_is_fatal),
	        cmocka_unit_test(every_variant_trains),
	        cmocka_unit_test(every_kind_of_block_trains),
	        cmocka_unit_test(every_variant_decodes_through_every_type),
	        cmocka_unit_test(quantised_weights_decode),
	};
	return cmocka_run_group_tests_name("a backend's memory", tests, setup, teardown);
}
