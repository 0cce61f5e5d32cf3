// SPDX-License-Identifier: MIT
#include "tests/variants/reference.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/test.h"

struct rows {
	int n, d;
	double *x; // (n, d)
};

struct context {
	const struct model *m;
	const struct attn_dims *dims;
	const char *settings;
	struct rows x, x_i; // all positions; position i alone
	int i;
	struct arena *arena;
};

static struct rows rows_new(const struct context *c, int n, int d)
{
	return (struct rows){n, d, arena_zalloc(c->arena, (size_t)n * (size_t)d * sizeof(double))};
}

// "m1=2 rope=at_read": the number after "m1=", or what it is when not given.
static int number(const struct context *c, const char *key, int otherwise)
{
	char word[40];
	snprintf(word, sizeof(word), "%s=", key);
	const size_t n = strlen(word);
	for (const char *at = c->settings; at; at = strchr(at, ' ')) {
		at += *at == ' ';
		if (!strncmp(at, word, n))
			return atoi(at + n);
	}
	return otherwise;
}

static int has(const struct context *c, const char *word)
{
	return strstr(c->settings, word) != NULL;
}

static const struct tensor *param(const struct context *c, const char *name)
{
	char full[40];
	snprintf(full, sizeof(full), "layer.0.%s", name);
	for (int p = 0; p < c->m->n_param; p++)
		if (!strcmp(c->m->param[p].name, full))
			return &c->m->param[p].tensor;
	return NULL;
}

static const struct tensor *weight(const struct context *c, const char *name)
{
	const struct tensor *w = param(c, name);
	if (!w)
		fail_msg("%s has no parameter '%s'", c->m->variant->name, name);
	return w;
}

// x w^T + b; without b where there is no such parameter. Several matrices: head h of x by the h-th of them.
static struct rows map_heads(const struct context *c, struct rows x, const char *w_name, const char *b_name, int n_head)
{
	const struct tensor *w = weight(c, w_name), *b = b_name ? param(c, b_name) : NULL;
	const int out = w->T / n_head, in = x.d / n_head;
	assert_int_equal(in, w->C);
	struct rows y = rows_new(c, x.n, w->T);
	for (int r = 0; r < x.n; r++)
		for (int o = 0; o < w->T; o++) {
			double sum = b ? (double)b->x[o] : 0;
			for (int k = 0; k < in; k++)
				sum += x.x[r * x.d + o / out * in + k] * (double)w->x[o * in + k];
			y.x[r * y.d + o] = sum;
		}
	return y;
}

static struct rows map(const struct context *c, struct rows x, const char *w, const char *b)
{
	return map_heads(c, x, w, b, 1);
}

static struct rows relu(const struct context *c, struct rows x)
{
	struct rows y = rows_new(c, x.n, x.d);
	for (int k = 0; k < x.n * x.d; k++)
		y.x[k] = x.x[k] > 0 ? x.x[k] : 0;
	return y;
}

// x W_1 W_2 ...: letter 'q' or 'v'.
static struct rows chain(const struct context *c, struct rows x, char letter, int depth, int n_head, int with_relu)
{
	for (int step = 1; step <= depth; step++) {
		char w[8], b[8], digit[2] = {step > 1 ? (char)('0' + step) : '\0'};
		snprintf(w, sizeof(w), "w_%c%s", letter, digit);
		snprintf(b, sizeof(b), "b_%c%s", letter, digit);
		if (step > 1 && with_relu)
			x = relu(c, x);
		x = map_heads(c, x, w, b, step > 1 && has(c, "routing=per_head") ? n_head : 1);
	}
	return x;
}

// One head (d numbers) turned by p positions: numbers from..from+n-1 in pairs, frequencies base^(-2t / ladder).
static void turn(const struct context *c, double *y, const double *x, int d, int n, int ladder, double p)
{
	memcpy(y, x, (size_t)d * sizeof(*y));
	for (int t = 0; t < n / 2; t++) {
		const double angle = p * pow(c->dims->rope_base, -2.0 * (t % (ladder / 2)) / ladder);
		const int a = c->dims->rope_halves ? t : 2 * t, b = c->dims->rope_halves ? t + n / 2 : 2 * t + 1;
		y[a] = x[a] * cos(angle) - x[b] * sin(angle);
		y[b] = x[a] * sin(angle) + x[b] * cos(angle);
	}
}

