// SPDX-License-Identifier: MIT
// Fused attention alone, in the layout of a model: q, k and v side by side in one row, as the fused projection leaves
// them. Rates count useful (causal) multiply-adds only; backward has 5 products to forward's 2.
#include <math.h>
#include <stdio.h>

#include "harness/bench/bench.h"
#include "harness/bench/profile.h"
#include "harness/bench/sample.h"

struct row {
	int B, H, T, d_qk, d_v;
	int has_target;
};
static const struct row rows[] = {{8, 4, 256, 64, 64, 1}, {2, 4, 1024, 64, 64, 1}, {8, 4, 256, 32, 32, 0},
        {64, 4, 18, 16, 16, 0}, {64, 4, 18, 4, 16, 0}};

enum { FORWARD, BACKWARD, DIRECTIONS };
static const double target = 0.5, cap_s = 3;

struct call {
	struct exec exec;
	struct attention_shape shape;
	struct strided q, k, v, dout, out;
	struct strided_out to, dq, dk, dv;
	real *lse;
};

static void run_forward(void *arg)
{
	struct call *c = arg;
	backend_cpu.attention(&c->exec, c->to, c->lse, c->q, c->k, c->v, &c->shape);
}

static void run_backward(void *arg)
{
	struct call *c = arg;
	backend_cpu.attention_backward(
	        &c->exec, c->dq, c->dk, c->dv, c->dout, c->out, c->lse, c->q, c->k, c->v, &c->shape);
}

static real *numbers(struct arena *arena, struct rng *rng, long n)
{
	real *x = arena_alloc(arena, (size_t)n * sizeof(real));
	for (long i = 0; i < n; i++)
		x[i] = (real)(rng_uniform(rng) - 0.5);
	return x;
}

static struct call make_call(const struct row *r, struct bench *bench)
{
	const int width = r->H * (2 * r->d_qk + r->d_v), out_width = r->H * r->d_v, at_k = r->H * r->d_qk,
	          at_v = 2 * at_k;
	const long n = (long)r->B * r->T;
	const ptrdiff_t b = (ptrdiff_t)r->T * width, b_out = (ptrdiff_t)r->T * out_width;
	real *x = numbers(&bench->arena, &bench->rng, n * width), *dx = numbers(&bench->arena, &bench->rng, n * width);
	real *out = numbers(&bench->arena, &bench->rng, n * out_width);
	const real *dout = numbers(&bench->arena, &bench->rng, n * out_width);
	return (struct call){.shape = {.B = r->B,
	                             .T = r->T,
	                             .S = r->T,
	                             .n_head = r->H,
	                             .n_k_head = r->H,
	                             .n_v_head = r->H,
	                             .d_qk = r->d_qk,
	                             .d_v = r->d_v,
	                             .causal = 1,
	                             .scale = 1 / sqrt(r->d_qk)},
	        .q = {x, b, width},
	        .k = {x + at_k, b, width},
	        .v = {x + at_v, b, width},
	        .dout = {dout, b_out, out_width},
	        .out = {out, b_out, out_width},
	        .to = {out, b_out, out_width, 0},
	        .dq = {dx, b, width, 0},
	        .dk = {dx + at_k, b, width, 0},
	        .dv = {dx + at_v, b, width, 0},
	        .lse = numbers(&bench->arena, &bench->rng, n * r->H)};
}

static void measure(const struct row *r, struct bench *bench)
{
	int threads[2] = {1, bench->n_thread};
	const struct arena_mark mark = arena_mark(&bench->arena);
	struct arena scratch;
	arena_init(&scratch, 4 << 20);
	struct arm *arm = arena_zalloc(&bench->arena, 6 * sizeof(*arm)), *fma = arm + 4;
	struct call call[2];
	call[0] = call[1] = make_call(r, bench);
	for (int i = 0; i < 2; i++) {
		call[i].exec = (struct exec){threads[i], &scratch};
		run_forward(&call[i]); // backward reads what it leaves
		arm[2 * i].run = run_forward;
		arm[2 * i + 1].run = run_backward;
		arm[2 * i].arg = arm[2 * i + 1].arg = &call[i];
		bench_fma_arm(&fma[i], &threads[i]);
	}
	sample_arms(arm, 6, 0.05, cap_s, &bench->rng);
	for (int i = 0; i < 2; i++)
		for (int direction = FORWARD; direction < DIRECTIONS; direction++) {
			const struct arm *a = &arm[2 * i + direction];
			const double rate = attention_flops(&call[i].shape, direction) / a->median,
			             share = rate / bench_fma_rate(&fma[i]);
			printf("  B %2d  H %d  T %4d  d_qk %2d  d_v %2d   %d thread%s  %-8s  %8.3f ms [%.3f, %.3f] "
			       "least %.3f n "
			       "%ld%s   %6.1f "
			       "GFLOP/s   %.2f of FMA peak",
			        r->B, r->H, r->T, r->d_qk, r->d_v, threads[i], threads[i] > 1 ? "s" : " ",
			        direction == FORWARD ? "forward" : "backward", a->median * 1e3, a->lo * 1e3,
			        a->hi * 1e3, a->sample[0] * 1e3, a->n, a->is_reached ? "" : " (2 % not reached)",
			        rate / 1e9, share);
			if (r->has_target)
				bench_print_target(share, target, "");
			else
				printf("   no target\n");
		}
	arena_release(&scratch);
	arena_rewind(&bench->arena, mark);
}

void bench_attention(struct bench *bench)
{
	printf("\nfused causal attention alone\n");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		measure(&rows[i], bench);
}
