// SPDX-License-Identifier: MIT
// The CUDA backend's rows in other types (what is written has the CPU's bytes), look-ups by token, copies, and graphs:
// a step played at other positions has the bits of the same slots called there.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/num/stored.h"
#include "tests/num/cuda_rig.h"
#include "tests/test.h"

enum { ROUNDS = 20, N = DTYPE_BLOCK };
static struct cuda_rig rig;
static struct rng rng;

// A cached stream in both memories, full of the same bytes, that are no numbers of ours.
struct stream {
	struct stored cpu, cuda;
	size_t bytes, tail_bytes;
	int B, capacity;
};

static struct stream some_stream(enum dtype dtype, int B, int capacity, int columns, int by_channel)
{
	const size_t channel_bytes = dtype_row_bytes(dtype, N),
	             unit_bytes = by_channel ? (size_t)columns * channel_bytes : dtype_row_bytes(dtype, columns);
	struct stream s = {.B = B, .capacity = capacity};
	s.bytes = (size_t)B * (size_t)(capacity / (by_channel ? N : 1)) * unit_bytes;
	s.tail_bytes = by_channel ? (size_t)B * N * (size_t)columns * sizeof(real) : 0;
	unsigned char *at = arena_alloc(&rig.host.memory, s.bytes);
	real *tail = arena_alloc(&rig.host.memory, s.tail_bytes);
	memset(at, 0x7f, s.bytes);
	memset(tail, 0xff, s.tail_bytes);
	s.cpu = (struct stored){.dtype = dtype,
	        .at = at,
	        .b_bytes = (ptrdiff_t)(s.bytes / (size_t)B),
	        .row_bytes = (ptrdiff_t)unit_bytes,
	        .columns = columns,
	        .tail = by_channel ? tail : NULL,
	        .channel_bytes = by_channel ? (ptrdiff_t)channel_bytes : 0};
	s.cuda = s.cpu;
	s.cuda.at = cuda_bytes(&rig, at, s.bytes);
	if (by_channel)
		s.cuda.tail = cuda_bytes(&rig, tail, s.tail_bytes);
	return s;
}

static void assert_same_bytes(const char *what, const void *cuda, const void *cpu, size_t bytes)
{
	unsigned char *got = arena_alloc(&rig.host.memory, bytes);
	rig.exact->download(cuda_exec(&rig), got, cuda, bytes);
	for (size_t i = 0; i < bytes; i++)
		if (got[i] != ((const unsigned char *)cpu)[i])
			fail_msg("%s: byte %zu of %zu is %02x, not %02x", what, i, bytes, got[i],
			        ((const unsigned char *)cpu)[i]);
}

static void assert_same_stream(const char *what, const struct stream *s)
{
	assert_same_bytes(what, s->cuda.at, s->cpu.at, s->bytes);
	if (s->tail_bytes)
		assert_same_bytes("tail", s->cuda.tail, s->cpu.tail, s->tail_bytes);
}

// New rows; now and then numbers that a type cannot hold. (No NaN in f16 and bf16: its payload is each machine's.)
static struct guarded new_rows(enum dtype dtype, int rows, int columns)
{
	const struct guarded x = guarded_operand(&rig.host, rows, columns, columns + 3);
	static const float odd[] = {0, 1e-9F, 7e4F, 1e7F, -1e7F, 3e38F, -0.0F, 6e-8F};
	for (int i = 0; i < rows; i++)
		if (rig_int(&rng, 0, 3) == 0)
			x.x[i * x.stride + rig_int(&rng, 0, columns - 1)] = odd[rig_int(&rng, 0, 7)];
	if ((dtype == DTYPE_Q8 || dtype == DTYPE_Q4) && rig_int(&rng, 0, 3) == 0)
		x.x[rig_int(&rng, 0, columns - 1)] = rig_int(&rng, 0, 1) ? (real)NAN : (real)INFINITY;
	memcpy(x.before, x.memory, x.n_memory * sizeof(real));
	return x;
}

static struct strided rows_of(const real *x, const struct guarded *g, int T)
{
	return (struct strided){x, T * g->stride, g->stride};
}