// P_ijc of the 2D map (C.1).
static double position_number(const struct context *c, int m, int i, int j, int at)
{
	int width = 2 * (int)ceil(m / 4.0), n_row = width;
	if (has(c, "map_cut=halves"))
		n_row = m / 2, width = m - m / 2;
	const int position = at < n_row ? i : j, k = at < n_row ? at : at - n_row;
	const double angle = position * pow(10000, -2.0 * (k / 2) / width);
	return k % 2 ? cos(angle) : sin(angle);
}

static double mapped(const struct context *c, double score, int head, int j)
{
	if (!has(c, "plus=true"))
		return score;
	const struct tensor *w = weight(c, "w_map"), *b = param(c, "b_map");
	const int m = number(c, "m", 10), row = w->T > 1 ? head : 0;
	assert_int_equal(w->C, m);
	double sum = 0, positions = b ? (double)b->x[row] : 0;
	for (int k = 0; k < m; k++) {
		sum += (double)w->x[row * m + k];
		positions += (double)w->x[row * m + k] * position_number(c, m, c->i, j, k);
	}
	return score * sum + positions;
}

// What a head's score is taken from: q and k (one head each), and how they are turned.
struct scoring {
	struct rows q, k;     // (1, n_head d), (S, n_k_head d)
	struct rows q2, k2;   // further numbers added to the score: (1, n_head d2), (S, d2) for all heads; n 0: none
	int d, d_scale;       // numbers per head
	int n_turned, ladder; // of the d, from the first on; of the further ones: all
	const char *keep;     // (n_k_head, d): channels that are scored; NULL: all
};

static double score(const struct context *c, const struct scoring *s, int head, int j)
{
	const int n_k = s->k.d / s->d, g = head * n_k / c->dims->n_head;
	const double *q = s->q.x + head * s->d, *k = s->k.x + (ptrdiff_t)j * s->k.d + g * s->d;
	double turned[256], sum = 0;
	turn(c, turned, k, s->d, s->n_turned, s->ladder, j - c->i);
	for (int t = 0; t < s->d; t++)
		if (!s->keep || s->keep[g * s->d + t])
			sum += q[t] * turned[t];
	if (s->k2.n) {
		const int d2 = s->k2.d;
		turn(c, turned, s->k2.x + (ptrdiff_t)j * d2, d2, d2, d2, j - c->i);
		for (int t = 0; t < d2; t++)
			sum += s->q2.x[head * d2 + t] * turned[t];
	}
	const int d_scale = c->dims->score_scale == SCORE_SCALE_MODEL ? c->dims->d_model : s->d_scale;
	return mapped(c, sum / sqrt(d_scale), head, j);
}

enum average { AVERAGE_PLAIN, AVERAGE_TURNED, AVERAGE_RELATIVE };

// softmax(scores) v: v (S, n_v_head d_v), turned by j or j - i where the mode says so. (1, n_head d_v).
static struct rows attend(const struct context *c, const struct scoring *s, struct rows v, int d_v, enum average how)
{
	const int n_head = c->dims->n_head, n_v = v.d / d_v, n = c->dims->causal ? c->i + 1 : v.n;
	struct rows out = rows_new(c, 1, n_head * d_v);
	double *p = arena_alloc(c->arena, (size_t)n * sizeof(*p)), turned[256];
	for (int h = 0; h < n_head; h++) {
		double most = -INFINITY, sum = 0;
		for (int j = 0; j < n; j++)
			most = fmax(most, p[j] = score(c, s, h, j));
		for (int j = 0; j < n; j++)
			sum += p[j] = exp(p[j] - most);
		for (int j = 0; j < n; j++) {
			const double *one = v.x + (ptrdiff_t)j * v.d + h * n_v / n_head * d_v;
			const double angle = how == AVERAGE_PLAIN ? 0 : how == AVERAGE_TURNED ? j : j - c->i;
			turn(c, turned, one, d_v, c->dims->n_rotary, c->dims->n_rotary, angle);
			for (int t = 0; t < d_v; t++)
				out.x[h * d_v + t] += p[j] / sum * turned[t];
		}
	}
	return out;
}

