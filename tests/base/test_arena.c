// SPDX-License-Identifier: MIT
#include "harness/base/arena.h"

#include <string.h>

#include "tests/test.h"

static void memory_is_aligned_and_disjoint(void **state UNUSED)
{
	struct arena arena;
	arena_init(&arena, 4096);
	unsigned char *block[200];
	for (int i = 0; i < 200; i++) {
		block[i] = arena_alloc(&arena, (size_t)i * 7);
		assert_int_equal((uintptr_t)block[i] % 64, 0);
		memset(block[i], i, (size_t)i * 7);
	}
	for (int i = 0; i < 200; i++)
		for (int j = 0; j < i * 7; j++)
			assert_int_equal(block[i][j], i);
	arena_release(&arena);
}

static void a_block_larger_than_a_chunk_fits(void **state UNUSED)
{
	struct arena arena;
	arena_init(&arena, 4096);
	size_t bytes = (3 << 20) + 5;
	unsigned char *block = arena_zalloc(&arena, bytes);
	for (size_t i = 0; i < bytes; i += 4095)
		assert_int_equal(block[i], 0);
	block[bytes - 1] = 1;
	assert_true(arena.allocated_bytes >= bytes);
	arena_release(&arena);
	assert_int_equal(arena.allocated_bytes, 0);
}

static void zalloc_clears_what_was_used_before(void **state UNUSED)
{
	struct arena arena;
	arena_init(&arena, 4096);
	memset(arena_alloc(&arena, 1000), 0xff, 1000);
	arena_reset(&arena);
	unsigned char *block = arena_zalloc(&arena, 1000);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(block[i], 0);
	arena_release(&arena);
}

// The promise that a training step relies on: the second round of the same allocations asks the system for nothing.
static void the_second_round_never_grows(void **state UNUSED)
{
	struct arena arena;
	arena_init(&arena, 4096);
	unsigned long grown = 0;
	void *first = NULL;
	for (int round = 0; round < 5; round++) {
		void *start = arena_alloc(&arena, 100);
		for (int i = 0; i < 100; i++)
			arena_alloc(&arena, (size_t)(i * 97 % 9000));
		if (round == 0) {
			grown = arena.n_grow;
			first = start;
		}
		assert_int_equal(arena.n_grow, grown);
		assert_ptr_equal(start, first);
		arena_reset(&arena);
		assert_int_equal(arena.used_bytes, 0);
	}
	assert_true(arena.peak_bytes > 0);
	arena_release(&arena);
}

static void rewind_gives_back_what_came_after_the_mark(void **state UNUSED)
{
	struct arena arena;
	arena_init(&arena, 4096);
	struct arena_mark empty = arena_mark(&arena);
	char *kept = arena_strdup(&arena, "kept");
	struct arena_mark mark = arena_mark(&arena);
	size_t used = arena.used_bytes;
	void *next = arena_alloc(&arena, 64);
	arena_alloc(&arena, 100000);
	arena_rewind(&arena, mark);
	assert_int_equal(arena.used_bytes, used);
	assert_ptr_equal(arena_alloc(&arena, 64), next);
	assert_string_equal(kept, "kept");
	arena_rewind(&arena, empty);
	assert_int_equal(arena.used_bytes, 0);
	assert_ptr_equal(arena_alloc(&arena, 1), kept);
	arena_release(&arena);
}

static void printf_writes_all_of_a_long_text(void **state UNUSED)
{
	struct arena arena;
	arena_init(&arena, 64);
	char *text = arena_printf(&arena, "%s:%06d:%5000d", "x", 42, 7);
	assert_int_equal(strlen(text), 9 + 5000);
	assert_memory_equal(text, "x:000042:", 9);
	assert_int_equal(text[9 + 4999], '7');
	arena_release(&arena);
}

static char apart[3 * 4096] __attribute__((aligned(256)));
static int n_taken, n_given;

static void *take(size_t bytes)
{
	assert_true(bytes <= sizeof(apart) && !n_taken++);
	return apart;
}

static void give(void *at, size_t bytes)
{
	assert_true(at == apart && bytes <= sizeof(apart));
	n_given++;
}

// Memory of a source is handed out from its first byte on, and nobody writes a header there.
static void a_source_is_asked_and_its_memory_left_alone(void **state UNUSED)
{
	const struct memory_source source = {take, give, NULL};
	struct arena arena;
	memset(apart, 7, sizeof(apart));
	arena_init_from(&arena, sizeof(apart), &source);
	assert_ptr_equal(arena_alloc(&arena, 100), apart);
	const struct arena_mark mark = arena_mark(&arena);
	char *second = arena_alloc(&arena, 8000);
	assert_ptr_equal(second, apart + 128);
	arena_rewind(&arena, mark);
	assert_ptr_equal(arena_alloc(&arena, 64), second);
	arena_reset(&arena);
	assert_ptr_equal(arena_alloc(&arena, sizeof(apart) - 4096), apart);
	assert_int_equal(arena.n_grow, 1);
	arena_release(&arena);
	assert_int_equal(n_given, 1);
	assert_ptr_equal(arena.source, &source);
	for (size_t i = 0; i < sizeof(apart); i++)
		assert_int_equal(apart[i], 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(memory_is_aligned_and_disjoint),
	        cmocka_unit_test(a_block_larger_than_a_chunk_fits),
	        cmocka_unit_test(zalloc_clears_what_was_used_before),
	        cmocka_unit_test(the_second_round_never_grows),
	        cmocka_unit_test(rewind_gives_back_what_came_after_the_mark),
	        cmocka_unit_test(printf_writes_all_of_a_long_text),
	        cmocka_unit_test(a_source_is_asked_and_its_memory_left_alone),
	};
	return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
