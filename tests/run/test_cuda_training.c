// SPDX-License-Identifier: MIT
// Training on the CUDA backend against the CPU's: gradients of whole models, loss curves, the same bits again, after a
// stop and with recomputation. The emulated plugin everywhere, the real one where there is a device.
//
// What may differ. In f32 both add the same numbers up in two orders: the error of a gradient is some roundings of the
// magnitudes that meet in it, which the whole gradient's norm stands for (gradients of key biases, say, are zero but
// for rounding). With bf16 every operand of a product is off by 2^-9 of itself at most; errors of a row are of all
// signs. Adam divides a gradient by its own size, so that rounding steers some weights by a whole learning rate; a loss
// is flat in these, and curves are held together by a share of a loss that grows with the steps.
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/run/run.h"
#include "harness/run/trainer.h"
#include "tests/model/build.h"
#include "tests/num/cuda_rig.h"
#include "tests/test.h"
#include "tests/variants/cases.h"

enum { B = 2, T = 20, V = 5, N_CTX = 64, STEPS = 20, CHUNK = 1 << 20 };

static const double EXACT_GRADIENT = 16 * (double)FLT_EPSILON;
static const double ROUNDED_GRADIENT = 8 * 0x1p-9;
static const double EXACT_CURVE = 2 * (double)FLT_EPSILON; // a step, of the loss
static const double ROUNDED_CURVE = 0x1p-12;

static struct cuda_rig rig;
static double worst_exact, worst_rounded;

// --- gradients ------------------------------------------------------------------------------------------------------

// Gradients of one batch, as they lie in the model's block; its loss is returned.
static double gradients(real *dx, const struct backend *backend, const struct model *from, int recomputes)
{
	struct tape tape;
	struct tape_memory work;
	struct arena arena, memory;
	struct model model;
	int tokens[B * T], targets[B * T];
	tape_open(&tape, &work, backend, 1, CHUNK);
	tape.dropout_seed = 3;
	tape.dropout_step = 1;
	arena_init(&arena, CHUNK);
	arena_init_from(&memory, CHUNK, backend->memory);
	model_upload(&model, from, backend, 1, &arena, &memory);
	model.recomputes = recomputes;
	for (int i = 0; i < B * T; i++)
		tokens[i] = i * i % V, targets[i] = i % 7 ? (i * 3 + 1) % V : -1;
	tape_restart(&tape, TAPE_RECORD);
	model_clear_gradients(&model);
	const double loss = model_loss(&tape, &model, tokens, B, T, 0, T, NULL, targets, NULL).mean;
	tape_backward(&tape);
	model_settle_gradients(&model);
	const struct exec exec = op_exec(&tape);
	backend->download(&exec, dx, model.dx, (size_t)model.n_trained * sizeof(real));
	tape_close(&work);
	arena_release(&arena);
	arena_release(&memory);
	return loss;
}

static double norm_of(const real *x, const real *y, long n)
{
	double sum = 0;
	for (long i = 0; i < n; i++) {
		const double d = (double)x[i] - (y ? (double)y[i] : 0);
		sum += d * d;
	}
	return sqrt(sum);
}

static void compare(const char *name, const char *how, const struct model *m, const real *cpu, const real *got,
        double allowed, double *worst)
{
	const double whole = norm_of(cpu, NULL, m->n_trained);
	for (int p = 0; p < m->n_param; p++) {
		const struct tensor *t = &m->param[p].tensor;
		const ptrdiff_t at = t->dx - m->dx;
		const long n = (long)t->T * t->C;
		const double off = norm_of(got + at, cpu + at, n) / (norm_of(cpu + at, NULL, n) + whole / 16);
		*worst = fmax(*worst, off);
		if (!(off <= allowed))
			fail_msg("%s, %s: gradient of %s is off by %.2g, %.2g is allowed", name, how, m->param[p].name,
			        off, allowed);
	}
}

static int n_checked;

