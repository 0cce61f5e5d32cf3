// SPDX-License-Identifier: MIT
// Models of each family with keys of low rank, against NumPy's SVD and the package `transformers`
// (tests/fixtures/make_conversions.py); saved and loaded again they have the same bits.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness/model/convert.h"
#include "harness/pretrained/pretrained.h"
#include "harness/registry.h"
#include "tests/model/build.h"
#include "tests/test.h"
#include "tests/weights/files.h"

#define GOLDEN "tests/fixtures/conversions.safetensors"
#define FAMILIES "tests/fixtures/families/"
#define MOST_ERROR 1e-5 // of the range of the logits
#define LEAST_SEEN 1e-2 // what cutting half of the numbers away does at least somewhere
enum { T = 20, VOCAB = 31, N_LAST = 6, CHUNK = 1 << 20 };

static struct arena arena, step, scratch;
static int ids[T];

static void load(struct pretrained *p, const char *path)
{
	struct err err = {0};
	if (model_load(p, path, PRETRAINED_TO_READ, &arena, &err))
		fail_msg("%s", err.message);
}

static void read_ids(const char *folder)
{
	struct err err = {0};
	struct weights *w;
	real numbers[T];
	if (weights_open(&w, arena_printf(&arena, FAMILIES "%s.golden.safetensors", folder), &err))
		fail_msg("%s", err.message);
	weights_read(weights_find(w, "ids"), 0, 1, numbers);
	for (int t = 0; t < T; t++)
		ids[t] = (int)numbers[t];
	weights_close(w);
}

// The last N_LAST positions: of one pass, or of a prefill and then one by one.
static void logits_of(real *out, struct model *m, int is_decoded)
{
	struct cache cache;
	struct err err = {0};
	if (cache_init(&cache, NULL, m->variant, &m->dims, m->variant_config, 1, T, &arena, &err))
		fail_msg("%s", err.message);
	for (int at = 0, n; at < T; at += n) {
		n = is_decoded && at ? 1 : is_decoded ? T - N_LAST + 1 : T;
		arena_reset(&step);
		struct tape tape = {.backend = &backend_cpu, .n_thread = 1, .step = &step, .scratch = &scratch};
		tape_begin(&tape, TAPE_RUN);
		const int rows = n > N_LAST ? is_decoded ? 1 : N_LAST : n;
		const struct tensor *y =
		        model_forward(&tape, m, ids + at, 1, n, n - rows, rows, is_decoded ? &cache : NULL);
		for (int t = 0; t < rows; t++)
			memcpy(out + (at + n - rows + t - (T - N_LAST)) * VOCAB, y->x + t * y->t_stride,
			        VOCAB * sizeof(real));
	}
}

// The text that the goldens were calibrated on.
static struct calibration *calibrate(const struct weights *golden, const struct model *m)
{
	struct err err = {0};
	struct calibration *c = arena_zalloc(&arena, sizeof(*c));
	const struct weights_tensor *t = weights_find(golden, "ids");
	real *numbers = arena_alloc(&arena, (size_t)t->columns * sizeof(real));
	int *text = arena_alloc(&arena, (size_t)t->columns * sizeof(int));
	weights_read(t, 0, 1, numbers);
	for (long i = 0; i < t->columns; i++)
		text[i] = (int)numbers[i];
	if (model_calibrate(c, m, text, t->columns, T, 2, &arena, &err) ||
	        model_fisher(c, m, text, t->columns, T, 2, &arena, &err))
		fail_msg("%s", err.message);
	return c;
}

static struct model *convert(const struct model *in, const char *settings, const char *how,
        const struct calibration *calibration, int n_thread)
{
	struct err err = {0};
	struct model *out = arena_zalloc(&arena, sizeof(*out));
	struct model_conversion c = {
	        .variant = variant_find("factored_keys"), .calibration = calibration, .n_thread = n_thread};
	void *config = arena_zalloc(&arena, c.variant->config_bytes);
	options_init(c.variant->options, config);
	build_options(c.variant->options, config, settings);
	options_init(conversion_options, &c.how);
	build_options(conversion_options, &c.how, how);
	c.config = config;
	if (model_convert(out, in, &c, &arena, &err))
		fail_msg("%s | %s: %s", settings, how, err.message);
	return out;
}

static double off_by(const real *want, const real *got)
{
	double least = INFINITY, most = -INFINITY, off = 0;
	for (int i = 0; i < N_LAST * VOCAB; i++) {
		least = fmin(least, (double)want[i]);
		most = fmax(most, (double)want[i]);
		const double d = fabs((double)want[i] - (double)got[i]);
		off = isnan(d) ? INFINITY : fmax(off, d);
	}
	return off / (most - least);
}