static void test_store_rows(void **state UNUSED)
{
	for (int round = 0; round < 8 * ROUNDS; round++) {
		const enum dtype dtype = (enum dtype)(round % N_DTYPE);
		const int by_channel = (dtype == DTYPE_Q8 || dtype == DTYPE_Q4) && round / N_DTYPE % 2;
		const int B = rig_int(&rng, 1, 3), columns = rig_int(&rng, 1, 80), capacity = 4 * N;
		cuda_begin(&rig);
		const struct stream s = some_stream(dtype, B, capacity, columns, by_channel);
		for (int at = by_channel ? 0 : rig_int(&rng, 0, 50), T; at < capacity; at += T) { // step after step
			T = rig_int(&rng, 1, rig_int(&rng, 0, 1) ? 4 : 70);
			T = T < capacity - at ? T : capacity - at;
			const struct guarded x = new_rows(dtype, B * T, columns);
			rig.n_mirror = 0;
			backend_cpu.store_rows(rig_exec(&rig.host), &s.cpu, rows_of(x.x, &x, T), B, T, at);
			rig.exact->store_rows(
			        cuda_exec(&rig), &s.cuda, rows_of(cuda_mirror(&rig, &x), &x, T), B, T, at);
			assert_same_stream(dtype_name[dtype], &s);
		}
	}
}

static void test_read_rows(void **state UNUSED)
{
	for (int round = 0; round < 4 * ROUNDS; round++) {
		const enum dtype dtype = (enum dtype)(round % N_DTYPE);
		const int by_channel = (dtype == DTYPE_Q8 || dtype == DTYPE_Q4) && round / N_DTYPE % 2;
		const int B = rig_int(&rng, 1, 3), columns = rig_int(&rng, 2, 80), S = rig_int(&rng, 1, 3 * N);
		const int from = rig_int(&rng, 0, columns / 2), at = rig_int(&rng, 0, (columns - from) / 2),
		          d = rig_int(&rng, 1, columns - from - at), position = rig_int(&rng, 0, S - 1),
		          n = rig_int(&rng, 1, S - position), accumulate = round % 3 == 0;
		cuda_begin(&rig);
		struct stream s = some_stream(dtype, B, 3 * N, columns, by_channel);
		const struct guarded x = new_rows(dtype, B * S, columns);
		const struct outputs out = cuda_outputs(&rig, B * n, d, d + 2, accumulate);
		s.cpu.from = s.cuda.from = from;
		backend_cpu.store_rows(rig_exec(&rig.host), &s.cpu, rows_of(x.x, &x, S), B, S, 0);
		rig.exact->store_rows(cuda_exec(&rig), &s.cuda, rows_of(cuda_mirror(&rig, &x), &x, S), B, S, 0);
		const struct strided_out cpu = {out.cpu.x, n * out.cpu.stride, out.cpu.stride, accumulate},
		                         cuda = {cuda_mirror(&rig, &out.cuda), n * out.cuda.stride, out.cuda.stride,
		                                 accumulate};
		backend_cpu.read_rows(rig_exec(&rig.host), cpu, &s.cpu, B, position, n, S, at, d);
		rig.exact->read_rows(cuda_exec(&rig), cuda, &s.cuda, B, position, n, S, at, d);
		cuda_fetch(&rig);
		double *size = arena_zalloc(&rig.host.memory, (size_t)B * (size_t)n * (size_t)d * sizeof(*size));
		for (int i = 0; i < B * n * d; i++) { // a product that is added to may be rounded once or twice
			const double read = fabs((double)out.cpu.x[i / d * out.cpu.stride + i % d]);
			size[i] = dtype == DTYPE_Q4 ? 2 * read + 8 : dtype == DTYPE_Q8 && accumulate ? read : 0;
		}
		assert_outputs(dtype_name[dtype], &out, size, 2);
	}
}