static enum average shared_average(const struct context *c)
{
	return has(c, "rope=rotated_value") ? AVERAGE_TURNED
	       : has(c, "rope=turned_back") ? AVERAGE_RELATIVE
	                                    : AVERAGE_PLAIN;
}

static struct rows first_of_group(const struct context *c, struct rows x)
{
	const int n = c->dims->n_kv_head, d = c->dims->d_head, n_group = c->dims->n_head / n;
	struct rows y = rows_new(c, x.n, n * d);
	for (int r = 0; r < x.n; r++)
		for (int g = 0; g < n; g++)
			for (int t = 0; t < d; t++)
				y.x[r * y.d + g * d + t] = x.x[r * x.d + g * n_group * d + t];
	return y;
}

// Length of row o of w with its bias.
static double length(const struct context *c, const char *w_name, const char *b_name, int o)
{
	const struct tensor *w = weight(c, w_name), *b = param(c, b_name);
	double sum = b ? pow((double)b->x[o], 2) : 0;
	for (int k = 0; k < w->C; k++)
		sum += pow((double)w->x[o * w->C + k], 2);
	return sqrt(sum);
}

// Sorts the planes of each key head (pairs that turn together; without rotary positions single channels) by what they
// weigh, the heaviest first, and keeps as many as make d_keep channels.
static const char *kept_channels(const struct context *c, int d_keep)
{
	const struct attn_dims *a = c->dims;
	const int d = a->d_head, n_group = a->n_head / a->n_kv_head, size = a->n_rotary ? 2 : 1, half = a->n_rotary / 2;
	char *keep = arena_zalloc(c->arena, (size_t)(a->n_kv_head * d));
	for (int g = 0; g < a->n_kv_head; g++) {
		int plane[128][2];
		double weighs[128] = {0};
		for (int u = 0; u < d / size; u++) {
			const int is_split = size == 2 && a->rope_halves && u < half;
			plane[u][0] = is_split ? u : size * u;
			plane[u][1] = is_split ? u + half : size * u + size - 1;
			for (int t = 0; t < size; t++)
				for (int h = g * n_group; h < (g + 1) * n_group; h++)
					weighs[u] += length(c, "w_q", "b_q", h * d + plane[u][t]) *
					             length(c, "w_k", "b_k", g * d + plane[u][t]);
		}
		for (int n = 0; n < d_keep; n += size) {
			int best = 0;
			for (int u = 1; u < d / size; u++)
				best = weighs[u] > weighs[best] ? u : best;
			keep[g * d + plane[best][0]] = keep[g * d + plane[best][1]] = 1;
			weighs[best] = -1;
		}
	}
	return keep;
}

static struct rows rms_normed(const struct context *c, struct rows x, const char *gain_name)
{
	const struct tensor *gain = weight(c, gain_name);
	struct rows y = rows_new(c, x.n, x.d);
	for (int r = 0; r < x.n; r++) {
		double sum = 0;
		for (int k = 0; k < x.d; k++)
			sum += x.x[r * x.d + k] * x.x[r * x.d + k];
		for (int k = 0; k < x.d; k++)
			y.x[r * x.d + k] = x.x[r * x.d + k] / sqrt(sum / x.d + 1e-6) * (double)gain->x[k];
	}
	return y;
}

