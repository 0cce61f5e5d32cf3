// SPDX-License-Identifier: MIT
// Training, evaluation, checkpoints, engines and measured arms on a backend whose memory faults between slots: the same
// bits as on the CPU's. And what is said where a device is not to be had.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/num/device.h"
#include "harness/run/decode_arm.h"
#include "harness/run/engine.h"
#include "harness/run/run.h"
#include "harness/run/trainer.h"
#include "tests/model/build.h"
#include "tests/num/apart.h"
#include "tests/test.h"

ARENA_FIXTURE(arena, 1 << 20);

// --- training -----------------------------------------------------------------------------------------------------

static const struct optimizer_config adam = {.lr = 0.003, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .clip = 1};

static void open_trainer(struct trainer *t, const struct backend *backend, const struct setup *setup, const char *only)
{
	struct err err = {0};
	if (trainer_init_on(t, backend, setup, &adam, 16, 1, 1, NULL, only, &err))
		fail_msg("%s", err.message);
}

struct outcome {
	double loss[4], evaluated;
	long hits;
};

// Two steps, a checkpoint, two more and an evaluation; the checkpoint is then read into a trainer on `other`, which
// goes on from it.
static struct outcome train(const struct backend *backend, const struct backend *other, const struct setup *setup,
        const char *only, const char *path)
{
	struct outcome o;
	struct run_log log;
	struct err err = {0};
	struct trainer t;
	run_log_init(&log);
	log.build = "";
	open_trainer(&t, backend, setup, only);
	for (int i = 0; i < 4; i++) {
		if (i == 2) {
			const size_t moments = (size_t)t.model.n_trained * sizeof(real);
			struct checkpoint_block block[] = {
			        {t.model.x, (size_t)t.model.n_padded * sizeof(real), t.model.home},
			        {t.optimizer.m, moments, t.model.home}, {t.optimizer.v, moments, t.model.home}};
			if (checkpoint_write(path, "test", &log, block, 3, &err))
				fail_msg("%s", err.message);
			trainer_release(&t);
			open_trainer(&t, other, setup, only);
			block[0].data = t.model.x, block[1].data = t.optimizer.m, block[2].data = t.optimizer.v;
			block[0].home = block[1].home = block[2].home = t.model.home;
			assert_int_equal(checkpoint_read(path, "test", &log, block, 3, &err), 1);
		}
		o.loss[i] = trainer_step(&t, i + 1).mean;
	}
	const struct loss loss = trainer_evaluate(&t, RNG_VALIDATION, 20, NULL).loss;
	o.evaluated = loss.mean, o.hits = loss.hits;
	trainer_release(&t);
	run_log_release(&log);
	return o;
}

static void training_has_the_cpus_bits_and_checkpoints(void **state UNUSED)
{
	static const char *const only[] = {NULL, "w_q w_k norm_gain"};
	char path[] = "/tmp/kvlab_device_XXXXXX";
	const int fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	for (int i = 0; i < 2; i++) {
		struct setup *setup = build_setup("decoder n_layer=2 d_model=32 n_head=4 d_ff=64 dropout=0.1",
		        i ? "thin_keys d_select=8" : "mha", "retrieval", "", &arena);
		struct cache_config cache = {DTYPE_Q8, DTYPE_F16, 0};
		setup->cache = i ? &cache : setup->cache;
		const struct outcome cpu = train(&backend_cpu, &backend_cpu, setup, only[i], path);
		const long calls = apart_calls();
		const struct outcome apart = train(&backend_apart, &backend_apart, setup, only[i], path),
		                     mixed = train(&backend_apart, &backend_cpu, setup, only[i], path);
		assert_true(apart_calls() > calls + 100);
		assert_true(isfinite(cpu.loss[3]) && cpu.loss[3] != cpu.loss[0]);
		for (int s = 0; s < 4; s++)
			assert_true(cpu.loss[s] == apart.loss[s] && cpu.loss[s] == mixed.loss[s]);
		assert_true(cpu.evaluated == apart.evaluated && cpu.evaluated == mixed.evaluated);
		assert_true(cpu.hits == apart.hits && cpu.hits == mixed.hits);
	}
	unlink(path);
}

// --- decoding -----------------------------------------------------------------------------------------------------

enum { V = 50, T = 40, B = 2 };

// Logits (B, V) of a prefill's last tokens, then of a step at a filled cache.
static void decode(real *logits, const struct engine_config *config)
{
	static const struct cache_config types = {DTYPE_Q8, DTYPE_F16, 0};
	struct engine e;
	struct cache cache;
	struct err err = {0};
	int tokens[B * T];
	for (int i = 0; i < B * T; i++)
		tokens[i] = i * 7 % V;
	engine_init(&e, config);
	if (engine_cache(&e, &cache, &types, B, T, &err))
		fail_msg("%s", err.message);
	memcpy(logits, tensor_on_host(&e.tape, engine_prefill(&e, &cache, tokens, 9)), B * V * sizeof(real));
	cache_fill(&e.tape, &cache, T - 1, 3);
	memcpy(logits + B * V, tensor_on_host(&e.tape, engine_step(&e, &cache, T - 1, tokens)), B * V * sizeof(real));
	assert_true(engine_count(&e, &cache, T - 1).flops > 0);
	engine_release(&e);
}