static void check(struct model *m, const char *name, int i UNUSED)
{
	const struct arena_mark mark = arena_mark(&rig.host.memory);
	const size_t bytes = (size_t)m->n_trained * sizeof(real);
	real *cpu = arena_alloc(&rig.host.memory, bytes), *got = arena_alloc(&rig.host.memory, bytes),
	     *again = arena_alloc(&rig.host.memory, bytes);
	const double loss = gradients(cpu, &backend_cpu, m, 0), exact = gradients(got, rig.exact, m, 0);
	if (!(fabs(exact - loss) <= EXACT_GRADIENT * (1 + loss)))
		fail_msg("%s: a loss of %.9g, the CPU's is %.9g", name, exact, loss);
	compare(name, "exact", m, cpu, got, EXACT_GRADIENT, &worst_exact);
	gradients(again, rig.exact, m, 1);
	if (memcmp(got, again, bytes))
		fail_msg("%s: recomputation changes bits", name);
	gradients(got, rig.rounded, m, 0);
	compare(name, "rounded", m, cpu, got, ROUNDED_GRADIENT, &worst_rounded);
	arena_rewind(&rig.host.memory, mark);
	n_checked++;
}

// Emulated: one in 29, others with another seed.
static void check_variant(struct model *m, const char *name, int i)
{
	if (!rig.is_emulated || i % 29 == (int)(test_seed() % 29))
		check(m, name, i);
}

static void test_gradients_of_variants(void **state UNUSED)
{
	n_checked = 0, worst_exact = worst_rounded = 0;
	variant_cases_each(check_variant, N_CTX, &rig.host.memory);
	assert_true(n_checked > 10);
	printf("# gradients of %d models: off by %.2g at most, %.2g with rounded products\n", n_checked, worst_exact,
	        worst_rounded);
}

static void test_gradients_of_blocks(void **state UNUSED)
{
	worst_exact = worst_rounded = 0;
	block_cases_each(check, "n_layer=2 d_model=16 n_head=2 d_head=8 d_ff=12", N_CTX, &rig.host.memory);
	printf("# blocks: off by %.2g at most, %.2g with rounded products\n", worst_exact, worst_rounded);
}

// --- curves
// -----------------------------------------------------------------------------------------------------------

static const struct optimizer_config adam = {.lr = 0.01,
        .beta1 = 0.9,
        .beta2 = 0.99,
        .eps = 1e-8,
        .weight_decay = 0.01,
        .clip = 1,
        .warmup = 4,
        .steps = STEPS};

// plays: from the second step on, steps are played as the graph of it.
static void curve(double *loss, const struct backend *backend, const struct setup *setup, int plays)
{
	struct trainer t;
	struct err err = {0};
	if (trainer_init_on(&t, backend, setup, &adam, 4, 1, 1, NULL, NULL, &err))
		fail_msg("%s", err.message);
	t.played.is_refused = !plays;
	for (int step = 1; step <= STEPS; step++) {
		loss[step - 1] = trainer_step(&t, step).mean;
		if (step == STEPS / 2) // evaluations come between, on the same arenas
			trainer_evaluate(&t, RNG_VALIDATION, 7, NULL);
	}
	assert_int_equal(t.played.graph != NULL, backend->graph && plays);
	trainer_release(&t);
}

static void hold_together(const double *cpu, const double *got, double a_step, const char *how)
{
	double worst = 0;
	for (int s = 0; s < STEPS; s++) {
		const double off = fabs(got[s] - cpu[s]) / cpu[s] / (s + 1);
		worst = fmax(worst, off);
		if (!(off <= a_step))
			fail_msg("%s: step %d has a loss of %.9g, the CPU's %.9g", how, s + 1, got[s], cpu[s]);
	}
	printf("# curve, %s: off by %.2g of the loss a step at most, from %.3f to %.3f\n", how, worst, cpu[0],
	        cpu[STEPS - 1]);
}

static void test_loss_curves(void **state UNUSED)
{
	static const char *const variants[] = {"mha", "thin_keys d_select=4", "shared_kv plus=true m=6"};
	for (int i = rig.is_emulated; i < 3; i++) {
		const struct setup *setup = build_setup("decoder n_layer=2 d_model=16 n_head=2 d_ff=32 dropout=0.1",
		        variants[i], "copy_back length=13 n_symbol=4 lag=3", "", &rig.host.memory);
		double cpu[STEPS], exact[STEPS], again[STEPS], rounded[STEPS];
		curve(cpu, &backend_cpu, setup, 1);
		curve(exact, rig.exact, setup, 1);
		curve(again, rig.exact, setup, 0);
		curve(rounded, rig.rounded, setup, 1);
		assert_true(cpu[STEPS - 1] < 0.9 * cpu[0]); // it learns
		assert_memory_equal(exact, again, sizeof(exact));
		hold_together(cpu, exact, EXACT_CURVE, "f32");
		hold_together(cpu, rounded, ROUNDED_CURVE, "bf16");
		curve(again, rig.rounded, setup, 1);
		assert_memory_equal(rounded, again, sizeof(rounded));
	}
}

