// SPDX-License-Identifier: MIT
#include "harness/model/optimizer.h"

#include <math.h>

void optimizer_init(
        struct optimizer *o, const struct optimizer_config *config, const struct model *model, struct arena *arena)
{
	const struct rank_slots *ranks = model->home->ranks;
	o->config = *config;
	o->n_moment = model->n_trained / (ranks ? ranks->n_rank : 1);
	o->first = ranks ? ranks->rank * o->n_moment : 0;
	o->m = arena_alloc(arena, (size_t)o->n_moment * sizeof(real));
	o->v = arena_alloc(arena, (size_t)o->n_moment * sizeof(real));
	model_clear(model, o->m, o->n_moment);
	model_clear(model, o->v, o->n_moment);
}

int optimizer_check_ranks(const struct model *model, const struct rank_slots *ranks, struct err *err)
{
	if (!ranks)
		return 0;
	if (model->n_trained != model->n_padded)
		return err_set(err, "several ranks train all parameters of a model or none (leave train_only out)");
	if (model->n_trained % ranks->n_rank)
		return err_set(err, "%d ranks cannot share %ld numbers alike (1, 2, 4, 8 or 16 can)", ranks->n_rank,
		        model->n_trained);
	return 0;
}

// From 1 at the start to 0 at the end.
static double cosine(double done)
{
	return 0.5 * (1 + cos(3.14159265358979323846 * done));
}

double optimizer_lr(const struct optimizer_config *c, long step)
{
	if (c->schedule == SCHEDULE_COSINE_PRODUCT) {
		const double t = (double)(step - 1), rise = t < (double)c->warmup ? t / (double)c->warmup : 1;
		return (c->lr_floor + (c->lr - c->lr_floor) * cosine(t / (double)c->steps)) * rise;
	}
	if (step <= c->warmup)
		return c->lr * (double)step / (double)c->warmup;
	if (c->schedule == SCHEDULE_CONSTANT || c->steps <= c->warmup)
		return c->lr;
	const double done = (double)(step - c->warmup) / (double)(c->steps - c->warmup);
	const double share = c->schedule == SCHEDULE_LINEAR ? 1 - done : cosine(done);
	return c->lr_floor + (c->lr - c->lr_floor) * (share < 0 ? 0 : share);
}

// Of the whole gradient, each rank having its part of the sum.
static double norm_of_gradient(
        const struct optimizer *o, const struct model *model, const struct exec *exec, const struct backend *backend)
{
	double squares = backend->sum_squares(exec, model->dx + o->first, o->n_moment);
	if (backend->ranks)
		backend->ranks->sum(exec, &squares, 1);
	return sqrt(squares);
}

// The numbers of a parameter that this rank updates.
static void update(const struct optimizer *o, const struct model_param *param, const struct model *model,
        const struct adam *adam, const struct exec *exec, const struct backend *backend)
{
	const long at = param->tensor.dx - model->dx, n = (long)param->tensor.T * param->tensor.C;
	const long from = at > o->first ? at : o->first, end = o->first + o->n_moment, to = at + n < end ? at + n : end;
	if (from < to)
		backend->adam(exec, param->tensor.x + (from - at), o->m + (from - o->first), o->v + (from - o->first),
		        model->dx + from, to - from, adam);
}

double optimizer_step(
        struct optimizer *o, struct model *model, long step, const struct exec *exec, const struct backend *backend)
{
	const struct optimizer_config *c = &o->config;
	const struct rank_slots *ranks = backend->ranks;
	if (ranks)
		ranks->reduce(exec, model->dx, o->n_moment);
	const double norm = c->clip > 0 ? norm_of_gradient(o, model, exec, backend) : 0;
	if (!isfinite(norm))
		return norm;
	struct adam adam = {.lr = optimizer_lr(c, step),
	        .beta1 = c->beta1,
	        .beta2 = c->beta2,
	        .eps = c->eps,
	        .step = step,
	        .grad_scale = c->clip > 0 && norm > c->clip ? c->clip / norm : 1};
	if (c->weight_decay == 0 && model->n_trained == model->n_padded && !ranks) {
		backend->adam(exec, model->x, o->m, o->v, model->dx, model->n_padded, &adam);
		return norm;
	}
	for (int p = 0; p < model->n_param; p++) {
		const struct model_param *param = &model->param[p];
		if (param->is_frozen)
			continue;
		adam.weight_decay = param->decays ? c->weight_decay : 0;
		update(o, param, model, &adam, exec, backend);
	}
	if (ranks) {
		ranks->gather(exec, model->x, o->n_moment);
		// What reduce has left between the parameters would be part of the next norm.
		backend->clear(exec, model->dx, (size_t)model->n_trained * sizeof(real));
	}
	return norm;
}
