// SPDX-License-Identifier: MIT
// GGUF files that are wrong in one way each, and the one sentence that each is refused with.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/test.h"
#include "tests/weights/files.h"

static char *folder, path[400];

static int setup(UNUSED void **state)
{
	folder = folder_make();
	snprintf(path, sizeof(path), "%s/a.gguf", folder);
	return 0;
}

static int teardown(UNUSED void **state)
{
	folder_remove(folder);
	return 0;
}

static struct bytes file_of(const char *format, va_list args)
{
	struct bytes b = {0};
	bytes_pack(&b, format, args);
	file_write(path, &b);
	return b;
}

static void refuse(const char *message, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	free(file_of(format, args).data);
	va_end(args);
	expect_refused(path, message);
}

static void accept(const char *format, ...)
{
	struct weights *weights;
	struct err err = {0};
	va_list args;
	va_start(args, format);
	free(file_of(format, args).data);
	va_end(args);
	if (weights_open(&weights, path, &err))
		fail_msg("%s", err.message);
	weights_close(weights);
}

enum { U8, I8, U16, I16, U32, I32, F32, BOOL, TEXT, ARRAY, U64, I64, F64 };

static void beginnings(UNUSED void **state)
{
	refuse("is neither a safetensors nor a GGUF nor a llama2.c file", "T", "GGU");
	refuse("ends within its first numbers (truncated?)", "G");
	refuse("ends within its first numbers (truncated?)", "GIQI", 3, 0LL, 0);
	refuse("is of GGUF version 1 (2 and 3 are read)", "GIQQ", 1, 0LL, 0LL);
	refuse("is of GGUF version 4 (2 and 3 are read)", "GIQQ", 4, 0LL, 0LL);
	refuse("is a big-endian GGUF file, which is not read", "GIQQ", 3 << 24, 0LL, 0LL);
	accept("GIQQ", 2, 0LL, 0LL);
	accept("GIQQ", 3, 0LL, 0LL);
}

static void key_values(UNUSED void **state)
{
	refuse("says it has 1 key/values, which 0 bytes cannot hold (truncated?)", "GIQQ", 3, 0LL, 1LL);
	refuse("says it has 18446744073709551615 key/values, which 20 bytes cannot hold (truncated?)", "GIQQZ", 3, 0LL,
	        -1LL, 20);
	refuse("ends within key 0 (truncated?)", "GIQQ QZ", 3, 0LL, 1LL, 100LL, 20);
	refuse("ends within key 0 (truncated?)", "GIQQ QZ", 3, 0LL, 1LL, -1LL, 20);
	refuse("key 0 is not plain text of 1 to 255 bytes", "GIQQ SIIZ", 3, 0LL, 1LL, "", U32, 1, 20);
	refuse("key 0 is not plain text of 1 to 255 bytes", "GIQQ SIIZ", 3, 0LL, 1LL, "a\xff", U32, 1, 20);
	refuse("key 0 is not plain text of 1 to 255 bytes", "GIQQ SIIZ", 3, 0LL, 1LL, "a\x1b[2J", U32, 1, 20);
	refuse("the value of key 'k' is of unknown kind 13", "GIQQ SIIZ", 3, 0LL, 1LL, "k", 13, 1, 20);
	refuse("the value of key 'k' is of unknown kind 4294967295", "GIQQ SIIZ", 3, 0LL, 1LL, "k", -1, 1, 20);
	refuse("ends within the value of key 'k' (truncated?)", "GIQQ SI", 3, 0LL, 1LL, "k", U64);
	refuse("ends within the value of key 'k' (truncated?)", "GIQQ SIQZ", 3, 0LL, 1LL, "k", TEXT, 21LL, 20);
	refuse("ends within the value of key 'k' (truncated?)", "GIQQ SIQZ", 3, 0LL, 1LL, "k", TEXT, -8LL, 20);
	refuse("the value of key 'k' is neither true nor false", "GIQQ SIB", 3, 0LL, 1LL, "k", BOOL, 2);
	refuse("key 'k' is there twice", "GIQQ SIB SIB SIB", 3, 0LL, 3LL, "k", BOOL, 1, "a", BOOL, 1, "k", BOOL, 1);
}

static void a_long_text(UNUSED void **state)
{
	struct weights *weights;
	struct err err = {0};
	char text[10001];
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	struct bytes b = pack("GIQQ SIS SIS", 3, 0LL, 2LL, "long", TEXT, text, "short", TEXT, "y");
	file_write(path, &b);
	free(b.data);
	assert_int_equal(weights_open(&weights, path, &err), 0);
	assert_string_equal(value_find(weights->metadata, "long")->text, text);
	assert_string_equal(value_find(weights->metadata, "short")->text, "y");
	weights_close(weights);
}