static void each_rank_is_numpys(void **state UNUSED)
{
	struct err err = {0};
	struct weights *golden;
	double worst = 0, most_seen = 0;
	if (weights_open(&golden, GOLDEN, &err))
		fail_msg("%s", err.message);
	for (long i = 0; i < golden->n_tensor; i++) {
		const struct arena_mark mark = arena_mark(&arena);
		char folder[40], settings[80], how[80];
		real want[N_LAST * VOCAB], got[N_LAST * VOCAB], whole[N_LAST * VOCAB];
		struct pretrained p;
		const char *name = golden->tensor[i].name;
		if (!strchr(name, '|'))
			continue;
		if (sscanf(name, "%39[^|]|%79[^|]|%79[^|]", folder, settings, how) != 3)
			fail_msg("%s", name);
		weights_read(&golden->tensor[i], 0, N_LAST, want);
		read_ids(folder);
		load(&p, arena_printf(&arena, FAMILIES "%s", folder));
		struct model *m = convert(&p.model, settings, how, calibrate(golden, &p.model), 1);
		logits_of(whole, &p.model, 0);
		most_seen = fmax(most_seen, off_by(whole, want));
		for (int is_decoded = 0; is_decoded < 2; is_decoded++) {
			logits_of(got, m, is_decoded);
			worst = fmax(worst, off_by(want, got));
			if (!(off_by(want, got) < MOST_ERROR))
				fail_msg("%s: off by %.3g of the range%s (the uncut model by %.3g)", name,
				        off_by(want, got), is_decoded ? ", decoded" : "", off_by(whole, want));
		}
		pretrained_close(&p);
		arena_rewind(&arena, mark);
	}
	printf("# %ld conversions: off by %.2e of the range of the logits at most; cutting moves them by up to %.2g\n",
	        golden->n_tensor, worst, most_seen);
	assert_true(golden->n_tensor > 100 && most_seen > LEAST_SEEN);
	weights_close(golden);
}

static void fisher_information_is_the_packages(void **state UNUSED)
{
	static const char *const folders[] = {"gpt2", "pythia", "qwen2", "llama"};
	struct err err = {0};
	struct weights *golden;
	if (weights_open(&golden, GOLDEN, &err))
		fail_msg("%s", err.message);
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		struct pretrained p;
		real want[8];
		load(&p, arena_printf(&arena, FAMILIES "%s", folders[i]));
		const struct weights_tensor *t = weights_find(golden, arena_printf(&arena, "fisher %s", folders[i]));
		assert_int_equal(t->columns, p.model.config.n_layer);
		weights_read(t, 0, 1, want);
		const struct calibration *c = calibrate(golden, &p.model);
		for (int l = 0; l < p.model.config.n_layer; l++)
			if (!(fabs(c->fisher[l] / (double)want[l] - 1) < 1e-4))
				fail_msg("%s, layer %d: %g, not %g", folders[i], l, c->fisher[l], (double)want[l]);
		pretrained_close(&p);
	}
	weights_close(golden);
}

static void what_is_converted_is_saved_and_loaded(void **state UNUSED)
{
	static const struct {
		const char *folder, *settings;
	} cases[] = {{"gpt2", "d_select=6"}, {"gpt2", "d_select=6 per=head"}, {"pythia", "d_select=14 rope=planes"},
	        {"qwen2", "d_select=8 per=head rope=planes"}, {"llama", "d_select=5"},
	        {"mistral", "d_select=8 per=head"}, {"gpt2", "d_select=6 ranks=8,4"}};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct err err = {0};
		struct pretrained p, again;
		real one[N_LAST * VOCAB], two[N_LAST * VOCAB];
		char *folder = folder_make();
		read_ids(cases[i].folder);
		load(&p, arena_printf(&arena, FAMILIES "%s", cases[i].folder));
		struct model *m = convert(&p.model, cases[i].settings, "", NULL, 2);
		if (model_save(m, p.family, folder, &err))
			fail_msg("%s", err.message);
		load(&again, folder);
		assert_string_equal(again.model.variant->name, "factored_keys");
		logits_of(one, m, 1);
		logits_of(two, &again.model, 1);
		assert_memory_equal(one, two, sizeof(one));
		const struct model *single = convert(&p.model, cases[i].settings, "", NULL, 1); // any number of threads
		for (int k = 0; k < m->n_param; k++) {
			const struct tensor *a = &m->param[k].tensor, *b = &single->param[k].tensor;
			assert_memory_equal(a->x, b->x, (size_t)a->T * (size_t)a->C * sizeof(real));
		}
		pretrained_close(&again);
		pretrained_close(&p);
		folder_remove(folder);
	}
}

static int setup(void **state UNUSED)
{
	arena_init(&arena, CHUNK);
	arena_init(&step, CHUNK);
	arena_init(&scratch, CHUNK);
	return 0;
}

static int teardown(void **state UNUSED)
{
	arena_release(&arena);
	arena_release(&step);
	arena_release(&scratch);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(each_rank_is_numpys),
	        cmocka_unit_test(fisher_information_is_the_packages),
	        cmocka_unit_test(what_is_converted_is_saved_and_loaded),
	};
	return cmocka_run_group_tests_name("conversions of models of the families", tests, setup, teardown);
}