// Many narrow heads over long sequences: attention's backward takes its part of the scratch memory.
static void test_scratch_is_what_was_planned(void **state UNUSED)
{
	static const char *const variants[] = {"mha", "shared_kv plus=true m=6 map_per_head=true"};
	for (int i = 0; i < 2; i++) {
		const struct setup *setup = build_setup("decoder n_layer=1 d_model=16 n_head=8 d_head=2 d_ff=64",
		        variants[i], "copy_back length=250 n_symbol=4 lag=3", "", &rig.host.memory);
		const double planned = trainer_count(setup, 4, 0).scratch_bytes;
		struct trainer t;
		struct err err = {0};
		assert_int_equal(trainer_init_on(&t, rig.rounded, setup, &adam, 4, 1, 1, NULL, NULL, &err), 0);
		trainer_step(&t, 1);
		printf("# scratch, %s: %zu bytes, %.0f planned\n", variants[i], t.work.scratch.peak_bytes, planned);
		assert_true((double)t.work.scratch.peak_bytes <= 1.1 * planned + 4096);
		assert_true((double)t.work.scratch.peak_bytes >= 0.5 * planned);
		trainer_release(&t);
	}
}

// --- runs
// -------------------------------------------------------------------------------------------------------------

static int stop_at_once(void *context UNUSED, double fraction UNUSED)
{
	return 1;
}

static int run_once(const struct setup *setup, struct run_log *log)
{
	struct err err = {0};
	const int status = setup->procedure->run(setup, 5, 1, log, &err);
	if (status < 0)
		fail_msg("%s", err.message);
	return status;
}

// Stopped after every step and gone on with from the checkpoint.
static void test_a_stopped_run_ends_with_the_same_bits(void **state UNUSED)
{
	char folder[] = "/tmp/kvlab_cuda_XXXXXX", path[sizeof(folder) + 16], text[8192];
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/checkpoint", folder);
	for (int rounded = 0; rounded < 2; rounded++) {
		snprintf(text, sizeof(text),
		        "steps=4 eval_every=2 n_validation=4 n_test=4 batch=4 lr=0.01 clip=1 device=%s precision=%s "
		        "recompute=%s",
		        rig.path, rounded ? "bf16" : "f32", rounded ? "true" : "false");
		const struct setup *setup = build_setup("decoder n_layer=1 d_model=16 n_head=2 d_ff=16 dropout=0.1",
		        "thin_keys d_select=4", "retrieval n_key=4 n_value=4", text, &rig.host.memory);
		struct run_log whole, log;
		int n_stop = 0;
		run_log_init(&whole);
		assert_int_equal(run_once(setup, &whole), 0);
		for (;; n_stop++) {
			run_log_init(&log);
			log.checkpoint_path = path;
			log.tick = stop_at_once;
			if (run_once(setup, &log) == 0)
				break;
			run_log_release(&log);
		}
		assert_int_equal(n_stop, 4);
		assert_int_equal(log.n_metric, whole.n_metric);
		for (long i = 0; i < log.n_metric; i++) {
			assert_string_equal(log.metric[i].name, whole.metric[i].name);
			assert_memory_equal(&log.metric[i].value, &whole.metric[i].value, sizeof(double));
		}
		run_log_release(&log);
		run_log_release(&whole);
		unlink(path);
	}
	rmdir(folder);
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_gradients_of_variants),
	        cmocka_unit_test(test_gradients_of_blocks),
	        cmocka_unit_test(test_loss_curves),
	        cmocka_unit_test(test_scratch_is_what_was_planned),
	        cmocka_unit_test(test_a_stopped_run_ends_with_the_same_bits),
	};
	rig_rng(&rig.host);
	return cmocka_run_group_tests_name(rig.is_emulated ? "emulated" : "device", tests, NULL, NULL);
}

int main(void)
{
	return cuda_run_tests(&rig, run);
}
