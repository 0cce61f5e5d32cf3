// SPDX-License-Identifier: MIT
#include "harness/base/hash.h"

#include <string.h>

#include "tests/test.h"

// XXH3's published 128-bit value of nothing: keys of points must not change with the library.
static void nothing_has_its_published_hash(void **state UNUSED)
{
	char text[HASH_TEXT];
	hash_hex(text, "", 0);
	assert_string_equal(text, "99aa06d3014798d86001c324468d497f");
}

static void the_text_is_32_lower_case_digits(void **state UNUSED)
{
	char text[HASH_TEXT];
	hash_hex(text, "kvlab", 5);
	assert_int_equal(strlen(text), 32);
	assert_int_equal(strspn(text, "0123456789abcdef"), 32);
}

// Short, middle and long inputs take different paths in XXH3: a flip of any one bit must show in each.
static void every_bit_counts(void **state UNUSED)
{
	static const size_t lengths[] = {1, 3, 8, 16, 17, 128, 129, 240, 241, 1024, 5000};
	unsigned char data[5000];
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (unsigned char)(i * 131);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		char before[HASH_TEXT], after[HASH_TEXT];
		hash_hex(before, data, lengths[i]);
		for (size_t bit = 0; bit < lengths[i] * 8; bit += 1 + lengths[i] / 20) {
			data[bit / 8] ^= (unsigned char)(1 << bit % 8);
			hash_hex(after, data, lengths[i]);
			assert_string_not_equal(after, before);
			data[bit / 8] ^= (unsigned char)(1 << bit % 8);
		}
		hash_hex(after, data, lengths[i]);
		assert_string_equal(after, before);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(nothing_has_its_published_hash),
	        cmocka_unit_test(the_text_is_32_lower_case_digits),
	        cmocka_unit_test(every_bit_counts),
	};
	return cmocka_run_group_tests_name("hash", tests, NULL, NULL);
}
