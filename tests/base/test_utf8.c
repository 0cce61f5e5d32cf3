// SPDX-License-Identifier: MIT
#include "harness/base/utf8.h"

#include <string.h>

#include "harness/base/rng.h"
#include "tests/num/rig.h"
#include "tests/test.h"

// The definition, without a table: decode, and ask whether this is the way to write that code point.
static int is_character(const unsigned char *b, int n)
{
	if (n == 1)
		return b[0] < 0x80;
	uint32_t c = b[0] & (0x7fu >> n);
	if ((unsigned char)(b[0] | (0x7f >> n)) != (unsigned char)(0xff00u >> n | (0x7f >> n)))
		return 0;
	for (int i = 1; i < n; i++) {
		if ((b[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (b[i] & 0x3f);
	}
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	return c >= least[n] && c < 0x110000 && (c < 0xd800 || c > 0xdfff);
}

static int naive_length(const char *text, size_t n)
{
	for (int length = 1; length <= 4 && (size_t)length <= n; length++)
		if (is_character((const unsigned char *)text, length))
			return length;
	return 0;
}

static void every_character_comes_back(void **state UNUSED)
{
	for (uint32_t c = 0; c < 0x110000; c++) {
		char text[4];
		int length;
		const int n = utf8_encode(text, c), is_surrogate = c >= 0xd800 && c <= 0xdfff;
		assert_int_equal(utf8_length(text, (size_t)n), is_surrogate ? 0 : n);
		assert_int_equal(naive_length(text, (size_t)n), is_surrogate ? 0 : n);
		if (is_surrogate)
			continue;
		assert_int_equal(utf8_decode(text, &length), c);
		assert_int_equal(length, n);
		for (int part = 1; part < n; part++) {
			assert_int_equal(utf8_length(text, (size_t)part), 0);
			assert_int_equal(utf8_unfinished(text, (size_t)part), part);
		}
		assert_int_equal(utf8_unfinished(text, (size_t)n), 0);
	}
}

static void every_two_bytes_and_the_edges_of_four(void **state UNUSED)
{
	static const unsigned char edge[] = {0x00, 0x7f, 0x80, 0xbf, 0xc0, 0xff};
	enum { EDGES = sizeof(edge) };
	for (uint32_t i = 0; i < 65536 * EDGES * EDGES; i++) {
		const unsigned char b[4] = {
		        (unsigned char)(i >> 8), (unsigned char)i, edge[(i >> 16) % EDGES], edge[(i >> 16) / EDGES]};
		if (utf8_length((const char *)b, 4) != naive_length((const char *)b, 4))
			fail_msg("%02x %02x %02x %02x", b[0], b[1], b[2], b[3]);
	}
}

static void valid_ends_where_the_first_bad_byte_is(void **state UNUSED)
{
	struct rng rng = rng_make(test_seed(), RNG_CHECK, 0);
	for (int round = 0; round < 100000; round++) {
		char text[40];
		size_t n = rng_below(&rng, 30), at = 0;
		for (size_t i = 0; i < n;)
			i += (size_t)utf8_encode(text + i, rng_below(&rng, rng_below(&rng, 2) ? 128 : 0x900));
		if (n && rng_below(&rng, 2))
			text[rng_below(&rng, (uint32_t)n)] = (char)rng_below(&rng, 256);
		for (int length; at < n && (length = naive_length(text + at, n - at)) > 0;)
			at += (size_t)length;
		assert_int_equal(utf8_valid(text, n), at);
	}
}

static void quotes_are_one_harmless_line(void **state UNUSED)
{
	char out[QUOTE_TEXT], text[200];
	assert_string_equal(text_quote(out, "a\nb\x1b\xff\xc2\x9b\xc3\xa9", 9), "a\\x0ab\\x1b\\xff\\xc2\\x9b\xc3\xa9");
	memset(text, 'x', sizeof(text));
	assert_string_equal(text_quote(out, text, 0), "");
	assert_true(strlen(text_quote(out, text, sizeof(text))) < QUOTE_TEXT);
	assert_non_null(strstr(out, "xxx..."));
	memset(text, '\xff', sizeof(text));
	assert_true(strlen(text_quote(out, text, sizeof(text))) < QUOTE_TEXT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(every_character_comes_back),
	        cmocka_unit_test(every_two_bytes_and_the_edges_of_four),
	        cmocka_unit_test(valid_ends_where_the_first_bad_byte_is),
	        cmocka_unit_test(quotes_are_one_harmless_line),
	};
	return cmocka_run_group_tests_name("utf8", tests, NULL, NULL);
}
