// SPDX-License-Identifier: MIT
// Moments: the model runs as it is, but for a variant in front of its own that looks at what it hands on.
#include "harness/model/calibrate.h"

enum { CHUNK = 1 << 22 };

struct tap {
	const struct model *model;
	struct calibration *calibration;
};

static int layer_of(const struct model *m, const struct attn *a)
{
	for (int l = 0; l < m->config.n_layer; l++)
		if (a->param == m->layer[l].attn)
			return l;
	BUG("attention of a layer that the model does not have");
}

// Sums of one sequence in real, of all of them in double.
static void add_rows(const struct tap *tap, const struct attn *a)
{
	const struct tensor *x = a->x;
	const int d = x->C, layer = layer_of(tap->model, a);
	const struct arena_mark mark = arena_mark(a->tape->scratch);
	const struct exec exec = {a->tape->n_thread, a->tape->scratch};
	real *square = arena_alloc(exec.scratch, (size_t)(d + 1) * (size_t)d * sizeof(*square)), *sum = square + d * d;
	const struct gemm g = {.form = GEMM_TN,
	        .m = d,
	        .n = d,
	        .k = x->T,
	        .a = x->x,
	        .b = x->x,
	        .c = square,
	        .lda = x->t_stride,
	        .ldb = x->t_stride,
	        .ldc = d};
	a->tape->backend->gemm(&exec, &g);
	a->tape->backend->column_sum(&exec, sum, x->x, x->t_stride, x->T, d, 0);
	double *moment = tap->calibration->moment + (ptrdiff_t)layer * d * d;
	for (ptrdiff_t i = 0; i < (ptrdiff_t)d * d; i++)
		moment[i] += (double)square[i];
	for (int i = 0; i < d; i++)
		tap->calibration->mean[(ptrdiff_t)layer * d + i] += (double)sum[i];
	arena_rewind(a->tape->scratch, mark);
}

static struct tensor *forward(struct attn *a)
{
	const struct tap *tap = a->config;
	struct attn own = *a;
	add_rows(tap, a);
	own.config = tap->model->variant_config;
	return tap->model->variant->forward(&own);
}

int model_calibrate(struct calibration *c, const struct model *m, const int *tokens, long n, int T, int n_thread,
        struct arena *arena, struct err *err)
{
	const int d = m->config.d_model, n_layer = m->config.n_layer;
	const struct tap tap = {m, c};
	const struct variant variant = {.name = "tap", .forward = forward};
	struct model tapped = *m;
	if (n < T)
		return err_set(err, "the calibration text has %ld tokens, which is less than one sequence of %d", n, T);
	tapped.variant = &variant;
	tapped.variant_config = &tap;
	*c = (struct calibration){.d_model = d, .n_row = n / T * T};
	c->moment = arena_zalloc(arena, (size_t)n_layer * (size_t)d * (size_t)d * sizeof(double));
	c->mean = arena_zalloc(arena, (size_t)n_layer * (size_t)d * sizeof(double));
	struct arena step, scratch;
	arena_init(&step, CHUNK);
	arena_init(&scratch, CHUNK);
	struct tape tape = {.backend = &backend_cpu, .n_thread = n_thread, .step = &step, .scratch = &scratch};
	for (long at = 0; at + T <= n; at += T) {
		arena_reset(&step);
		tape_begin(&tape, TAPE_RUN);
		model_forward(&tape, &tapped, tokens + at, 1, T, T - 1, 1, NULL);
	}
	arena_release(&step);
	arena_release(&scratch);
	for (ptrdiff_t i = 0; i < (ptrdiff_t)n_layer * d * d; i++)
		c->moment[i] /= (double)c->n_row;
	for (ptrdiff_t i = 0; i < (ptrdiff_t)n_layer * d; i++)
		c->mean[i] /= (double)c->n_row;
	return 0;
}

// --- Fisher information --------------------------------------------------------------------------------------------

static double mean_square(const struct tensor *t)
{
	double sum = 0;
	for (int i = 0; i < t->T; i++)
		for (int j = 0; j < t->C; j++)
			sum += (double)t->dx[i * t->t_stride + j] * (double)t->dx[i * t->t_stride + j];
	return sum / ((double)t->T * t->C);
}

int model_fisher(struct calibration *c, const struct model *m, const int *tokens, long n, int T, int n_thread,
        struct arena *arena, struct err *err)
{
	const int n_layer = m->config.n_layer;
	struct arena memory, step, scratch;
	struct model own;
	if (n < T + 1)
		return err_set(err,
		        "the calibration text has %ld tokens, which is less than one sequence of %d and its "
		        "next token",
		        n, T);
	arena_init(&memory, CHUNK);
	arena_init(&step, CHUNK);
	arena_init(&scratch, CHUNK);
	model_init(&own, &m->config, m->variant, m->variant_config, &memory);
	own.config.dropout = 0;
	model_allocate_like(&own, m, 1, &memory);
	c->fisher = arena_zalloc(arena, (size_t)n_layer * sizeof(double));
	struct tape tape = {.backend = &backend_cpu, .n_thread = n_thread, .step = &step, .scratch = &scratch};
	for (long at = 0; at + T + 1 <= n; at += T) {
		arena_reset(&step);
		tape_begin(&tape, TAPE_RECORD);
		model_clear_gradients(&own);
		struct tensor *logits = model_forward(&tape, &own, tokens + at, 1, T, 0, T, NULL);
		op_cross_entropy(&tape, logits, tokens + at + 1, NULL);
		tape_backward(&tape);
		for (int l = 0; l < n_layer; l++)
			c->fisher[l] += mean_square(own.layer[l].attn[QKV_W_K]) / (double)((n - 1) / T);
	}
	arena_release(&memory);
	arena_release(&step);
	arena_release(&scratch);
	return 0;
}
