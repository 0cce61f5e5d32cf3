// SPDX-License-Identifier: MIT
// Frozen parameters: they have no gradient and no moments and keep their values; the others' gradients keep their bits;
// products that only frozen ones need are not computed, and backward ends where nothing below is trained.
#include <string.h>

#include "harness/bench/profile.h"
#include "harness/model/optimizer.h"
#include "tests/model/build.h"
#include "tests/num/rig.h"
#include "tests/test.h"

enum { B = 2, T = 5, V = 11, BATCH = B * T };

static struct rig rig;
static int tokens[BATCH], targets[BATCH];

static int setup(void **state UNUSED)
{
	rig_init(&rig);
	for (int i = 0; i < BATCH; i++)
		tokens[i] = i * 3 % V, targets[i] = i * 5 % V;
	return 0;
}

static int teardown(void **state UNUSED)
{
	rig_release(&rig);
	return 0;
}

static const char config_text[] = "decoder n_layer=3 d_model=12 n_head=2 d_ff=20 n_vocab=11 n_ctx=5";

static struct model *make_model(const char *more, const char *variant)
{
	char text[256];
	snprintf(text, sizeof(text), "%s %s", config_text, more);
	const struct setup *s = build_setup(text, variant, "noise n_vocab=11 length=5", "", &rig.memory);
	struct model *m = arena_zalloc(&rig.memory, sizeof(*m));
	model_init(m, s->model, s->variant, s->variant_config, &rig.memory);
	model_allocate(m, 1, &rig.memory);
	model_draw_weights(m, 3);
	return m;
}

static double gradients(struct model *m, const struct backend *backend)
{
	rig_begin(&rig, TAPE_RECORD);
	rig.tape.backend = backend;
	model_clear_gradients(m);
	const struct loss loss = model_loss(&rig.tape, m, tokens, B, T, 0, T, NULL, targets, NULL);
	tape_backward(&rig.tape);
	model_settle_gradients(m);
	rig.tape.backend = &backend_cpu;
	return loss.mean;
}

static size_t bytes_of(const struct tensor *t)
{
	return (size_t)t->T * (size_t)t->C * sizeof(real);
}

static int ends_with(const char *name, const char *word)
{
	const size_t n = strlen(name), k = strlen(word);
	return n >= k && !strcmp(name + n - k, word) && (n == k || name[n - k - 1] == '.');
}

// words: as in names, ends with NULL.
static void check(const char *more, const char *variant, const char *names, const char *const *words)
{
	struct err err = {0};
	struct model *whole = make_model(more, variant), *part = make_model(more, variant);
	assert_int_equal(model_train_only(part, names, &err), 0);
	const double loss = gradients(whole, &backend_cpu);
	assert_true(gradients(part, &backend_cpu) == loss);
	long n_trained = 0;
	for (int p = 0; p < whole->n_param; p++) {
		const struct model_param *a = &whole->param[p], *b = &part->param[p];
		int is_trained = 0;
		for (const char *const *word = words; *word; word++)
			is_trained |= ends_with(b->name, *word);
		assert_int_equal(is_trained, !b->is_frozen);
		if (b->is_frozen) {
			assert_null(b->tensor.dx);
			continue;
		}
		n_trained += model_padded(&b->tensor);
		if (memcmp(a->tensor.dx, b->tensor.dx, bytes_of(&a->tensor)))
			fail_msg("%s %s: the gradient of %s has other bits", variant, names, b->name);
	}
	assert_true(n_trained == part->n_trained && n_trained > 0);
	// An update touches what is trained, and nothing else.
	const struct optimizer_config adam = {.lr = 0.1, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .weight_decay = 0.1};
	struct optimizer o, all;
	optimizer_init(&o, &adam, part, &rig.memory);
	optimizer_init(&all, &adam, whole, &rig.memory);
	real *before = arena_alloc(&rig.memory, (size_t)part->n_padded * sizeof(real));
	memcpy(before, part->x, (size_t)part->n_padded * sizeof(real));
	optimizer_step(&o, part, 1, rig_exec(&rig), &backend_cpu);
	optimizer_step(&all, whole, 1, rig_exec(&rig), &backend_cpu);
	for (int p = 0; p < part->n_param; p++) {
		const struct tensor *t = &part->param[p].tensor;
		const real *expected = part->param[p].is_frozen ? before + (t->x - part->x) : whole->param[p].tensor.x;
		assert_memory_equal(t->x, expected, bytes_of(t));
	}
}

