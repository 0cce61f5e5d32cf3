// SPDX-License-Identifier: MIT
#include "harness/model/optimizer.h"

#include <math.h>

void optimizer_init(
        struct optimizer *o, const struct optimizer_config *config, const struct model *model, struct arena *arena)
{
	o->config = *config;
	o->m = arena_alloc(arena, (size_t)model->n_trained * sizeof(real));
	o->v = arena_alloc(arena, (size_t)model->n_trained * sizeof(real));
	model_clear(model, o->m, model->n_trained);
	model_clear(model, o->v, model->n_trained);
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

double optimizer_step(
        struct optimizer *o, struct model *model, long step, const struct exec *exec, const struct backend *backend)
{
	const struct optimizer_config *c = &o->config;
	const double norm = c->clip > 0 ? sqrt(backend->sum_squares(exec, model->dx, model->n_trained)) : 0;
	struct adam adam = {.lr = optimizer_lr(c, step),
	        .beta1 = c->beta1,
	        .beta2 = c->beta2,
	        .eps = c->eps,
	        .step = step,
	        .grad_scale = c->clip > 0 && norm > c->clip ? c->clip / norm : 1};
	if (c->weight_decay == 0 && model->n_trained == model->n_padded) {
		backend->adam(exec, model->x, o->m, o->v, model->dx, model->n_padded, &adam);
		return norm;
	}
	for (int p = 0; p < model->n_param; p++) {
		const struct model_param *param = &model->param[p];
		if (param->is_frozen)
			continue;
		const ptrdiff_t at = param->tensor.dx - model->dx;
		adam.weight_decay = param->decays ? c->weight_decay : 0;
		backend->adam(exec, param->tensor.x, o->m + at, o->v + at, param->tensor.dx,
		        (long)param->tensor.T * param->tensor.C, &adam);
	}
	return norm;
}
