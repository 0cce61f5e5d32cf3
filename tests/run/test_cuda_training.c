// SPDX-License-Identifier: MIT
// Models that train on the CUDA backend: losses against the CPU's, in f32 and with rounded products, and the same bits
// a second time. The emulated plugin everywhere, the real one where there is a device.
#include <float.h>
#include <math.h>
#include <string.h>

#include "harness/model/optimizer.h"
#include "tests/model/build.h"
#include "tests/num/cuda_rig.h"
#include "tests/test.h"

enum { B = 2, T = 20, V = 5, N_CTX = 64, STEPS = 3, CHUNK = 1 << 20 };

// Two ways of adding up, and steps that build on each other.
static const double EXACT_ROUNDING = 128;
// Rounded products: each operand is off by 2^-9 at most, and a loss is the mean of many rows.
static const double BF16_ROUNDING = 8 * 0x1p-9;

static struct cuda_rig rig;

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
	struct tape tape;
	struct tape_memory work;
	struct arena arena, memory;
	struct model model;
	struct optimizer o;
	int tokens[B * T], targets[B * T];
	tape_open(&tape, &work, backend, 1, CHUNK);
	tape.dropout_seed = 3;
	arena_init(&arena, CHUNK);
	arena_init_from(&memory, CHUNK, backend->memory);
	model_upload(&model, from, backend, 1, &arena, &memory);
	optimizer_init(&o, &adam, &model, &memory);
	for (int i = 0; i < B * T; i++)
		tokens[i] = i * i % V, targets[i] = i % 7 ? (i * 3 + 1) % V : -1;
	for (int step = 0; step < STEPS; step++) {
		tape_restart(&tape, TAPE_RECORD);
		tape.dropout_step = (unsigned long long)step;
		model_clear_gradients(&model);
		loss[step] = model_loss(&tape, &model, tokens, B, T, 0, T, NULL, targets, NULL).mean;
		tape_backward(&tape);
		model_settle_gradients(&model);
		const struct exec exec = op_exec(&tape);
		optimizer_step(&o, &model, step + 1, &exec, backend);
	}
	model_download_values(&model, weights);
	tape_close(&work);
	arena_release(&arena);
	arena_release(&memory);
}

// Losses follow the CPU's (Adam divides by the size of a gradient: where that is rounding alone, a weight may go either
// way, so weights are not compared), and a second time gives the same bits.
static void test_training(void **state UNUSED)
{
	static const char *const settings[][3] = {
	        {"mha", "", "dropout=0.2 position=learned"},
	        {"gqa", "", "n_kv_head=2 norm=rms activation=swiglu position=rope tied_head=true"},
	        {"keyless", "m1=2 routing=per_head", ""},
	        {"mla", "d_latent=6", "norm_place=post activation=gelu_new"},
	        {"shared_kv", "plus=true m=5", "bias=false"},
	};
	for (size_t i = 0; i < sizeof(settings) / sizeof(*settings); i++) {
		const char *text = arena_printf(
		        &rig.host.memory, "n_layer=2 d_model=32 n_head=4 d_head=8 d_ff=24 %s", settings[i][2]);
		const struct model *m = build_variant(build_config("decoder", text, V, N_CTX, &rig.host.memory),
		        settings[i][0], settings[i][1], 1, &rig.host.memory);
		const size_t n = (size_t)m->n_padded;
		real *weights[4];
		double loss[4][STEPS];
		const struct backend *backends[4] = {&backend_cpu, rig.exact, rig.exact, rig.rounded};
		for (int k = 0; k < 4; k++) {
			weights[k] = arena_alloc(&rig.host.memory, n * sizeof(real));
			train(weights[k], loss[k], backends[k], m);
		}
		for (int step = 0; step < STEPS; step++) {
			if (!(fabs(loss[1][step] - loss[0][step]) <=
			            EXACT_ROUNDING * (double)FLT_EPSILON * loss[0][step] * (1 + step)))
				fail_msg("%s: step %d: loss %.9g, the CPU's %.9g", settings[i][0], step, loss[1][step],
				        loss[0][step]);
			if (!(fabs(loss[3][step] - loss[0][step]) <= BF16_ROUNDING * loss[0][step]))
				fail_msg("%s, rounded: step %d: loss %.9g, the CPU's %.9g", settings[i][0], step,
				        loss[3][step], loss[0][step]);
		}
		if (memcmp(loss[1], loss[2], sizeof(loss[1])) || memcmp(weights[1], weights[2], n * sizeof(real)))
			fail_msg("%s: training a second time gives other bits", settings[i][0]);
	}
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_training),
	};
	return cmocka_run_group_tests_name(rig.is_emulated ? "emulated" : "device", tests, NULL, NULL);
}

int main(void)
{
	return cuda_run_tests(&rig, run);
}
