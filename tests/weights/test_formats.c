// SPDX-License-Identifier: MIT
// Files written by others (tests/fixtures/weights/make.py), and what their numbers are by those others' account.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/test.h"
#include "tests/weights/files.h"

static struct weights *open_or_fail(const char *path)
{
	struct weights *weights;
	struct err err = {0};
	if (weights_open(&weights, path, &err))
		fail_msg("%s", err.message);
	return weights;
}

// Rounded to nearest by comparing the two neighbours in double: another way than the one under test.
static uint16_t nearest_bf16(float x)
{
	uint32_t bits;
	memcpy(&bits, &x, sizeof(bits));
	const uint32_t below = bits & 0xffff0000u, above = below + 0x10000u;
	float low, high;
	memcpy(&low, &below, sizeof(low));
	memcpy(&high, &above, sizeof(high));
	// Beyond the largest number the next one would be 2^128.
	const double far = isinf(high) ? copysign(ldexp(1, 128), x) : high;
	const double to_low = fabs((double)x - low), to_high = fabs(far - x);
	if (isinf(x) || to_low < to_high)
		return (uint16_t)(below >> 16);
	if (to_high < to_low)
		return (uint16_t)(above >> 16);
	return (uint16_t)((below >> 16 & 1 ? above : below) >> 16);
}

static void expect_same(
        const struct weights_tensor *t, const real *x, const float *wanted, const uint16_t *bf16, long n)
{
	for (long i = 0; i < n; i++) {
		if (isnan(wanted[i])) {
			assert_true(isnan(x[i]));
			assert_true((bf16[i] & 0x7f80) == 0x7f80 && (bf16[i] & 0x7f));
		} else if (memcmp(&(float){(float)x[i]}, &wanted[i], sizeof(float)) ||
		           bf16[i] != nearest_bf16(wanted[i])) {
			fail_msg("%s: tensor '%s', number %ld: %.9g and bf16 %04x, should be %.9g and %04x", t->path,
			        t->name, i, (double)x[i], bf16[i], (double)wanted[i], nearest_bf16(wanted[i]));
		}
	}
}

// Whole, and again row by row.
static void expect_numbers(const char *path, const char *numbers)
{
	struct weights *weights = open_or_fail(path);
	struct bytes meant = bytes_of_file(numbers);
	const float *wanted = (const float *)(void *)meant.data;
	long at = 0;
	for (long i = 0; i < weights->n_tensor; i++) {
		const struct weights_tensor *t = &weights->tensor[i];
		const long n = t->rows * t->columns;
		if (!t->type->read)
			continue;
		assert_true((size_t)(at + n) * sizeof(float) <= meant.n);
		real *x = malloc((size_t)n * sizeof(real) + 1);
		uint16_t *bf16 = malloc((size_t)n * sizeof(*bf16) + 1);
		weights_read(t, 0, t->rows, x);
		weights_read_bf16(t, 0, t->rows, bf16);
		expect_same(t, x, wanted + at, bf16, n);
		memset(x, 0x55, (size_t)n * sizeof(real));
		memset(bf16, 0x55, (size_t)n * sizeof(*bf16));
		for (long row = t->rows; row-- > 0;) {
			weights_read(t, row, 1, x + row * t->columns);
			weights_read_bf16(t, row, 1, bf16 + row * t->columns);
		}
		expect_same(t, x, wanted + at, bf16, n);
		free(x);
		free(bf16);
		at += n;
	}
	assert_int_equal((size_t)at * sizeof(float), meant.n);
	free(meant.data);
	weights_close(weights);
}

static void safetensors_numbers(UNUSED void **state)
{
	expect_numbers(FIXTURES "golden.safetensors", FIXTURES "golden.safetensors.f32");
	expect_numbers(FIXTURES "bf16.safetensors", FIXTURES "bf16.safetensors.f32");
}

static void sharded_numbers(UNUSED void **state)
{
	expect_numbers(FIXTURES "sharded", FIXTURES "sharded.f32");
	expect_numbers(FIXTURES "sharded/", FIXTURES "sharded.f32");
	expect_numbers(FIXTURES "sharded/model.safetensors.index.json", FIXTURES "sharded.f32");
}

static void gguf_numbers(UNUSED void **state)
{
	expect_numbers(FIXTURES "golden.gguf", FIXTURES "golden.gguf.f32");
}

static void every_f16(UNUSED void **state)
{
	uint16_t *all = malloc(65536 * sizeof(*all));
	float *x = malloc(65536 * sizeof(*x));
	for (int i = 0; i < 65536; i++)
		all[i] = (uint16_t)i;
	const struct weights_tensor t = weights_describe("all", weights_type("F16"), 2, (long[]){256, 256}, all);
	weights_read(&t, 0, 256, x);
	for (int i = 0; i < 65536; i++) {
		const int exponent = i >> 10 & 31, fraction = i & 1023;
		const double size = exponent == 31 ? INFINITY
		                    : exponent     ? ldexp(1024 + fraction, exponent - 25)
		                                   : ldexp(fraction, -24);
		if (exponent == 31 && fraction)
			assert_true(isnan(x[i]));
		else if ((double)x[i] != (i & 0x8000 ? -size : size) || !signbit(x[i]) != !(i & 0x8000))
			fail_msg("f16 %04x is read as %.9g", i, (double)x[i]);
	}
	free(all);
	free(x);
}

// Long enough for several pieces and a rest; from an odd address.
static void bf16_in_pieces(UNUSED void **state)
{
	enum { N = 2500 };
	char *memory = malloc(4 * N + 1);
	uint16_t bf16[N];
	for (int i = 0; i < N; i++)
		memcpy(memory + 1 + 4 * i, &(float){(float)i * 1.01f - 900}, 4);
	const struct weights_tensor t = weights_describe("x", weights_type("F32"), 1, (long[]){N}, memory + 1);
	assert_null(weights_in_place(&t));
	weights_read_bf16(&t, 0, 1, bf16);
	for (int i = 0; i < N; i++)
		assert_int_equal(bf16[i], nearest_bf16((float)i * 1.01f - 900));
	free(memory);
}