static void test_embed(void **state UNUSED)
{
	for (int round = 0; round < 2 * ROUNDS; round++) {
		const enum dtype dtype = (enum dtype)(round % N_DTYPE);
		const int B = rig_int(&rng, 1, 4), T = round % 7 ? rig_int(&rng, 1, 20) : rig_int(&rng, 300, 900),
		          C = rig_int(&rng, 1, 50), V = rig_int(&rng, 1, 40), first = rig_int(&rng, 0, 5);
		const int *tokens = rig_tokens(&rig.host, B * T, V);
		cuda_begin(&rig);
		struct stream s = some_stream(dtype, 1, V, C, 0);
		const struct guarded table = new_rows(DTYPE_F32, V, C),
		                     position = guarded_operand(&rig.host, T + 5, C, C);
		const struct outputs out = cuda_outputs(&rig, B * T, C, C, 0);
		backend_cpu.store_rows(rig_exec(&rig.host), &s.cpu, rows_of(table.x, &table, V), 1, V, 0);
		rig.exact->store_rows(cuda_exec(&rig), &s.cuda, rows_of(cuda_mirror(&rig, &table), &table, V), 1, V, 0);
		const real *at = round % 3 ? position.x : NULL, *to = at ? cuda_mirror(&rig, &position) : NULL;
		real *out_at = cuda_mirror(&rig, &out.cuda);
		if (dtype == DTYPE_F32) {
			backend_cpu.embed(rig_exec(&rig.host), out.cpu.x, (const real *)(const void *)s.cpu.at, at,
			        tokens, B, T, C, first);
			rig.exact->embed(cuda_exec(&rig), out_at, (const real *)(const void *)s.cuda.at, to, tokens, B,
			        T, C, first);
		} else {
			backend_cpu.embed_stored(rig_exec(&rig.host), out.cpu.x, &s.cpu, at, tokens, B, T, C, first);
			rig.exact->embed_stored(cuda_exec(&rig), out_at, &s.cuda, to, tokens, B, T, C, first);
		}
		cuda_fetch(&rig);
		double *size = arena_zalloc(&rig.host.memory, (size_t)B * (size_t)T * (size_t)C * sizeof(*size));
		for (int i = 0; i < B * T * C; i++)
			size[i] = dtype == DTYPE_Q4 || dtype == DTYPE_Q8 ? 3 * fabs((double)out.cpu.x[i]) + 16 : 0;
		assert_outputs("embed", &out, size, 2);
	}
}

static void test_copies(void **state UNUSED)
{
	for (int round = 0; round < ROUNDS; round++) {
		enum { BYTES = 5000 };
		unsigned char host[BYTES], back[BYTES];
		cuda_begin(&rig);
		for (int i = 0; i < BYTES; i++)
			host[i] = (unsigned char)rng_u32(&rng);
		unsigned char *at = cuda_bytes(&rig, host, BYTES);
		const int n = rig_int(&rng, 0, 2000), to = rig_int(&rng, 0, 3000), from = rig_int(&rng, 0, 3000);
		rig.exact->move(cuda_exec(&rig), at + to, at + from, (size_t)n); // they may overlap
		memmove(host + to, host + from, (size_t)n);
		rig.exact->clear(cuda_exec(&rig), at + from, (size_t)(n / 2));
		memset(host + from, 0, (size_t)(n / 2));
		rig.exact->download(cuda_exec(&rig), back, at, BYTES);
		assert_memory_equal(back, host, BYTES);
	}
}

// --- graphs -------------------------------------------------------------------------------------------------------

// A step of everything that knows positions: tokens embedded, turned, stored.
struct step {
	const real *table, *position;
	real *rows, *turned;
	const struct stored *to, *by_channel;
	int B, T, C;
};

static void run_step(const struct step *s, const int *tokens, int first)
{
	const struct rope rope = {
	        .n_head = 2, .n_rotary = s->C / 4 * 2, .n_ladder = s->C / 4 * 2, .base = 10000, .first = first};
	const struct strided rows = {s->rows, s->T * s->C, s->C}, turned = {s->turned, s->T * s->C, s->C};
	const struct strided_out out = {s->turned, s->T * s->C, s->C, 0};
	rig.exact->embed(cuda_exec(&rig), s->rows, s->table, s->position, tokens, s->B, s->T, s->C, first);
	rig.exact->rope(cuda_exec(&rig), out, rows, s->B, s->T, s->C, &rope);
	rig.exact->store_rows(cuda_exec(&rig), s->to, turned, s->B, s->T, first);
	rig.exact->store_rows(cuda_exec(&rig), s->by_channel, turned, s->B, s->T, first);
}

