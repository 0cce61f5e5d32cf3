// SPDX-License-Identifier: MIT
// What every unit test includes: cmocka and the headers that it asks for first.
#ifndef KVLAB_TESTS_TEST_H
#define KVLAB_TESTS_TEST_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

// A parameter that cmocka's signature asks for and the test has no use of.
#define UNUSED __attribute__((unused))

// cmocka's fixtures `setup` and `teardown` of a test program that holds its memory in one arena.
#define ARENA_FIXTURE(name, chunk)                                                                                     \
	static struct arena name;                                                                                      \
	static int setup(void **state UNUSED)                                                                          \
	{                                                                                                              \
		arena_init(&(name), chunk);                                                                            \
		return 0;                                                                                              \
	}                                                                                                              \
	static int teardown(void **state UNUSED)                                                                       \
	{                                                                                                              \
		arena_release(&(name));                                                                                \
		return 0;                                                                                              \
	}                                                                                                              \
	struct arena

#endif