static void shapes_and_places(UNUSED void **state)
{
	struct weights *weights = open_or_fail(FIXTURES "golden.safetensors");
	const struct weights_tensor *four = weights_find(weights, "four"), *scalar = weights_find(weights, "scalar");
	assert_string_equal(weights->format, "safetensors");
	assert_null(weights->config);
	assert_int_equal(weights->n_tensor, 10);
	assert_int_equal(four->n_dim, 4);
	assert_int_equal(four->rows, 6);
	assert_int_equal(four->columns, 2);
	assert_int_equal(scalar->n_dim, 0);
	assert_int_equal(scalar->rows * scalar->columns, 1);
	assert_int_equal(weights_find(weights, "nothing")->bytes, 0);
	assert_ptr_equal(weights_in_place(four), four->data); // no copy
	assert_null(weights_in_place(weights_find(weights, "f16")));
	assert_null(weights_find(weights, "fou"));
	assert_non_null(weights_find(weights, "näme"));
	weights_close(weights);
	weights = open_or_fail(FIXTURES "golden.gguf");
	assert_int_equal(weights_find(weights, "t.Q6_K")->dim[0], 3);
	assert_int_equal(weights_find(weights, "t.Q6_K")->dim[1], 256);
	weights_close(weights);
	weights_close(NULL);
}

static void expect(struct weights *weights, const char *name, int n_dim, const long *dim, const char *message)
{
	struct err err = {0};
	const struct weights_tensor *t = weights_expect(weights, name, n_dim, dim, &err);
	assert_string_equal(err.message, message);
	assert_int_equal(t != NULL, !*message);
	assert_false(err.is_fault);
}

static void expectations(UNUSED void **state)
{
	struct weights *weights = open_or_fail(FIXTURES "sharded");
	const char *first = FIXTURES "sharded/model-00001-of-00002.safetensors: ";
	char message[300];
	expect(weights, "f32", 2, (long[]){3, 5}, "");
	expect(weights, "scalar", 0, NULL, "");
	snprintf(message, sizeof(message), "%stensor 'f32' is (3, 5), should be (5, 3)", first);
	expect(weights, "f32", 2, (long[]){5, 3}, message);
	snprintf(message, sizeof(message), "%stensor 'f32' is (3, 5), should be (15)", first);
	expect(weights, "f32", 1, (long[]){15}, message);
	snprintf(message, sizeof(message),
	        "%stensor 'mask' is in BOOL, which is not read (F32, F16, BF16, Q8_0, Q4_0 and Q4_1 "
	        "are)",
	        first);
	expect(weights, "mask", 1, (long[]){3}, message);
	expect(weights, "scaler", 0, NULL, FIXTURES "sharded: tensor 'scaler' is missing (did you mean 'scalar'?)");
	expect(weights, "something else", 0, NULL, FIXTURES "sharded: tensor 'something else' is missing");
	weights_close(weights);
}

// The same weights in two formats, one with queries and keys in other rows (../shared/data/README.md).
static void real_weights(UNUSED void **state)
{
	const char *data = getenv("DATA");
	char path[2][500];
	if (!data) {
		print_message("DATA= names no folder with stories260k\n");
		skip();
	}
	snprintf(path[0], sizeof(path[0]), "%s/stories260k/stories260K.bin", data);
	snprintf(path[1], sizeof(path[1]), "%s/stories260k/hf", data);
	struct weights *bin = open_or_fail(path[0]), *hf = open_or_fail(path[1]);
	static const struct {
		const char *bin, *hf;
		int n_head; // whose halves are taken apart
	} names[] = {{"attention_norm", "input_layernorm", 0}, {"ffn_norm", "post_attention_layernorm", 0},
	        {"attention.wq", "self_attn.q_proj", 8}, {"attention.wk", "self_attn.k_proj", 4},
	        {"attention.wv", "self_attn.v_proj", 0}, {"attention.wo", "self_attn.o_proj", 0},
	        {"feed_forward.w1", "mlp.gate_proj", 0}, {"feed_forward.w2", "mlp.down_proj", 0},
	        {"feed_forward.w3", "mlp.up_proj", 0}};
	for (int layer = 0; layer < 5; layer++)
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
			char name[2][100];
			snprintf(name[0], sizeof(name[0]), "layers.%d.%s.weight", layer, names[i].bin);
			snprintf(name[1], sizeof(name[1]), "model.layers.%d.%s.weight", layer, names[i].hf);
			const struct weights_tensor *a = weights_find(bin, name[0]), *b = weights_find(hf, name[1]);
			const long width = names[i].n_head ? b->rows / names[i].n_head : 1;
			assert_int_equal(a->bytes, b->bytes);
			for (long row = 0; row < a->rows; row++) {
				const long pair = row % width, from = row - pair + pair / 2 + pair % 2 * (width / 2);
				assert_memory_equal(weights_in_place(a) + row * a->columns,
				        weights_in_place(b) + from * a->columns, (size_t)a->columns * sizeof(float));
			}
		}
	weights_close(bin);
	weights_close(hf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(safetensors_numbers),
	        cmocka_unit_test(sharded_numbers),
	        cmocka_unit_test(gguf_numbers),
	        cmocka_unit_test(every_f16),
	        cmocka_unit_test(bf16_in_pieces),
	        cmocka_unit_test(shapes_and_places),
	        cmocka_unit_test(expectations),
	        cmocka_unit_test(real_weights),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