// The same tokens through a graph that was taken down at position 0, and slot by slot.
static void test_graph(void **state UNUSED)
{
	for (int round = 0; round < ROUNDS; round++) {
		const int B = rig_int(&rng, 1, 3), T = rig_int(&rng, 1, 3), C = 4 * rig_int(&rng, 1, 12), V = 30,
		          n_step = 2 * N / T, n = B * T * C;
		struct err err = {0};
		struct stream stream[2][2];
		real *end[2];
		cuda_begin(&rig);
		const struct guarded table = guarded_operand(&rig.host, V, C, C),
		                     position = guarded_operand(&rig.host, 2 * N + T, C, C);
		const int *tokens = rig_tokens(&rig.host, n_step * B * T, V);
		const real *table_at = cuda_mirror(&rig, &table), *position_at = cuda_mirror(&rig, &position);
		for (int is_graph = 0; is_graph < 2; is_graph++) {
			stream[is_graph][0] = some_stream(DTYPE_Q8, B, 2 * N + T, C, 0);
			stream[is_graph][1] = some_stream(DTYPE_Q4, B, 2 * N, C, 1);
			const struct step step = {table_at, position_at,
			        arena_alloc(&rig.memory, (size_t)n * sizeof(real)),
			        arena_alloc(&rig.memory, (size_t)n * sizeof(real)), &stream[is_graph][0].cuda,
			        &stream[is_graph][1].cuda, B, T, C};
			struct graph *graph = NULL;
			if (is_graph) {
				rig.exact->graph->begin(cuda_exec(&rig));
				run_step(&step, tokens, 0);
				graph = rig.exact->graph->end(cuda_exec(&rig), &err);
				if (!graph)
					fail_msg("no graph: %s", err.message);
			}
			for (int i = 0; i < n_step; i++)
				if (is_graph)
					rig.exact->graph->play(
					        cuda_exec(&rig), graph, tokens + i * B * T, B * T, i * T);
				else
					run_step(&step, tokens + i * B * T, i * T);
			end[is_graph] = arena_alloc(&rig.host.memory, (size_t)n * sizeof(real));
			rig.exact->download(cuda_exec(&rig), end[is_graph], step.turned, (size_t)n * sizeof(real));
			if (is_graph)
				rig.exact->graph->release(graph);
		}
		assert_memory_equal(end[0], end[1], (size_t)n * sizeof(real));
		for (int i = 0; i < 2; i++) {
			unsigned char *bytes = arena_alloc(&rig.host.memory, stream[0][i].bytes);
			rig.exact->download(cuda_exec(&rig), bytes, stream[0][i].cuda.at, stream[0][i].bytes);
			assert_same_bytes("a graph's cache", stream[1][i].cuda.at, bytes, stream[0][i].bytes);
		}
	}
}

static void test_graph_refuses(void **state UNUSED)
{
	real host[8] = {0};
	struct err err = {0};
	cuda_begin(&rig);
	real *at = cuda_bytes(&rig, host, sizeof(host));
	rig.exact->graph->begin(cuda_exec(&rig));
	rig.exact->add(cuda_exec(&rig), at, at, at, 8);
	rig.exact->download(cuda_exec(&rig), host, at, sizeof(host));
	assert_null(rig.exact->graph->end(cuda_exec(&rig), &err));
	assert_string_equal(err.message, "a copy to the host's memory cannot be part of a graph");
	rig.exact->add(cuda_exec(&rig), at, at, at, 8); // goes on as if nothing had been
	rig.exact->download(cuda_exec(&rig), host, at, sizeof(host));
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_store_rows),
	        cmocka_unit_test(test_read_rows),
	        cmocka_unit_test(test_embed),
	        cmocka_unit_test(test_copies),
	        cmocka_unit_test(test_graph),
	        cmocka_unit_test(test_graph_refuses),
	};
	rng = rig_rng(&rig.host);
	return cmocka_run_group_tests_name(rig.is_emulated ? "emulated" : "device", tests, NULL, NULL);
}

int main(void)
{
	return cuda_run_tests(&rig, run);
}
