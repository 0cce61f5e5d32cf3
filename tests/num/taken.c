// SPDX-License-Identifier: MIT
#include "tests/num/taken.h"

#include <stdlib.h>
#include <string.h>

#include "harness/base/err.h"
#include "harness/num/stored.h"

// One call of a slot: what it was given, shapes and all, and how to run it at later positions.
enum { CALLS_MOST = 4096, TOKENS_MOST = 256 };
struct call {
	void (*run)(const struct exec *, const struct call *, const int *tokens, int shift);
	void *args;
};
struct graph {
	int n, n_token;
	struct arena memory;
	struct call call[CALLS_MOST];
};

static struct graph *taking; // NULL: slots run
static const char *refusal;

// The bytes at `what`, kept as long as the graph.
static void *keep(const void *what, size_t bytes)
{
	if (!what)
		return NULL;
	return memcpy(arena_alloc(&taking->memory, bytes), what, bytes);
}

static struct stored *keep_stored(const struct stored *s)
{
	struct stored *kept = keep(s, sizeof(*s));
	if (kept->turn)
		kept->turn = keep(kept->turn, sizeof(*kept->turn));
	return kept;
}

static void add_call(
        void (*run)(const struct exec *, const struct call *, const int *, int), const void *args, size_t bytes)
{
	if (taking->n == CALLS_MOST)
		BUG("a step of more than %d calls", CALLS_MOST);
	taking->call[taking->n++] = (struct call){run, keep(args, bytes)};
}

static int take_tokens(int n)
{
	taking->n_token += n;
	return taking->n_token - n;
}