static void engines_have_the_cpus_bits(void **state UNUSED)
{
	static const char *const variants[][2] = {{"mha", ""}, {"keyless", "m1=3"}, {"mla", "d_latent=32"}};
	for (int dtype = 0; dtype < N_DTYPE; dtype++)
		for (int i = 0; i < 3; i++) {
			const struct model_config *c = build_config(
			        "decoder", "n_layer=2 d_model=64 n_head=4 d_ff=96 position=sinusoidal", V, T, &arena);
			const struct model *m = build_variant(c, variants[i][0], variants[i][1], 1, &arena);
			struct engine_config config = {c, m->variant, m->variant_config, (enum dtype)dtype, 1, 5, NULL};
			real here[2 * B * V], apart[2 * B * V];
			decode(here, &config);
			config.backend = &backend_apart;
			decode(apart, &config);
			assert_true(isfinite((double)here[0]) && here[0] != here[1]);
			assert_memory_equal(here, apart, sizeof(here));
		}
}

static double gate(const struct decode_place *place, const struct setup *setup, double *prompt)
{
	const struct decode_point shape = {70, 2, 35, DTYPE_BF16};
	struct decode_arm arm;
	struct tape tape;
	struct tape_memory work;
	struct err err = {0};
	int tokens[35];
	for (int i = 0; i < 35; i++)
		tokens[i] = i * i % 100;
	tape_open(&tape, &work, place->backend, 1, 1 << 20);
	decode_arm_of(&arm, setup, &shape, &arena);
	if (decode_arm_build(&arm, NULL, &shape, 1, place, &err))
		fail_msg("%s", err.message);
	const double error = decode_arm_gate(&arm, &tape, 1, place);
	*prompt = decode_arm_prefill(&arm, &tape, tokens, 35);
	decode_arm_fill(&arm, &tape, 70);
	*prompt += decode_arm_step(&arm, &tape, tokens);
	decode_arm_release(&arm);
	tape_close(&work);
	return error;
}

static void arms_have_the_cpus_bits(void **state UNUSED)
{
	struct setup *setup = build_setup(
	        "llama n_layer=2 d_model=64 n_head=4 n_kv_head=2 d_ff=96 n_ctx=400", "gqa", "retrieval", "", &arena);
	struct arena memory;
	struct cache_config cache = {DTYPE_Q8, DTYPE_Q8, 0};
	double seconds;
	setup->cache = &cache;
	arena_init_from(&memory, 1 << 20, backend_apart.memory);
	const struct decode_place cpu = {&backend_cpu, &arena, &arena, 1, 0},
	                          apart = {&backend_apart, &arena, &memory, 1, 0};
	const double error = gate(&cpu, setup, &seconds);
	assert_true(error > 0 && error < 1e-3);
	assert_true(gate(&apart, setup, &seconds) == error && seconds > 0);
	arena_release(&memory);
}

// --- devices ------------------------------------------------------------------------------------------------------

static void check_refused(const char *name, const char *expected)
{
	struct err err = {0}, seen = {0};
	struct device_look look;
	assert_null(device_open(name, 1, &err));
	assert_int_equal(device_look(&look, name, &seen), -1);
	assert_string_equal(err.message, seen.message); // also from the process that looked
	assert_false(err.is_fault || seen.is_fault);
	if (!strstr(err.message, expected))
		fail_msg("'%s' is not in '%s'", expected, err.message);
}

static void what_is_not_there_is_refused(void **state UNUSED)
{
	struct err err = {0};
	struct device_look look;
	check_refused("gpu", "there are cpu, cuda and paths of plugins");
	check_refused("/nowhere/kvlab_cuda.so", "cannot be loaded");
	check_refused("/proc/self/exe", "--device /proc/self/exe");
	check_refused("cuda", "cuda"); // test programs have no plugin beside them
	assert_ptr_equal(device_open("cpu", 0, &err), &backend_cpu);
	assert_int_equal(device_look(&look, "cpu", &err), 0);
	assert_true(look.available < 0 && !*look.library);
	assert_int_equal(device_check_memory(&backend_apart, 1e9, &err), 0);
	assert_int_equal(device_check_memory(&backend_apart, 1.5e9, &err), -1);
	assert_string_equal(err.message, "needs 1.40 GiB of the memory of device 'apart', which has 0.93 GiB free");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(training_has_the_cpus_bits_and_checkpoints),
	        cmocka_unit_test(engines_have_the_cpus_bits),
	        cmocka_unit_test(arms_have_the_cpus_bits),
	        cmocka_unit_test(what_is_not_there_is_refused),
	};
	return cmocka_run_group_tests_name("devices", tests, setup, teardown);
}
