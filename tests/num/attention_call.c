// SPDX-License-Identifier: MIT
#include "tests/num/attention_call.h"

#include <math.h>

static double *numbers(struct rig *rig, long n)
{
	return arena_zalloc(&rig->memory, (size_t)n * sizeof(double));
}

struct attention_shape attention_call_edge(int T, int S, int causal)
{
	return (struct attention_shape){.B = 1,
	        .T = T,
	        .S = S,
	        .n_head = 2,
	        .n_k_head = 1,
	        .n_v_head = 2,
	        .d_qk = 5,
	        .d_v = 9,
	        .causal = causal,
	        .q_position = S > T ? S - T : 0};
}

struct attention_call attention_call_make(
        struct rig *rig, const struct attention_shape *shape, int gap, int accumulate, int n_bias)
{
	struct attention_call c = {.s = *shape, .n_bias = n_bias};
	struct attention_shape *s = &c.s;
	const int q = s->n_head * s->d_qk, k = s->n_k_head * s->d_qk, v = s->n_v_head * s->d_v, o = s->n_head * s->d_v;
	const int rows = s->B * s->T, positions = s->B * s->S;
	c.q = guarded_operand(rig, rows, q, q + gap);
	c.k = guarded_operand(rig, positions, k, k + 2 * gap);
	c.v = guarded_operand(rig, positions, v, v + gap);
	c.dout = guarded_operand(rig, rows, o, o + gap);
	c.out = guarded_output(rig, rows, o, o + 3 * gap, 0);
	c.lse = guarded_output(rig, s->B * s->n_head, s->T, s->T, 0);
	c.dq = guarded_output(rig, rows, q, q + gap, accumulate);
	c.dk = guarded_output(rig, positions, k, k + gap, accumulate);
	c.dv = guarded_output(rig, positions, v, v + gap, accumulate);
	const long pairs = (long)s->B * s->n_head * s->T * s->S;
	c.weight = numbers(rig, pairs), c.score_size = numbers(rig, (long)s->B * s->n_head * s->T);
	c.out_ref = numbers(rig, (long)rows * o), c.out_size = numbers(rig, (long)rows * o);
	c.lse_ref = numbers(rig, (long)rows * s->n_head), c.lse_size = numbers(rig, (long)rows * s->n_head);
	c.dq_ref = numbers(rig, (long)rows * q), c.dq_size = numbers(rig, (long)rows * q);
	c.dk_ref = numbers(rig, (long)positions * k), c.dk_size = numbers(rig, (long)positions * k);
	c.dv_ref = numbers(rig, (long)positions * v), c.dv_size = numbers(rig, (long)positions * v);
	if (n_bias) {
		c.bias = guarded_operand(rig, n_bias, s->S, s->S + gap);
		c.dbias = guarded_output(rig, n_bias, s->S, s->S + gap, 1);
		c.dbias_ref = numbers(rig, (long)n_bias * s->S), c.dbias_size = numbers(rig, (long)n_bias * s->S);
		s->key_bias = c.bias.x, s->d_key_bias = c.dbias.x;
		s->key_bias_stride = n_bias > 1 ? c.bias.stride : 0;
	}
	return c;
}

static int visible(const struct attention_shape *s, int i)
{
	const int n = s->q_position + i + 1;
	return s->causal && n < s->S ? n : s->S;
}

