// SPDX-License-Identifier: MIT
// Which parameters are trained, and where their gradients lie. A frozen parameter has no gradient (dx NULL): ops leave
// out the products that would make it, backward ends where nothing below is trained, and the optimizer passes it over.
#include <string.h>

#include "harness/model/model.h"

// Gradients of what is trained follow each other. Only padding is cleared: memory that no step needs is never touched.
void model_place_gradients(struct model *m)
{
	long at = 0;
	for (int p = 0; p < m->n_param; p++) {
		struct tensor *t = &m->param[p].tensor;
		t->dx = NULL;
		if (m->param[p].is_frozen)
			continue;
		const long n = (long)t->T * t->C, padded = model_padded(t);
		if (m->dx && at + padded > m->n_gradient)
			BUG("more parameters are trained than there were when memory was taken");
		if (m->dx) {
			t->dx = m->dx + at;
			model_clear(m, t->dx + n, padded - n);
		}
		at += padded;
	}
	m->n_trained = at;
}

// "w_q" of "layer.3.w_q".
static const char *own_name(const struct model_param *p)
{
	return strncmp(p->name, "layer.", 6) ? p->name : strchr(p->name + 6, '.') + 1;
}

static int is_named(const struct model_param *p, const char *word, size_t n)
{
	return strlen(own_name(p)) == n && !memcmp(own_name(p), word, n);
}

static int is_listed(const struct model_param *p, const char *names)
{
	for (const char *word = names; *word; word += strspn(word, " ")) {
		const size_t n = strcspn(word, " ");
		if (is_named(p, word, n))
			return 1;
		word += n;
	}
	return 0;
}

// Names of the first layer and of what is outside of layers.
static int refuse(const struct model *m, const char *word, size_t n, struct err *err)
{
	char known[512] = "";
	for (int p = 0; p < m->n_param; p++) {
		const char *name = own_name(&m->param[p]);
		if (!strncmp(m->param[p].name, "layer.", 6) && strncmp(m->param[p].name, "layer.0.", 8))
			continue;
		if (strlen(known) + strlen(name) + 2 < sizeof(known))
			strcat(strcat(known, " "), name);
	}
	return err_set(err, "no parameter of this model is called '%.*s' (it has%s)", (int)n, word, known);
}

// The variant has such a parameter where the model asks for it: biases, say.
static int variant_has(const struct model *m, const char *word, size_t n)
{
	struct param_shape table[VARIANT_PARAMS];
	const int n_param = m->variant->params(&m->dims, m->variant_config, table);
	for (int i = 0; i < n_param; i++)
		if (strlen(table[i].name) == n && !memcmp(table[i].name, word, n))
			return 1;
	return 0;
}

int model_train_only(struct model *m, const char *names, struct err *err)
{
	for (const char *word = names ? names : ""; *word; word += strspn(word, " ")) {
		const size_t n = strcspn(word, " ");
		int is_known = !n || variant_has(m, word, n);
		for (int p = 0; p < m->n_param; p++)
			is_known |= is_named(&m->param[p], word, n);
		if (!is_known)
			return refuse(m, word, n, err);
		word += n;
	}
	int n_listed = 0;
	for (int p = 0; p < m->n_param; p++)
		n_listed += names && is_listed(&m->param[p], names);
	if (names && !n_listed)
		return err_set(err, "a list of parameters to train names none");
	for (int p = 0; p < m->n_param; p++)
		m->param[p].is_frozen = names && !is_listed(&m->param[p], names);
	model_place_gradients(m);
	return 0;
}