static void trained_gradients_keep_their_bits(void **state UNUSED)
{
	check("", "mha", "w_q w_k", (const char *const[]){"w_q", "w_k", NULL});
	check("", "mha", "w_q w_v", (const char *const[]){"w_q", "w_v", NULL}); // with a frozen one between them
	check("", "mha", " w_v  b_q ", (const char *const[]){"w_v", "b_q", NULL});
	check("", "thin_keys d_select=6", "w_k", (const char *const[]){"w_k", NULL});
	check("position=rope norm=rms activation=swiglu", "gqa", "w_q ff_in",
	        (const char *const[]){"w_q", "ff_in", NULL});
	check("tied_head=true", "mha", "token", (const char *const[]){"token", NULL});
	check("", "mha", "position head norm_gain", (const char *const[]){"position", "head", "norm_gain", NULL});
	check("dropout=0.1", "shared_kv", "ff_out norm2_bias", (const char *const[]){"ff_out", "norm2_bias", NULL});
	check("", "keyless m1=2 routing=per_head", "w_o", (const char *const[]){"w_o", NULL});
}

// FLOPs of the products of a recorded step: forward (NT), of inputs (NN), of weights (TN).
static void products(double flops[3], struct model *m)
{
	struct profile profile;
	gradients(m, profile_start(&profile));
	memset(flops, 0, 3 * sizeof(*flops));
	for (int i = 0; i < profile.n_product; i++) {
		const struct profile_product *p = &profile.product[i];
		flops[p->form] += 2.0 * p->m * p->n * p->k * (double)p->calls;
	}
}

static void products_of_frozen_weights_are_left_out(void **state UNUSED)
{
	struct err err = {0};
	double all[3], some[3];
	struct model *m = make_model("", "mha");
	products(all, m);
	assert_int_equal(model_train_only(m, "w_q w_k", &err), 0);
	products(some, m);
	assert_true(some[GEMM_NT] == all[GEMM_NT]);
	assert_true(some[GEMM_TN] == 3 * 2.0 * BATCH * 24 * 12); // two of (12, 12) in three layers
	// Of inputs all but the first layer's queries, keys and values, below which nothing is trained.
	assert_true(some[GEMM_NN] == all[GEMM_NN] - 2.0 * BATCH * 36 * 12);
	// The head alone: no gradient passes through a layer.
	assert_int_equal(model_train_only(m, "head", &err), 0);
	products(some, m);
	assert_true(some[GEMM_NN] == 0 && some[GEMM_TN] == 2.0 * BATCH * V * 12);
	assert_true(some[GEMM_NT] == all[GEMM_NT]);
	assert_int_equal(model_train_only(m, NULL, &err), 0); // as before
	products(some, m);
	assert_memory_equal(some, all, sizeof(all));
}

static void unknown_names_are_refused(void **state UNUSED)
{
	struct err err = {0};
	struct model *m = make_model("", "mha");
	assert_int_equal(model_train_only(m, "w_q w_x", &err), -1);
	assert_non_null(strstr(err.message, "'w_x'"));
	assert_non_null(strstr(err.message, " w_q"));
	assert_true(!m->param[0].is_frozen && m->n_trained == m->n_padded); // nothing has changed
	err_clear(&err);
	assert_int_equal(model_train_only(m, "  ", &err), -1);
	err_clear(&err);
	assert_int_equal(model_train_only(m, "layer.0.w_q", &err), -1);
}

// One list of names is for models with biases and without.
static void names_of_what_the_variant_can_have_are_passed_over(void **state UNUSED)
{
	struct err err = {0};
	struct model *with = make_model("", "mha"), *without = make_model("bias=false", "mha");
	assert_int_equal(model_train_only(with, "w_q b_q", &err), 0);
	assert_int_equal(model_train_only(without, "w_q b_q", &err), 0);
	for (int i = 0; i < without->n_param; i++)
		assert_int_equal(!without->param[i].is_frozen, ends_with(without->param[i].name, "w_q"));
	assert_int_equal(model_train_only(without, "b_q", &err), -1); // nothing would be trained
	assert_non_null(strstr(err.message, "names none"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(trained_gradients_keep_their_bits),
	        cmocka_unit_test(products_of_frozen_weights_are_left_out),
	        cmocka_unit_test(unknown_names_are_refused),
	        cmocka_unit_test(names_of_what_the_variant_can_have_are_passed_over),
	};
	return cmocka_run_group_tests_name("freeze", tests, setup, teardown);
}
