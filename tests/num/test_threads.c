// SPDX-License-Identifier: MIT
// The number of threads never changes a bit: every slot at sizes that are shared out, and whole training runs.
#include <stdio.h>
#include <string.h>

#include "harness/base/hash.h"
#include "harness/run/trainer.h"
#include "tests/model/build.h"
#include "tests/num/rig.h"
#include "tests/test.h"

RIG_FIXTURE;

// Sizes with more than one block of everything, and a rest.
enum { M = 301, N = 130, K = 333, T = 70, S = 290, HEADS = 6, BATCH = 3, VOCAB = 19 };

struct memory {
	real *a, *b, *c, *d;     // operands
	real *out, *out2, *out3; // results, hashed
	int *tokens, *hits;
	double *loss;
};
enum { SIZE = BATCH * S * HEADS * 16 };

static struct memory memory;

static void run_gemm(const struct exec *exec, int form, int m, int n, int k)
{
	struct gemm g = {
	        .form = (enum gemm_form)form, .m = m, .n = n, .k = k, .a = memory.a, .b = memory.b, .c = memory.out};
	g.lda = form == GEMM_TN ? m : k, g.ldb = form == GEMM_NT ? k : n, g.ldc = n;
	g.bias = form == GEMM_NT ? memory.c : NULL;
	backend_cpu.gemm(exec, &g);
}

static void gemm_nn(const struct exec *exec)
{
	run_gemm(exec, GEMM_NN, M, N, K);
}
static void gemm_nt(const struct exec *exec)
{
	run_gemm(exec, GEMM_NT, M, N, K);
}
static void gemm_tn(const struct exec *exec)
{
	run_gemm(exec, GEMM_TN, M, N, K);
}
static void gemm_tn_wide(const struct exec *exec)
{
	run_gemm(exec, GEMM_TN, 65, 200, K);
}
static void gemm_tn_narrow(const struct exec *exec)
{
	run_gemm(exec, GEMM_TN, 250, 20, K);
}
static void column_sum(const struct exec *exec)
{
	backend_cpu.column_sum(exec, memory.out, memory.a, N, M, N, 0);
}
static void embed(const struct exec *exec)
{
	backend_cpu.embed(exec, memory.out, memory.a, memory.b, memory.tokens, 4, T, N, 1);
}
static void embed_backward(const struct exec *exec)
{
	backend_cpu.embed_backward(
	        exec, memory.out, VOCAB, 0, memory.out2, T + 1, 0, memory.a, memory.tokens, 4, T, N, 1);
}
static void norm(const struct exec *exec)
{
	backend_cpu.norm(exec, memory.out, memory.out2, memory.a, memory.b, memory.c, M, N, 1e-5, 0);
}
static void norm_backward(const struct exec *exec)
{
	backend_cpu.norm_backward(
	        exec, memory.out, 0, memory.out2, 0, memory.out3, 0, memory.a, memory.b, memory.c, memory.d, M, N, 0);
}
static void gelu(const struct exec *exec)
{
	backend_cpu.unary(exec, memory.out, memory.out2, memory.a, M * N, UNARY_GELU);
}
static void gelu_backward(const struct exec *exec)
{
	backend_cpu.unary_backward(exec, memory.out, memory.a, memory.b, M * N, 0);
}
static void relu(const struct exec *exec)
{
	backend_cpu.unary(exec, memory.out, memory.out2, memory.a, M * N, UNARY_RELU);
	backend_cpu.unary_backward(exec, memory.out2, memory.a, memory.b, M * N, 0);
}
static void swiglu(const struct exec *exec)
{
	backend_cpu.swiglu(exec, memory.out, memory.a, M, N / 2);
	backend_cpu.swiglu_backward(exec, memory.out2, memory.a, memory.b, M, N / 2, 0);
}
static void add_and_copy(const struct exec *exec)
{
	backend_cpu.add(exec, memory.out, memory.a, memory.b, M * N);
	backend_cpu.copy(exec, memory.out2, N + 3, memory.a, N, M, N, 0);
}
static void dropout(const struct exec *exec)
{
	backend_cpu.dropout(exec, memory.out, memory.a, M * N, 0.3, 7, 9, 0);
}
static void rope(const struct exec *exec)
{
	const struct rope turn = {.n_head = 6, .n_rotary = 8, .n_ladder = 8, .base = 1e4, .first = 3, .halves = 1};
	backend_cpu.rope(exec, (struct strided_out){memory.out, T * 60, 60, 0}, (struct strided){memory.a, T * 60, 60},
	        BATCH, T, 60, &turn);
}