// A slot that runs, or is kept with its arguments: `members` of `a`, which `kept` replaces by copies where they point
// to what the caller forgets; `later` says how it is called again, `before` what that needs. Each argument is in
// parentheses.
#define STRIP(...) __VA_ARGS__
#define SLOT(name, parameters, arguments, members, kept, before, later)                                                \
	struct args_##name {                                                                                           \
		STRIP members int first_token;                                                                         \
	};                                                                                                             \
	static void run_##name(const struct exec *e, const struct call *c, const int *tokens, int shift)               \
	{                                                                                                              \
		const struct args_##name *a = c->args;                                                                 \
		STRIP before;                                                                                          \
		(void)tokens, (void)shift;                                                                             \
		backend_cpu.name(e, STRIP later);                                                                      \
	}                                                                                                              \
	static void name(const struct exec *e, STRIP parameters)                                                       \
	{                                                                                                              \
		if (!taking) {                                                                                         \
			backend_cpu.name(e, STRIP arguments);                                                          \
			return;                                                                                        \
		}                                                                                                      \
		struct args_##name a = {STRIP arguments, 0};                                                           \
		STRIP kept;                                                                                            \
		add_call(run_##name, &a, sizeof(a));                                                                   \
	}

SLOT(move, (void *to, const void *from, size_t bytes), (to, from, bytes), (void *to; const void *from; size_t bytes;),
        (), (), (a->to, a->from, a->bytes))
SLOT(clear, (void *at, size_t bytes), (at, bytes), (void *at; size_t bytes;), (), (), (a->at, a->bytes))
SLOT(gemm, (const struct gemm *g), (g), (const struct gemm *g;), (a.g = keep(g, sizeof(*g))), (), (a->g))
SLOT(column_sum, (real * out, const real *x, ptrdiff_t ldx, int m, int n, int accumulate),
        (out, x, ldx, m, n, accumulate), (real * out; const real *x; ptrdiff_t ldx; int m; int n; int accumulate;), (),
        (), (a->out, a->x, a->ldx, a->m, a->n, a->accumulate))
SLOT(embed, (real * out, const real *table, const real *position, const int *tokens, int B, int T, int C, int first),
        (out, table, position, tokens, B, T, C, first),
        (real * out; const real *table; const real *position; const int *tokens; int B; int T; int C; int first;),
        (a.first_token = take_tokens(B * T)), (),
        (a->out, a->table, a->position, tokens + a->first_token, a->B, a->T, a->C, a->first + shift))
SLOT(embed_stored,
        (real * out, const struct stored *table, const real *position, const int *tokens, int B, int T, int C,
                int first),
        (out, table, position, tokens, B, T, C, first),
        (real * out; const struct stored *table; const real *position; const int *tokens; int B; int T; int C;
                int first;),
        (a.table = keep_stored(table), a.first_token = take_tokens(B * T)), (),
        (a->out, a->table, a->position, tokens + a->first_token, a->B, a->T, a->C, a->first + shift))
SLOT(norm,
        (real * out, real *stat, const real *x, const real *gain, const real *bias, int m, int n, double eps,
                int is_rms),
        (out, stat, x, gain, bias, m, n, eps, is_rms),
        (real * out; real * stat; const real *x; const real *gain; const real *bias; int m; int n; double eps;
                int is_rms;),
        (), (), (a->out, a->stat, a->x, a->gain, a->bias, a->m, a->n, a->eps, a->is_rms))
SLOT(unary, (real * out, real *slope, const real *x, long n, enum unary kind), (out, slope, x, n, kind),
        (real * out; real * slope; const real *x; long n; enum unary kind;), (), (),
        (a->out, a->slope, a->x, a->n, a->kind))
SLOT(swiglu, (real * out, const real *x, int m, int n), (out, x, m, n), (real * out; const real *x; int m; int n;), (),
        (), (a->out, a->x, a->m, a->n))
SLOT(add, (real * out, const real *x, const real *y, long n), (out, x, y, n),
        (real * out; const real *x; const real *y; long n;), (), (), (a->out, a->x, a->y, a->n))
SLOT(copy, (real * out, ptrdiff_t ldo, const real *x, ptrdiff_t ldx, int m, int n, int accumulate),
        (out, ldo, x, ldx, m, n, accumulate),
        (real * out; ptrdiff_t ldo; const real *x; ptrdiff_t ldx; int m; int n; int accumulate;), (), (),
        (a->out, a->ldo, a->x, a->ldx, a->m, a->n, a->accumulate))
SLOT(copy_columns, (struct strided_out out, struct strided x, int B, int T, const struct column_run *run, int n_run),
        (out, x, B, T, run, n_run),
        (struct strided_out out; struct strided x; int B; int T; const struct column_run *run; int n_run;),
        (a.run = keep(run, (size_t)n_run * sizeof(*run))), (), (a->out, a->x, a->B, a->T, a->run, a->n_run))
SLOT(scale_heads,
        (struct strided_out out, struct strided x, int B, int T, int C, int n_head, const real *gain, ptrdiff_t stride),
        (out, x, B, T, C, n_head, gain, stride),
        (struct strided_out out; struct strided x; int B; int T; int C; int n_head; const real *gain;
                ptrdiff_t stride;),
        (), (), (a->out, a->x, a->B, a->T, a->C, a->n_head, a->gain, a->stride))
SLOT(rope, (struct strided_out out, struct strided x, int B, int T, int C, const struct rope *r), (out, x, B, T, C, r),
        (struct strided_out out; struct strided x; int B; int T; int C; const struct rope *r;),
        (a.r = keep(r, sizeof(*r))), (struct rope r = *a->r; r.first += shift), (a->out, a->x, a->B, a->T, a->C, &r))
SLOT(attention,
        (struct strided_out out, real *lse, struct strided q, struct strided k, struct strided v,
                const struct attention_shape *s),
        (out, lse, q, k, v, s),
        (struct strided_out out; real * lse; struct strided q; struct strided k; struct strided v;
                const struct attention_shape *s;),
        (a.s = keep(s, sizeof(*s))), (struct attention_shape s = *a->s; s.S += shift, s.q_position += shift),
        (a->out, a->lse, a->q, a->k, a->v, &s))
SLOT(attention_stored,
        (struct strided_out out, struct strided q, const struct stored *k, const struct stored *v,
                const struct attention_shape *s),
        (out, q, k, v, s),
        (struct strided_out out; struct strided q; const struct stored *k; const struct stored *v;
                const struct attention_shape *s;),
        (a.k = keep_stored(k), a.v = keep_stored(v), a.s = keep(s, sizeof(*s))),
        (struct attention_shape s = *a->s; s.S += shift, s.q_position += shift), (a->out, a->q, a->k, a->v, &s))
SLOT(linear_stored, (const struct linear_stored *l), (l), (const struct linear_stored *l;),
        (struct linear_stored *kept = keep(l, sizeof(*l)); kept->w = keep_stored(l->w), a.l = kept), (), (a->l))
SLOT(store_rows, (const struct stored *to, struct strided x, int B, int T, int first), (to, x, B, T, first),
        (const struct stored *to; struct strided x; int B; int T; int first;), (a.to = keep_stored(to)), (),
        (a->to, a->x, a->B, a->T, a->first + shift))
SLOT(read_rows, (struct strided_out out, const struct stored *from, int B, int position, int n, int S, int at, int d),
        (out, from, B, position, n, S, at, d),
        (struct strided_out out; const struct stored *from; int B; int position; int n; int S; int at; int d;),
        (a.from = keep_stored(from)), (), (a->out, a->from, a->B, a->position, a->n, a->S, a->at, a->d))
SLOT(map_gain, (real * gain, const real *w, ptrdiff_t ldw, int n_map, int m), (gain, w, ldw, n_map, m),
        (real * gain; const real *w; ptrdiff_t ldw; int n_map; int m;), (), (), (a->gain, a->w, a->ldw, a->n_map, a->m))
SLOT(map_bias,
        (real * bias, ptrdiff_t ldbias, const real *w, ptrdiff_t ldw, const real *b, int n_map, int m, int S, int cut),
        (bias, ldbias, w, ldw, b, n_map, m, S, cut),
        (real * bias; ptrdiff_t ldbias; const real *w; ptrdiff_t ldw; const real *b; int n_map; int m; int S; int cut;),
        (), (), (a->bias, a->ldbias, a->w, a->ldw, a->b, a->n_map, a->m, a->S + shift, a->cut))

static void upload(const struct exec *e, void *to, const void *from, size_t bytes)
{
	if (taking)
		refusal = "a copy from the host";
	backend_cpu.upload(e, to, from, bytes);
}

static void download(const struct exec *e, void *to, const void *from, size_t bytes)
{
	if (taking)
		refusal = "a copy to the host";
	backend_cpu.download(e, to, from, bytes);
}

// --- steps --------------------------------------------------------------------------------------------------------

static void begin(const struct exec *e)
{
	(void)e;
	if (taking)
		BUG("a step inside a step");
	taking = calloc(1, sizeof(*taking));
	if (!taking)
		die_no_memory(sizeof(*taking));
	arena_init(&taking->memory, 1 << 16);
	refusal = NULL;
}

static void release(struct graph *g)
{
	arena_release(&g->memory);
	free(g);
}

static struct graph *end(const struct exec *e, struct err *err)
{
	struct graph *taken = taking;
	(void)e;
	taking = NULL;
	if (!refusal)
		return taken;
	err_set(err, "%s cannot be taken down", refusal);
	release(taken);
	return NULL;
}

static void play(const struct exec *e, struct graph *g, const int *tokens, int n_token, int shift)
{
	if (n_token != g->n_token)
		BUG("%d tokens for a step of %d", n_token, g->n_token);
	for (int i = 0; i < g->n; i++)
		g->call[i].run(e, &g->call[i], tokens, shift);
}

static const struct graph_slots graph_slots = {begin, end, play, release, NULL};

struct backend taken_backend(void)
{
	struct backend b = backend_cpu;
	b.name = "taken down";
	b.graph = &graph_slots;
	b.upload = upload;
	b.download = download;
	b.move = move;
	b.clear = clear;
	b.gemm = gemm;
	b.column_sum = column_sum;
	b.embed = embed;
	b.embed_stored = embed_stored;
	b.norm = norm;
	b.unary = unary;
	b.swiglu = swiglu;
	b.add = add;
	b.copy = copy;
	b.copy_columns = copy_columns;
	b.scale_heads = scale_heads;
	b.rope = rope;
	b.attention = attention;
	b.attention_stored = attention_stored;
	b.linear_stored = linear_stored;
	b.store_rows = store_rows;
	b.read_rows = read_rows;
	b.map_gain = map_gain;
	b.map_bias = map_bias;
	return b;
}
