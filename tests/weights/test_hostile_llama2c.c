// SPDX-License-Identifier: MIT
// llama2.c files: what a right one has in it, in both layouts, and the one sentence that each wrong one is refused
// with.
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/test.h"
#include "tests/weights/files.h"

static char *folder, path[400];

static int setup(UNUSED void **state)
{
	folder = folder_make();
	snprintf(path, sizeof(path), "%s/a.bin", folder);
	return 0;
}

static int teardown(UNUSED void **state)
{
	folder_remove(folder);
	return 0;
}

static void refuse(const char *message, const char *format, ...)
{
	struct bytes b = {0};
	va_list args;
	va_start(args, format);
	bytes_pack(&b, format, args);
	va_end(args);
	file_write(path, &b);
	free(b.data);
	expect_refused(path, message);
}

// dim 4, hidden 3, 2 layers, 2 heads, 1 key/value head, 5 tokens, context 6.
enum { LAYER = 4 + 16 + 8 + 8 + 16 + 4 + 12 + 12 + 12, TABLES = 2 * 6 * 1, SHARED = 5 * 4 + 2 * LAYER + 4 };
#define HEADER(vocab) 4, 3, 2, 2, 1, vocab, 6

static void headers(UNUSED void **state)
{
	refuse("27 bytes are too few for a llama2.c header (truncated?)", "Z", 27);
	refuse("its header says dim 0, so it is no llama2.c file", "Z", 28);
	refuse("its header says n_layers -2, so it is no llama2.c file", "IIIIIII", 4, 3, -2, 2, 1, 5, 6);
	refuse("its header says vocab_size -2147483648, so it is no llama2.c file", "IIIIIII", 4, 3, 2, 2, 1, INT_MIN,
	        6);
	refuse("its header says 4097 layers (most: 4096)", "IIIIIII", 4, 3, 4097, 2, 1, 5, 6);
	refuse("its header says dim 5, 2 heads, 1 key/value heads, which do not divide", "IIIIIII", 5, 3, 2, 2, 1, 5,
	        6);
	refuse("its header says dim 6, 2 heads, 1 key/value heads, which do not divide", "IIIIIII", 6, 3, 2, 2, 1, 5,
	        6);
	refuse("its header says dim 4, 2 heads, 3 key/value heads, which do not divide", "IIIIIII", 4, 3, 2, 2, 3, 5,
	        6);
	refuse("is of llama2.c version 2 (0 and 1 are read)", "TIZ", "24ka", 2, 300);
	refuse("100 bytes are too few for a llama2.c header (truncated?)", "TIZ", "24ka", 1, 92);
	refuse("its header says 7 where 0 or 1 says whether the head is shared", "TI IIIIIII BZ", "24ka", 1, HEADER(5),
	        7, 300);
	refuse("its header says vocab_size -5, so it is no llama2.c file", "TI IIIIIII BZ", "24ka", 1, HEADER(-5), 0,
	        300);
}

static void sizes(UNUSED void **state)
{
	refuse("tensor 'tok_embeddings.weight' needs 80 bytes from byte 0 of the data on, which has 79 (truncated?)",
	        "IIIIIII Z", HEADER(5), 79);
	refuse("tensor 'freq_cis_imag' needs 24 bytes from byte 856 of the data on, which has 879 (truncated?)",
	        "IIIIIII Z", HEADER(5), 4 * (SHARED + TABLES) - 1);
	refuse("1 bytes after the last tensor belong to none", "IIIIIII Z", HEADER(5), 4 * (SHARED + TABLES) + 1);
	refuse("tensor 'output.weight' needs 80 bytes from byte 880 of the data on, which has 880 (truncated?)",
	        "IIIIIII Z", HEADER(-5), 4 * (SHARED + TABLES));
	// Shapes that overflow must not come out small.
	refuse("tensor 'tok_embeddings.weight' has more numbers than memory can have", "IIIIIII Z", INT_MAX - 1, 3, 2,
	        1, 1, INT_MAX, 6, 64);
}

static void cut_anywhere(UNUSED void **state)
{
	struct bytes old = pack("IIIIIII Z", HEADER(-5), 4 * (SHARED + TABLES + 20));
	struct bytes new = pack("TI IIIIIII BAZ", "24ka", 1, HEADER(5), 1, 256, 4 * SHARED);
	expect_whole_only(path, &old);
	expect_whole_only(path, &new);
	free(old.data);
	free(new.data);
}

static void expect_order(const char *const *names, int n)
{
	struct weights *weights;
	struct err err = {0};
	if (weights_open(&weights, path, &err))
		fail_msg("%s", err.message);
	assert_int_equal(weights->n_tensor, n);
	for (int i = 0; i < n; i++)
		assert_string_equal(weights->tensor[i].name, names[i]);
	// The floats count up from 0, so each tensor's first says where it was read.
	float at = 0;
	for (int i = 0; i < n; i++) {
		assert_true(weights_in_place(&weights->tensor[i])[0] == at);
		at += (float)(weights->tensor[i].rows * weights->tensor[i].columns);
	}
	weights_close(weights);
}

static void write_floats(struct bytes *b, int n)
{
	for (int i = 0; i < n; i++)
		bytes_add(b, &(float){(float)i}, sizeof(float));
	file_write(path, b);
	free(b->data);
}

#define LAYERS(name) "layers.0." name ".weight", "layers.1." name ".weight"

static void legacy(UNUSED void **state)
{
	const char *const names[] = {"tok_embeddings.weight", LAYERS("attention_norm"), LAYERS("attention.wq"),
	        LAYERS("attention.wk"), LAYERS("attention.wv"), LAYERS("attention.wo"), LAYERS("ffn_norm"),
	        LAYERS("feed_forward.w1"), LAYERS("feed_forward.w2"), LAYERS("feed_forward.w3"), "norm.weight",
	        "freq_cis_real", "freq_cis_imag", "output.weight"};
	struct bytes shared = pack("IIIIIII", HEADER(5)), own = pack("IIIIIII", HEADER(-5));
	write_floats(&shared, SHARED + TABLES);
	expect_order(names, 22);
	write_floats(&own, SHARED + TABLES + 20);
	expect_order(names, 23);
}

static void version_1(UNUSED void **state)
{
	const char *const names[] = {LAYERS("attention_norm"), LAYERS("ffn_norm"), "norm.weight",
	        "tok_embeddings.weight", LAYERS("attention.wq"), LAYERS("attention.wk"), LAYERS("attention.wv"),
	        LAYERS("attention.wo"), LAYERS("feed_forward.w1"), LAYERS("feed_forward.w2"), LAYERS("feed_forward.w3"),
	        "output.weight"};
	struct bytes shared = pack("TI IIIIIII BA", "24ka", 1, HEADER(5), 1, 256);
	struct bytes own = pack("TI IIIIIII BA", "24ka", 1, HEADER(5), 0, 256);
	write_floats(&shared, SHARED);
	expect_order(names, 20);
	write_floats(&own, SHARED + 20);
	expect_order(names, 21);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(headers),
	        cmocka_unit_test(sizes),
	        cmocka_unit_test(cut_anywhere),
	        cmocka_unit_test(legacy),
	        cmocka_unit_test(version_1),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