static void columns(const struct exec *exec)
{
	static const struct column_run run[] = {{0, 3, 17}, {17, 3, 1}, {18, 40, 20}};
	backend_cpu.copy_columns(exec, (struct strided_out){memory.out, T * 38, 38, 0},
	        (struct strided){memory.a, T * 60, 60}, BATCH, T, run, 3);
}
static void scale_heads(const struct exec *exec)
{
	backend_cpu.scale_heads(exec, (struct strided_out){memory.out, T * 60, 60, 0},
	        (struct strided){memory.a, T * 60, 60}, BATCH, T, 60, 6, memory.b, 1);
}
static void dot_heads(const struct exec *exec)
{
	backend_cpu.dot_heads(exec, memory.out, (struct strided){memory.a, T * 60, 60},
	        (struct strided){memory.b, T * 60, 60}, BATCH, T, 60, 6);
}

static struct strided in(const real *x, int rows, int columns)
{
	return (struct strided){x, (ptrdiff_t)rows * columns, columns};
}
static struct strided_out to(real *x, int rows, int columns)
{
	return (struct strided_out){x, (ptrdiff_t)rows * columns, columns, 0};
}

// biased: 0, or the rows of a key bias.
static void run_attention(const struct exec *exec, int biased)
{
	struct attention_shape s = {.B = BATCH,
	        .T = T,
	        .S = S,
	        .n_head = HEADS,
	        .n_k_head = 3,
	        .n_v_head = 2,
	        .d_qk = 7,
	        .d_v = 5,
	        .causal = 1,
	        .q_position = S - T,
	        .scale = 0.3};
	const struct strided q = in(memory.a, T, HEADS * 7), k = in(memory.b, S, 3 * 7), v = in(memory.c, S, 2 * 5);
	real *out = memory.out3, *lse = memory.out3 + BATCH * T * HEADS * 5;
	if (biased) {
		s.key_bias = memory.d + 11, s.key_bias_stride = biased > 1 ? S : 0;
		s.d_key_bias = memory.out3 + SIZE - HEADS * S;
	}
	backend_cpu.attention(exec, to(out, T, HEADS * 5), lse, q, k, v, &s);
	backend_cpu.attention_backward(exec, to(memory.out, T, HEADS * 7), to(memory.out2, S, 3 * 7),
	        to(memory.out2 + BATCH * S * 3 * 7, S, 2 * 5), in(memory.d, T, HEADS * 5), in(out, T, HEADS * 5), lse,
	        q, k, v, &s);
}
static void attention(const struct exec *exec)
{
	run_attention(exec, 0);
}
static void attention_bias_shared(const struct exec *exec)
{
	run_attention(exec, 1);
}
static void attention_bias_per_head(const struct exec *exec)
{
	run_attention(exec, HEADS);
}
static void cross_entropy(const struct exec *exec)
{
	backend_cpu.cross_entropy(exec, memory.loss, memory.hits, memory.out, memory.a, memory.tokens, 280, 133, 0.01);
	for (int i = 0; i < 280; i++)
		memory.out2[i] = (real)memory.loss[i] + (real)memory.hits[i];
}
static void sum_squares(const struct exec *exec)
{
	memory.out[0] = (real)backend_cpu.sum_squares(exec, memory.a, SIZE);
}
static void adam(const struct exec *exec)
{
	const struct adam a = {.lr = 0.01, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .step = 3, .grad_scale = 1};
	const size_t bytes = SIZE * sizeof(real);
	memcpy(memory.out, memory.a, bytes);
	memcpy(memory.out2, memory.b, bytes);
	for (int i = 0; i < SIZE; i++)
		memory.out3[i] = memory.c[i] * memory.c[i];
	backend_cpu.adam(exec, memory.out, memory.out2, memory.out3, memory.d, SIZE, &a);
}

static const struct {
	const char *name;
	void (*run)(const struct exec *);
} slots[] = {
        {"gemm NN", gemm_nn},
        {"gemm NT", gemm_nt},
        {"gemm TN", gemm_tn},
        {"gemm TN, few rows", gemm_tn_wide},
        {"gemm TN, few columns", gemm_tn_narrow},
        {"column_sum", column_sum},
        {"embed", embed},
        {"embed_backward", embed_backward},
        {"norm", norm},
        {"norm_backward", norm_backward},
        {"gelu", gelu},
        {"gelu backward", gelu_backward},
        {"relu", relu},
        {"swiglu", swiglu},
        {"add and copy", add_and_copy},
        {"dropout", dropout},
        {"rope", rope},
        {"copy_columns", columns},
        {"scale_heads", scale_heads},
        {"dot_heads", dot_heads},
        {"attention", attention},
        {"attention with a bias", attention_bias_shared},
        {"attention with a bias per head", attention_bias_per_head},
        {"cross_entropy", cross_entropy},
        {"sum_squares", sum_squares},
        {"adam", adam},
};