static struct rows separate(const struct context *c)
{
	const struct attn_dims *a = c->dims;
	const int d = param(c, "w_q")->T / a->n_head; // thin or full
	const int n = (int)lround((double)a->n_rotary / a->d_head * d);
	struct scoring s = {.d = d, .d_scale = d, .n_turned = n, .ladder = n};
	if (has(c, "first_frequencies"))
		s.ladder = a->n_rotary;
	if (number(c, "d_keep", 0))
		s.keep = kept_channels(c, number(c, "d_keep", 0));
	s.q = chain(c, c->x_i, 'q', number(c, "m1", 1), a->n_head, has(c, "relu=true"));
	s.k = map(c, c->x, "w_k", "b_k");
	return attend(c, &s, map(c, c->x, "w_v", "b_v"), a->d_head, AVERAGE_PLAIN);
}

// Q-K=V, Q=K-V and Q=K=V, by which of the three are one.
static struct rows shared(const struct context *c, const char *name)
{
	const struct attn_dims *a = c->dims;
	struct scoring s = {.d = a->d_head, .d_scale = a->d_head, .n_turned = a->n_rotary, .ladder = a->n_rotary};
	if (!strcmp(name, "shared_kv")) {
		s.q = map(c, c->x_i, "w_q", "b_q");
		s.k = map(c, c->x, "w_kv", "b_kv");
		return attend(c, &s, s.k, a->d_head, shared_average(c));
	}
	const int is_one = !strcmp(name, "shared_qkv");
	const char *w = is_one ? "w_qkv" : "w_qk", *b = is_one ? "b_qkv" : "b_qk";
	s.q = map(c, c->x_i, w, b);
	s.k = first_of_group(c, map(c, c->x, w, b));
	if (is_one)
		return attend(c, &s, s.k, a->d_head, shared_average(c));
	return attend(c, &s, map(c, c->x, "w_v", "b_v"), a->d_head, AVERAGE_PLAIN);
}

static struct rows keyless(const struct context *c)
{
	const struct attn_dims *a = c->dims;
	const int relu_q = has(c, "relu=query") || has(c, "relu=both"),
	          relu_v = has(c, "relu=value") || has(c, "relu=both"), r = number(c, "d_latent", 0);
	struct scoring s = {.d = a->d_head, .d_scale = a->d_head, .n_turned = a->n_rotary, .ladder = a->n_rotary};
	s.q = chain(c, c->x_i, 'q', number(c, "m1", 2), a->n_head, relu_q);
	if (!r) {
		s.k = chain(c, c->x, 'v', number(c, "m2", 1), a->n_kv_head, relu_v);
		return attend(c, &s, s.k, a->d_head, shared_average(c));
	}
	// Eq 15: V* = X W_pre, Q* = Q W_post^T, softmax(Q* V*^T / sqrt(r)) V* W_post; W_post of the head's group.
	struct rows latent = map(c, c->x, "w_v", "b_v"), star = rows_new(c, 1, a->n_head * r);
	latent = relu_v ? relu(c, latent) : latent;
	const struct tensor *post = weight(c, "w_v2");
	const int n_group = a->n_head / a->n_kv_head;
	for (int h = 0; h < a->n_head; h++)
		for (int k = 0; k < r; k++)
			for (int t = 0; t < a->d_head; t++)
				star.x[h * r + k] += s.q.x[h * a->d_head + t] *
				                     (double)post->x[(h / n_group * a->d_head + t) * r + k];
	const struct scoring on_latent = {.q = star, .k = latent, .d = r, .d_scale = r};
	const struct rows mean = attend(c, &on_latent, latent, r, AVERAGE_PLAIN);
	struct rows out = rows_new(c, 1, a->n_head * a->d_head);
	for (int h = 0; h < a->n_head; h++)
		for (int t = 0; t < a->d_head; t++)
			for (int k = 0; k < r; k++)
				out.x[h * a->d_head + t] +=
				        mean.x[h * r + k] * (double)post->x[(h / n_group * a->d_head + t) * r + k];
	return out;
}

