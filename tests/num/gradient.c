// SPDX-License-Identifier: MIT
#include "tests/num/gradient.h"

#include <math.h>
#include <string.h>

static const double STEP = 1e-5;

double gradient_project(struct tape *tape, struct tensor *out, uint64_t stream)
{
	struct rng rng = rng_make(test_seed(), RNG_CHECK, 1000000 + stream);
	double sum = 0;
	for (int b = 0; b < out->B; b++)
		for (int t = 0; t < out->T; t++)
			for (int c = 0; c < out->C; c++) {
				const ptrdiff_t at = b * out->b_stride + t * out->t_stride + c;
				const double w = rng_normal(&rng);
				sum += (double)out->x[at] * w;
				if (tape->mode == TAPE_RECORD)
					out->dx[at] = (out->is_live ? out->dx[at] : 0) + (real)w;
			}
	if (tape->mode == TAPE_RECORD)
		out->is_live = 1;
	return sum;
}

static double evaluate(struct rig *rig, const struct gradient_check *check, enum tape_mode mode)
{
	for (int i = 0; i < check->n_input; i++)
		check->input[i]->is_live = 0;
	arena_reset(&rig->step);
	tape_begin(&rig->tape, mode);
	return check->value(&rig->tape, check->context);
}

// Central difference by one number. Recorded, because dropout is off otherwise.
static double difference(struct rig *rig, const struct gradient_check *check, real *x)
{
	const real before = *x;
	*x = (real)((double)before + STEP);
	const double above = evaluate(rig, check, TAPE_RECORD);
	*x = (real)((double)before - STEP);
	const double below = evaluate(rig, check, TAPE_RECORD);
	*x = before;
	return (above - below) / (2 * STEP);
}

static double input_error(
        struct rig *rig, const struct gradient_check *check, const struct tensor *t, const real *analytic)
{
	double wrong = 0, size = 0;
	for (long i = 0; i < tensor_n_row(t) * t->C; i++) {
		const double numeric = difference(rig, check, t->x + i), d = (double)analytic[i] - numeric;
		if (!isfinite(d))
			return INFINITY;
		wrong += d * d;
		size += numeric * numeric;
	}
	return sqrt(wrong) / fmax(sqrt(size), GRADIENT_FLOOR);
}

double gradient_error(struct rig *rig, const struct gradient_check *check)
{
	real **analytic = arena_alloc(&rig->memory, (size_t)check->n_input * sizeof(*analytic));
	const double run = evaluate(rig, check, TAPE_RUN);
	rig_begin(rig, TAPE_RECORD);
	for (int i = 0; i < check->n_input; i++) {
		const struct tensor *t = check->input[i];
		memset(t->dx, 0xff, (size_t)(tensor_n_row(t) * t->C) * sizeof(real));
		check->input[i]->is_live = 0;
	}
	const double recorded = check->value(&rig->tape, check->context);
	if (recorded != run && !rig->tape.dropout_site)
		return INFINITY;
	tape_backward(&rig->tape);
	for (int i = 0; i < check->n_input; i++) {
		const struct tensor *t = check->input[i];
		const size_t bytes = (size_t)(tensor_n_row(t) * t->C) * sizeof(real);
		analytic[i] = arena_zalloc(&rig->memory, bytes);
		if (t->is_live)
			memcpy(analytic[i], t->dx, bytes);
	}
	double worst = 0;
	for (int i = 0; i < check->n_input; i++)
		worst = fmax(worst, input_error(rig, check, check->input[i], analytic[i]));
	return worst;
}

struct spoil {
	struct tensor *t;
	int from, n;
	double factor;
};

static void spoil_backward(struct tape *tape, void *args)
{
	(void)tape;
	const struct spoil *s = args;
	for (int i = s->from; i < s->from + s->n; i++)
		s->t->dx[i] *= (real)s->factor;
}

void gradient_spoil(struct tape *tape, struct tensor *t, int from, int n, double factor)
{
	struct spoil *s = tape_record(tape, spoil_backward, sizeof(*s));
	if (s)
		*s = (struct spoil){t, from, n, factor};
}