static void hash_outputs(char hash[HASH_TEXT])
{
	hash_hex(hash, memory.out, 3 * SIZE * sizeof(real)); // out, out2 and out3 follow each other
}

static void test_slots(void **state UNUSED)
{
	struct rng rng = rig_rng(&rig);
	real **operand[] = {&memory.a, &memory.b, &memory.c, &memory.d};
	for (int i = 0; i < 4; i++) {
		*operand[i] = arena_alloc(&rig.memory, SIZE * sizeof(real));
		for (int j = 0; j < SIZE; j++)
			(*operand[i])[j] = (real)rng_normal(&rng);
	}
	memory.out = arena_alloc(&rig.memory, 3 * SIZE * sizeof(real));
	memory.out2 = memory.out + SIZE, memory.out3 = memory.out2 + SIZE;
	memory.tokens = rig_tokens(&rig, 4 * T, VOCAB);
	memory.hits = arena_zalloc(&rig.memory, 4 * T * sizeof(int));
	memory.loss = arena_zalloc(&rig.memory, 4 * T * sizeof(double));
	for (size_t i = 0; i < sizeof(slots) / sizeof(*slots); i++) {
		char one[HASH_TEXT], more[HASH_TEXT], nothing[HASH_TEXT];
		for (int n_thread = 1; n_thread <= 3; n_thread++) {
			memset(memory.out, 0, 3 * SIZE * sizeof(real));
			hash_outputs(nothing);
			rig.tape.n_thread = n_thread;
			slots[i].run(rig_exec(&rig));
			hash_outputs(n_thread == 1 ? one : more);
			assert_string_not_equal(n_thread == 1 ? one : more, nothing);
			if (n_thread > 1 && strcmp(one, more))
				fail_msg("%s: other bits at %d threads than at one", slots[i].name, n_thread);
		}
	}
}

// Products large enough for the library, and those that are packed in blocks: by columns, and by rows where there are
// many.
static void test_large_products(void **state UNUSED)
{
	static const struct gemm shape[] = {{.form = GEMM_NT, .m = 1024, .n = 1024, .k = 1024},
	        {.form = GEMM_NT, .m = 300, .n = 1100, .k = 530}, {.form = GEMM_NN, .m = 65, .n = 100, .k = 6000},
	        {.form = GEMM_TN, .m = 2200, .n = 300, .k = 100}};
	enum { NUMBERS = 1 << 20 };
	struct rng rng = rig_rng(&rig);
	real *x = arena_alloc(&rig.memory, NUMBERS * sizeof(real)), *c[4];
	for (int i = 0; i < NUMBERS; i++)
		x[i] = (real)rng_uniform(&rng);
	for (size_t i = 0; i < sizeof(shape) / sizeof(*shape); i++)
		for (int n_thread = 1; n_thread <= 4; n_thread++) {
			struct gemm g = shape[i];
			const size_t bytes = (size_t)g.m * (size_t)g.n * sizeof(real);
			g.a = g.b = x;
			g.c = c[n_thread - 1] = arena_alloc(&rig.memory, bytes);
			g.lda = g.form == GEMM_TN ? g.m : g.k, g.ldb = g.form == GEMM_NT ? g.k : g.n, g.ldc = g.n;
			rig.tape.n_thread = n_thread;
			backend_cpu.gemm(rig_exec(&rig), &g);
			assert_memory_equal(g.c, c[0], bytes);
		}
	rig.tape.n_thread = 1;
}

// Hash of everything a training run of five steps leaves: weights, moments, losses, an evaluation.
static void train(char hash[HASH_TEXT], const struct setup *setup, int n_thread)
{
	const struct optimizer_config optimizer = {
	        .lr = 0.01, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .clip = 1, .weight_decay = 0.01};
	struct trainer t;
	double measured[12];
	int n = 0;
	trainer_init(&t, setup, &optimizer, 21, 7, n_thread);
	for (int step = 1; step <= 5; step++)
		measured[n++] = trainer_step(&t, step).mean;
	const struct loss loss = trainer_evaluate(&t, RNG_VALIDATION, 50, NULL).loss;
	measured[n++] = loss.mean, measured[n++] = (double)loss.hits;
	char part[4][HASH_TEXT];
	const size_t bytes = (size_t)t.model.n_padded * sizeof(real);
	hash_hex(part[0], t.model.x, bytes);
	hash_hex(part[1], t.optimizer.m, bytes);
	hash_hex(part[2], t.optimizer.v, bytes);
	hash_hex(part[3], measured, (size_t)n * sizeof(double));
	hash_hex(hash, part, sizeof(part));
	trainer_release(&t);
}