static struct rows mla(const struct context *c)
{
	const struct attn_dims *a = c->dims;
	const int d_rope = number(c, "d_rope", 0);
	struct rows latent = map(c, c->x, "w_latent", "b_latent");
	if (has(c, "latent_norm=true"))
		latent = rms_normed(c, latent, "latent_gain");
	struct scoring s = {.d = a->d_head, .d_scale = a->d_head + d_rope};
	s.q = map(c, c->x_i, "w_q", "b_q");
	s.k = map(c, latent, "w_uk", NULL);
	if (has(c, "rope=up_projected"))
		s.n_turned = s.ladder = a->n_rotary;
	if (d_rope) {
		s.q2 = map(c, c->x_i, "w_qr", "b_qr");
		s.k2 = map(c, c->x, "w_kr", "b_kr");
	}
	return attend(c, &s, map(c, latent, "w_uv", NULL), a->d_head, AVERAGE_PLAIN);
}

// Keys made of the latents, up_g c_g + b_k, or latents themselves with queries of their width, (up_g^T q_h or q_h).
static struct rows factored(const struct context *c)
{
	const struct attn_dims *a = c->dims;
	const int d_select = number(c, "d_select", 0), n = has(c, "per=head") ? a->n_kv_head : 1, r = d_select / n;
	const int is_turned = a->n_rotary && has(c, "rope="), most = a->n_kv_head / n * a->n_rotary;
	const int d_rope = number(c, "d_rope", 0) ? number(c, "d_rope", 0) / n : r < most ? r : most;
	const struct rows latent = map(c, c->x, "w_latent", "b_latent"), v = map(c, c->x, "w_v", "b_v");
	struct scoring s = {.q = map(c, c->x_i, "w_q", "b_q"), .k = latent, .d = r, .d_scale = a->d_head};
	const struct tensor *up = param(c, "w_up"), *b = param(c, "b_k");
	if (is_turned) {
		s.n_turned = d_rope;
		s.ladder = has(c, "own_ladder") ? d_rope : a->n_rotary;
	} else if (up) {
		s.d = a->d_head, s.n_turned = s.ladder = a->n_rotary;
		s.k = rows_new(c, latent.n, a->n_kv_head * a->d_head);
		for (int j = 0; j < latent.n; j++)
			for (int o = 0; o < s.k.d; o++) {
				double sum = b ? (double)b->x[o] : 0;
				for (int t = 0; t < r; t++)
					sum += latent.x[j * d_select + (n > 1 ? o / a->d_head * r : 0) + t] *
					       (double)up->x[o * r + t];
				s.k.x[j * s.k.d + o] = sum;
			}
	}
	if (is_turned && up) {
		const struct rows q = s.q;
		s.q = rows_new(c, 1, a->n_head * r);
		for (int h = 0; h < a->n_head; h++)
			for (int t = 0; t < r; t++)
				for (int o = 0; o < a->d_head; o++)
					s.q.x[h * r + t] +=
					        q.x[h * a->d_head + o] *
					        (double)up->x[(h * a->n_kv_head / a->n_head * a->d_head + o) * r + t];
	}
	return attend(c, &s, v, a->d_head, AVERAGE_PLAIN);
}

void reference_row(
        double *out, const struct model *m, const char *settings, const double *x, int S, int i, struct arena *arena)
{
	const char *name = m->variant->name;
	const int d_model = m->dims.d_model;
	struct context c = {.m = m, .dims = &m->dims, .settings = settings, .i = i, .arena = arena};
	c.x = rows_new(&c, S, d_model);
	memcpy(c.x.x, x, (size_t)S * (size_t)d_model * sizeof(*x));
	c.x_i = (struct rows){1, d_model, c.x.x + (ptrdiff_t)i * d_model};
	struct rows heads;
	if (!strcmp(name, "null")) {
		memcpy(out, c.x_i.x, (size_t)d_model * sizeof(*out));
		return;
	}
	if (!strncmp(name, "shared_", 7))
		heads = shared(&c, name);
	else if (!strcmp(name, "keyless"))
		heads = keyless(&c);
	else if (!strcmp(name, "mla"))
		heads = mla(&c);
	else if (!strcmp(name, "factored_keys"))
		heads = factored(&c);
	else if (param(&c, "w_k"))
		heads = separate(&c);
	else
		fail_msg("the reference does not know variant '%s'", name);
	memcpy(out, map(&c, heads, "w_o", "b_o").x, (size_t)d_model * sizeof(*out));
}