static void arrays(UNUSED void **state)
{
	refuse("the value of key 'k' has items of unknown kind 13", "GIQQ SIIQZ", 3, 0LL, 1LL, "k", ARRAY, 13, 1LL, 20);
	refuse("the value of key 'k' says it has 21 items, which 20 bytes cannot hold (truncated?)", "GIQQ SIIQZ", 3,
	        0LL, 1LL, "k", ARRAY, U8, 21LL, 20);
	refuse("the value of key 'k' says it has 2305843009213693952 items, which 20 bytes cannot hold (truncated?)",
	        "GIQQ SIIQZ", 3, 0LL, 1LL, "k", ARRAY, U64, 1LL << 61, 20);
	refuse("the value of key 'k' says it has 18446744073709551615 items, which 20 bytes cannot hold (truncated?)",
	        "GIQQ SIIQZ", 3, 0LL, 1LL, "k", ARRAY, TEXT, -1LL, 20);
	refuse("the value of key 'k' says it has 2 items, which 23 bytes cannot hold (truncated?)", "GIQQ SIIQZ", 3,
	        0LL, 1LL, "k", ARRAY, ARRAY, 2LL, 23);
	refuse("ends within the value of key 'k' (truncated?)", "GIQQ SIIQ SQ", 3, 0LL, 1LL, "k", ARRAY, TEXT, 2LL,
	        "abc", 1LL);
	refuse("more than 4194304 values", "GIQQ SIIQZ", 3, 0LL, 1LL, "k", ARRAY, U8, (long long)VALUES_MOST,
	        VALUES_MOST);
	refuse("the value of key 'k' is nested too deep (most: 4)", "GIQQ SI IQ IQ IQ IQ IQ", 3, 0LL, 1LL, "k", ARRAY,
	        ARRAY, 1LL, ARRAY, 1LL, ARRAY, 1LL, ARRAY, 1LL, U8, 0LL);
	accept("GIQQ SI IQ IQ IQ IQB", 3, 0LL, 1LL, "k", ARRAY, ARRAY, 1LL, ARRAY, 1LL, ARRAY, 1LL, U8, 1LL, 7);
	accept("GIQQ SIIQ SIIQ", 3, 0LL, 2LL, "k", ARRAY, TEXT, 0LL, "l", ARRAY, U64, 0LL);
}

static void alignments(UNUSED void **state)
{
	const char *key = "general.alignment";
	refuse("'general.alignment' is 0, should be 1 to 16777216", "GIQQ SII", 3, 0LL, 1LL, key, U32, 0);
	refuse("'general.alignment' is 24, should be a power of two", "GIQQ SII", 3, 0LL, 1LL, key, U32, 24);
	refuse("'general.alignment' is 4294967295, should be 1 to 16777216", "GIQQ SII", 3, 0LL, 1LL, key, U32, -1);
	refuse("'general.alignment' is -32, should be 1 to 16777216", "GIQQ SII", 3, 0LL, 1LL, key, I32, -32);
	refuse("'general.alignment' is a text, should be a whole number", "GIQQ SIS", 3, 0LL, 1LL, key, TEXT, "32");
	refuse("ends before its data begins (truncated?)", "GIQQ SII SIQIQ", 3, 1LL, 1LL, key, U32, 4096, "t", 1, 1LL,
	        0, 0LL);
	accept("GIQQ SII SIQIQ AF", 3, 1LL, 1LL, key, U32, 8, "t", 1, 1LL, 0, 0LL, 8, 1.0);
	refuse("3992 bytes after the last tensor belong to none", "GIQQ SII SIQIQ AFA", 3, 1LL, 1LL, key, U32, 8, "t",
	        1, 2LL, 0, 0LL, 8, 1.0, 4096);
}

static void descriptions(UNUSED void **state)
{
	refuse("says it has 1 tensors, which 31 bytes cannot hold (truncated?)", "GIQQZ", 3, 1LL, 0LL, 31);
	refuse("says it has 18446744073709551615 tensors, which 64 bytes cannot hold (truncated?)", "GIQQZ", 3, -1LL,
	        0LL, 64);
	refuse("ends within the description of tensor 0 (truncated?)", "GIQQ QZ", 3, 1LL, 0LL, 1000LL, 64);
	refuse("tensor 0 has 0 dimensions (1 to 4)", "GIQQ SIZ", 3, 1LL, 0LL, "t", 0, 64);
	refuse("tensor 0 has 5 dimensions (1 to 4)", "GIQQ SIZ", 3, 1LL, 0LL, "t", 5, 64);
	refuse("tensor 0 has 4294967295 dimensions (1 to 4)", "GIQQ SIZ", 3, 1LL, 0LL, "t", -1, 64);
	refuse("tensor 0 is of unknown type 4", "GIQQ SIQIQ AZ", 3, 1LL, 0LL, "t", 1, 8LL, 4, 0LL, 32, 32);
	refuse("tensor 0 is of unknown type 4294967295", "GIQQ SIQIQ AZ", 3, 1LL, 0LL, "t", 1, 8LL, -1, 0LL, 32, 32);
	refuse("tensor 0 has no name", "GIQQ SIQIQ AZ", 3, 1LL, 0LL, "", 1, 8LL, 0, 0LL, 32, 32);
	refuse("the name of tensor 0 is not UTF-8 text without control characters", "GIQQ SIQIQ AZ", 3, 1LL, 0LL,
	        "\xed\xa0\x80", 1, 8LL, 0, 0LL, 32, 32);
	refuse("tensor 't' is there twice", "GIQQ SIQIQ SIQIQ AZ", 3, 2LL, 0LL, "t", 1, 8LL, 0, 0LL, "t", 1, 8LL, 0,
	        32LL, 32, 64);
}