// Weights, output and log-sum-exp of one query row of one head.
static void forward_row(struct attention_call *c, int b, int h, int i)
{
	const struct attention_shape *s = &c->s;
	const real *q = c->q.x + (b * s->T + i) * c->q.stride + h * s->d_qk;
	const real *k = c->k.x + b * s->S * c->k.stride + h * s->n_k_head / s->n_head * s->d_qk;
	const real *v = c->v.x + b * s->S * c->v.stride + h * s->n_v_head / s->n_head * s->d_v;
	const long row = ((long)b * s->n_head + h) * s->T + i,
	           o = ((long)b * s->T + i) * s->n_head * s->d_v + h * s->d_v;
	double *p = c->weight + row * s->S, most = -INFINITY, sum = 0;
	const int seen = visible(s, i);
	for (int j = 0; j < seen; j++) {
		const double bias = c->n_bias ? (double)c->bias.x[h % c->n_bias * c->bias.stride + j] : 0;
		double size = fabs(bias);
		p[j] = bias;
		for (int d = 0; d < s->d_qk; d++) {
			const double term = (double)q[d] * (double)k[j * c->k.stride + d] * s->scale;
			p[j] += term;
			size += fabs(term);
		}
		most = fmax(most, p[j]);
		c->score_size[row] = fmax(c->score_size[row], size);
	}
	for (int j = 0; j < seen; j++)
		sum += p[j] = exp(p[j] - most);
	c->lse_ref[row] = most + log(sum);
	c->lse_size[row] = 1 + c->score_size[row];
	for (int j = 0; j < seen; j++) {
		p[j] /= sum;
		for (int d = 0; d < s->d_v; d++) {
			const double term = p[j] * (double)v[j * c->v.stride + d];
			c->out_ref[o + d] += term;
			c->out_size[o + d] += fabs(term) * (1 + c->score_size[row]);
		}
	}
}

static void backward_row(struct attention_call *c, int b, int h, int i)
{
	const struct attention_shape *s = &c->s;
	const int k_at = h * s->n_k_head / s->n_head * s->d_qk, v_at = h * s->n_v_head / s->n_head * s->d_v;
	const int q_columns = s->n_head * s->d_qk, k_columns = s->n_k_head * s->d_qk, v_columns = s->n_v_head * s->d_v;
	const long r = (long)b * s->T + i, row = ((long)b * s->n_head + h) * s->T + i;
	const real *q = c->q.x + r * c->q.stride + h * s->d_qk, *dout = c->dout.x + r * c->dout.stride + h * s->d_v;
	const double *out = c->out_ref + r * s->n_head * s->d_v + h * s->d_v, *p = c->weight + row * s->S;
	double delta = 0, delta_size = 0;
	for (int d = 0; d < s->d_v; d++) {
		delta += (double)dout[d] * out[d];
		delta_size += fabs((double)dout[d]) * c->out_size[r * s->n_head * s->d_v + h * s->d_v + d];
	}
	for (int j = 0; j < visible(s, i); j++) {
		const long at = (long)b * s->S + j;
		const real *k = c->k.x + at * c->k.stride + k_at, *v = c->v.x + at * c->v.stride + v_at;
		double dp = 0, dp_size = 0;
		for (int d = 0; d < s->d_v; d++) {
			dp += (double)dout[d] * (double)v[d];
			dp_size += fabs((double)dout[d] * (double)v[d]);
			c->dv_ref[at * v_columns + v_at + d] += p[j] * (double)dout[d];
			c->dv_size[at * v_columns + v_at + d] +=
			        p[j] * fabs((double)dout[d]) * (1 + c->score_size[row]);
		}
		if (c->n_bias) {
			const long to = (long)(h % c->n_bias) * s->S + j;
			c->dbias_ref[to] += p[j] * (dp - delta);
			c->dbias_size[to] += p[j] * (dp_size + delta_size) * (1 + c->score_size[row]);
		}
		const double ds = p[j] * (dp - delta) * s->scale;
		const double ds_size = p[j] * (dp_size + delta_size) * s->scale * (1 + c->score_size[row]);
		for (int d = 0; d < s->d_qk; d++) {
			c->dq_ref[r * q_columns + h * s->d_qk + d] += ds * (double)k[d];
			c->dq_size[r * q_columns + h * s->d_qk + d] += ds_size * fabs((double)k[d]);
			c->dk_ref[at * k_columns + k_at + d] += ds * (double)q[d];
			c->dk_size[at * k_columns + k_at + d] += ds_size * fabs((double)q[d]);
		}
	}
}

void attention_call_reference(struct attention_call *c)
{
	const struct attention_shape *s = &c->s;
	for (int b = 0; b < s->B; b++)
		for (int h = 0; h < s->n_head; h++)
			for (int i = 0; i < s->T; i++) {
				forward_row(c, b, h, i);
				backward_row(c, b, h, i);
			}
}