static void test_training(void **state UNUSED)
{
	static const char *const model[] = {
	        "decoder n_layer=2 d_model=48 n_head=4 d_ff=100 dropout=0.1",
	        "encoder n_layer=2 d_model=40 n_head=2 d_ff=64",
	        "decoder n_layer=1 d_model=36 n_head=3 d_ff=50 norm=rms activation=swiglu tied_head=true",
	};
	static const char *const task[] = {"retrieval n_key=16", "copy_back length=40"};
	for (int i = 0; i < 3; i++)
		for (int j = 0; j < 2; j++) {
			const char *variant = (i + j) % 2 ? "thin_keys d_select_per_head=3" : "mha";
			const struct setup *setup = build_setup(model[i], variant, task[j], "", &rig.memory);
			char one[HASH_TEXT], again[HASH_TEXT];
			train(one, setup, 1);
			for (int n_thread = 1; n_thread <= 3; n_thread++) {
				train(again, setup, n_thread);
				assert_string_equal(one, again);
			}
		}
}

// What only some variants run: a map's gain and bias, a matrix per head, joined columns, rotary positions.
static void test_training_of_variants(void **state UNUSED)
{
	static const char *const variant[] = {"shared_qk plus=true map_per_head=true",
	        "shared_kv plus=true rope=turned_back", "keyless m1=2 m2=2 routing=per_head relu=both",
	        "mla d_latent=20 d_rope=4", "key_channels d_keep=6"};
	for (int i = 0; i < 5; i++) {
		const char *model = "decoder n_layer=2 d_model=48 n_head=4 d_ff=60 position=rope";
		const struct setup *setup = build_setup(model, variant[i], "copy_back length=40", "", &rig.memory);
		char one[HASH_TEXT], more[HASH_TEXT];
		train(one, setup, 1);
		for (int n_thread = 2; n_thread <= 3; n_thread++) {
			train(more, setup, n_thread);
			assert_string_equal(one, more);
		}
	}
}

// v lies in the columns of k, whose heads cut the row elsewhere: tasks that are not kept apart write to the same
// gradients. One query on many positions: writing them is most of the work, long against waking a thread, so a race is
// met.
static void test_values_inside_keys(void **state UNUSED)
{
	enum { POSITIONS = 20000, TWO = 2, D_QK = 24, D_V = 8, WIDE = TWO * D_QK, TRIES = 40 };
	struct rng rng = rig_rng(&rig);
	real *number = arena_alloc(&rig.memory, (POSITIONS * WIDE + WIDE + 2 * TWO * D_V) * sizeof(real));
	real *k = number, *q = k + POSITIONS * WIDE, *out = q + WIDE, *dout = out + TWO * D_V;
	for (real *x = number; x < dout + TWO * D_V; x++)
		*x = (real)rng_uniform(&rng);
	real *first = arena_alloc(&rig.memory, POSITIONS * WIDE * sizeof(real)), lse[TWO];
	real *dk = arena_alloc(&rig.memory, POSITIONS * WIDE * sizeof(real));
	const struct attention_shape shape = {.B = 1,
	        .T = 1,
	        .S = POSITIONS,
	        .n_head = TWO,
	        .n_k_head = TWO,
	        .n_v_head = TWO,
	        .d_qk = D_QK,
	        .d_v = D_V,
	        .scale = 0.2};
	const struct strided q_in = {q, WIDE, WIDE}, k_in = {k, POSITIONS * WIDE, WIDE},
	                     d_in = {dout, TWO * D_V, TWO * D_V};
	const struct strided o_in = {out, TWO * D_V, TWO * D_V};
	const struct strided_out o_out = {out, TWO * D_V, TWO * D_V, 0}, no_dq = {NULL, 0, 0, 0};
	rig.tape.n_thread = 1;
	backend_cpu.attention(rig_exec(&rig), o_out, lse, q_in, k_in, k_in, &shape);
	for (int i = 0; i < TRIES; i++) {
		real *to = i ? dk : first;
		const struct strided_out d_out = {to, POSITIONS * WIDE, WIDE, 1};
		memset(to, 0, POSITIONS * WIDE * sizeof(real));
		rig.tape.n_thread = i ? 2 : 1;
		backend_cpu.attention_backward(
		        rig_exec(&rig), no_dq, d_out, d_out, d_in, o_in, lse, q_in, k_in, k_in, &shape);
		assert_memory_equal(to, first, POSITIONS * WIDE * sizeof(real));
	}
	rig.tape.n_thread = 1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_slots),
	        cmocka_unit_test(test_large_products),
	        cmocka_unit_test(test_training),
	        cmocka_unit_test(test_training_of_variants),
	        cmocka_unit_test(test_values_inside_keys),
	};
	return cmocka_run_group_tests_name("threads", tests, setup, teardown);
}