static void shapes(UNUSED void **state)
{
	refuse("tensor 't' has more numbers than memory can have", "GIQQ SIQQIQ AZ", 3, 1LL, 0LL, "t", 2, 1LL << 32,
	        1LL << 32, 0, 0LL, 32, 32);
	refuse("tensor 't' has more numbers than memory can have", "GIQQ SIQIQ AZ", 3, 1LL, 0LL, "t", 1, -1LL, 0, 0LL,
	        32, 32);
	refuse("tensor 't' has rows of 33 numbers, which Q8_0 blocks of 32 do not divide", "GIQQ SIQQIQ AZ", 3, 1LL,
	        0LL, "t", 2, 33LL, 32LL, 8, 0LL, 32, 4000);
	refuse("tensor 't' needs 36 bytes from byte 0 of the data on, which has 32 (truncated?)", "GIQQ SIQIQ AZ", 3,
	        1LL, 0LL, "t", 1, 9LL, 0, 0LL, 32, 32);
	refuse("tensor 't' needs 34 bytes from byte 0 of the data on, which has 32 (truncated?)", "GIQQ SIQIQ AZ", 3,
	        1LL, 0LL, "t", 1, 32LL, 8, 0LL, 32, 32);
	refuse("tensor 't' needs 32 bytes from byte 32 of the data on, which has 32 (truncated?)", "GIQQ SIQIQ AZ", 3,
	        1LL, 0LL, "t", 1, 8LL, 0, 32LL, 32, 32);
	refuse("tensor 't' needs 32 bytes from byte 18446744073709551584 of the data on, which has 32 (truncated?)",
	        "GIQQ SIQIQ AZ", 3, 1LL, 0LL, "t", 1, 8LL, 0, -32LL, 32, 32);
}

static void layout(UNUSED void **state)
{
	refuse("tensor 't' begins at byte 4 of the data, no multiple of 32", "GIQQ SIQIQ AZ", 3, 1LL, 0LL, "t", 1, 8LL,
	        0, 4LL, 32, 64);
	refuse("tensors 't' and 'u' overlap", "GIQQ SIQIQ SIQIQ AZ", 3, 2LL, 0LL, "t", 1, 9LL, 0, 0LL, "u", 1, 8LL, 0,
	        32LL, 32, 64);
	refuse("tensors 't' and 'u' overlap", "GIQQ SIQIQ SIQIQ AZ", 3, 2LL, 0LL, "t", 1, 8LL, 0, 0LL, "u", 1, 8LL, 0,
	        0LL, 32, 32);
	refuse("32 bytes before tensor 'u' belong to none", "GIQQ SIQIQ SIQIQ AZ", 3, 2LL, 0LL, "t", 1, 8LL, 0, 0LL,
	        "u", 1, 8LL, 0, 64LL, 32, 96);
	refuse("32 bytes after the last tensor belong to none", "GIQQ SIQIQ AZ", 3, 1LL, 0LL, "t", 1, 8LL, 0, 0LL, 32,
	        64);
	// Zeros up to the next multiple are no hole, and tensors may be described in any order.
	accept("GIQQ SIQIQ SIQIQ AZ", 3, 2LL, 0LL, "u", 1, 8LL, 0, 32LL, "t", 1, 5LL, 0, 0LL, 32, 64);
}

static void cut_anywhere(UNUSED void **state)
{
	struct bytes b = pack("GIQQ SII SIIQSS SIF SIQQIQ SIQIQ AZ", 3, 2LL, 3LL, "general.alignment", U32, 16, "words",
	        ARRAY, TEXT, 2LL, "one", "two", "x", F32, 0.5, "t", 2, 32LL, 2LL, 2, 0LL, "u", 1, 3LL, 0, 48LL, 16, 60);
	expect_whole_only(path, &b);
	free(b.data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(beginnings),
	        cmocka_unit_test(key_values),
	        cmocka_unit_test(a_long_text),
	        cmocka_unit_test(arrays),
	        cmocka_unit_test(alignments),
	        cmocka_unit_test(descriptions),
	        cmocka_unit_test(shapes),
	        cmocka_unit_test(layout),
	        cmocka_unit_test(cut_anywhere),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
