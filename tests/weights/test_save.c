// SPDX-License-Identifier: MIT
// What weights_save() writes: the bytes that another program spelled out, the same for any order, and all or nothing.
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/test.h"
#include "tests/weights/files.h"

enum { N = 5 };
static char *folder, path[400];
static struct weights_tensor tensors[N];
static const struct weights_note notes[] = {{"é", "→"}, {"format", "pt"}, {"a", "q\"\\\x1f"}};

static int setup(UNUSED void **state)
{
	static const float wide[] = {0.5f, 1.5f, 2.5f, 3.5f, 4.5f, 5.5f}, nine = 9;
	static const uint16_t half[] = {0x3c00, 0x4000, 0x4200};
	static const unsigned char flags[] = {1, 0, 1};
	folder = folder_make();
	snprintf(path, sizeof(path), "%s/m.safetensors", folder);
	tensors[0] = weights_describe("none", weights_type("U8"), 2, (long[]){2, 0}, NULL);
	tensors[1] = weights_describe("flags", weights_type("U8"), 1, (long[]){3}, flags);
	tensors[2] = weights_describe("z.one", weights_type("F32"), 0, NULL, &nine);
	tensors[3] = weights_describe("half", weights_type("F16"), 1, (long[]){3}, half);
	tensors[4] = weights_describe("a.wide", weights_type("F32"), 2, (long[]){2, 3}, wide);
	return 0;
}

static int teardown(UNUSED void **state)
{
	folder_remove(folder);
	return 0;
}

static int count_files(void)
{
	int n = 0;
	DIR *dir = opendir(folder);
	for (struct dirent *entry; (entry = readdir(dir));)
		n += entry->d_name[0] != '.';
	closedir(dir);
	return n;
}

static void expect_saved_as(const char *golden)
{
	struct bytes wanted = bytes_of_file(golden), found = bytes_of_file(path);
	assert_int_equal(found.n, wanted.n);
	assert_memory_equal(found.data, wanted.data, wanted.n);
	assert_int_equal(count_files(), 1);
	free(wanted.data);
	free(found.data);
}

static void bytes_as_spelled_out(UNUSED void **state)
{
	struct err err = {0};
	assert_int_equal(weights_save(path, tensors, N, notes, 3, &err), 0);
	expect_saved_as(FIXTURES "saved.safetensors");
	// Another order, over the file that is there.
	struct weights_tensor turned[N];
	for (int i = 0; i < N; i++)
		turned[i] = tensors[N - 1 - i];
	const struct weights_note other[] = {notes[2], notes[0], notes[1]};
	assert_int_equal(weights_save(path, turned, N, other, 3, &err), 0);
	expect_saved_as(FIXTURES "saved.safetensors");
}

static void read_again_bit_for_bit(UNUSED void **state)
{
	struct weights *golden, *back;
	struct err err = {0};
	assert_int_equal(weights_open(&golden, FIXTURES "golden.safetensors", &err), 0);
	assert_int_equal(weights_save(path, golden->tensor, golden->n_tensor, NULL, 0, &err), 0);
	if (weights_open(&back, path, &err))
		fail_msg("%s", err.message);
	assert_int_equal(back->n_tensor, golden->n_tensor);
	assert_int_equal(back->metadata->n, 0);
	for (long i = 0; i < golden->n_tensor; i++) {
		const struct weights_tensor *t = &golden->tensor[i], *u = weights_find(back, t->name);
		assert_ptr_equal(u->type, t->type);
		assert_int_equal(u->n_dim, t->n_dim);
		assert_memory_equal(u->dim, t->dim, sizeof(t->dim));
		assert_memory_equal(u->data, t->data, t->bytes);
		assert_int_equal((uintptr_t)u->data % (uintptr_t)t->type->block_bytes, 0);
	}
	assert_int_equal((uintptr_t)back->tensor[0].data % 64, 0);
	weights_close(golden);
	weights_close(back);
}

static void nothing_at_all(UNUSED void **state)
{
	struct weights *back;
	struct err err = {0};
	assert_int_equal(weights_save(path, NULL, 0, NULL, 0, &err), 0);
	assert_int_equal(weights_open(&back, path, &err), 0);
	assert_int_equal(back->n_tensor, 0);
	assert_null(weights_find(back, "x"));
	weights_close(back);
}

static void expect_unsaved(
        const struct weights_tensor *list, long n, const struct weights_note *note, int n_note, const char *message)
{
	struct err err = {0};
	char wanted[600];
	snprintf(wanted, sizeof(wanted), "%s: %s", path, message);
	assert_int_equal(weights_save(path, list, n, note, n_note, &err), -1);
	assert_string_equal(err.message, wanted);
	assert_int_equal(count_files(), 0);
}

static void refusals(UNUSED void **state)
{
	struct weights_tensor list[2] = {tensors[1], tensors[1]};
	const struct weights_note twice[] = {notes[0], notes[1], notes[0]}, wrong[] = {{"a", "\xff"}};
	expect_unsaved(list, 2, NULL, 0, "tensor 'flags' is there twice");
	expect_unsaved(tensors, N, twice, 3, "note 'é' is there twice");
	expect_unsaved(tensors, N, wrong, 1, "a note is not UTF-8");
	list[0] = weights_describe("q", weights_type("Q4_0"), 1, (long[]){32}, path);
	expect_unsaved(list, 1, NULL, 0, "tensor 'q' is in Q4_0, which safetensors has not (read it into F32 first)");
	list[0].type = weights_type("F32");
	list[0].name = "__metadata__";
	expect_unsaved(
	        list, 1, NULL, 0, "a tensor's name should be plain text of 1 to 255 bytes other than __metadata__");
	list[0].name = "";
	expect_unsaved(
	        list, 1, NULL, 0, "a tensor's name should be plain text of 1 to 255 bytes other than __metadata__");
	list[0].name = "a\n";
	expect_unsaved(
	        list, 1, NULL, 0, "a tensor's name should be plain text of 1 to 255 bytes other than __metadata__");
}

// What was there stays, and no draft is left behind.
static void writing_that_fails(UNUSED void **state)
{
	struct err err = {0}, full = {0};
	char missing[500], inner[500];
	snprintf(missing, sizeof(missing), "%s/none/m.safetensors", folder);
	assert_int_equal(weights_save(missing, tensors, N, NULL, 0, &err), -1);
	assert_non_null(strstr(err.message, "/none/m.safetensors: cannot be written: No such file or directory"));
	assert_false(err.is_fault);
	// A folder of that name: only the rename fails.
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(inner, sizeof(inner), "%s/x", path);
	assert_int_equal(mkdir(inner, 0700), 0);
	assert_int_equal(weights_save(path, tensors, N, NULL, 0, &full), -1);
	assert_non_null(strstr(full.message, "cannot be written: Is a directory"));
	assert_int_equal(count_files(), 1);
	rmdir(inner);
	rmdir(path);
}

// The disk is full as far as this process can see: small files fail at the end, large ones before it.
static void no_room(UNUSED void **state)
{
	static const float large[100000];
	const struct weights_tensor t = weights_describe("large", weights_type("F32"), 1, (long[]){100000}, large);
	const struct weights_tensor *const lists[] = {tensors, &t};
	struct rlimit before, small;
	char wanted[600];
	snprintf(wanted, sizeof(wanted), "%s: cannot be written: %s", path, strerror(EFBIG));
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small = before;
	small.rlim_cur = 100;
	void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
	for (int i = 0; i < 2; i++) {
		struct err err = {0};
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
		int status = weights_save(path, lists[i], i ? 1 : N, NULL, 0, &err);
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
		assert_int_equal(status, -1);
		assert_string_equal(err.message, wanted);
		assert_true(err.is_fault);
		assert_int_equal(count_files(), 0);
	}
	signal(SIGXFSZ, handler);
}

static void a_text(UNUSED void **state)
{
	struct err err = {0};
	assert_int_equal(weights_save_text(path, "{\"a\":1}\n", &err), 0);
	struct bytes found = bytes_of_file(path);
	assert_int_equal(found.n, 8);
	assert_memory_equal(found.data, "{\"a\":1}\n", 8);
	assert_int_equal(count_files(), 1);
	free(found.data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(bytes_as_spelled_out, setup, teardown),
	        cmocka_unit_test_setup_teardown(read_again_bit_for_bit, setup, teardown),
	        cmocka_unit_test_setup_teardown(nothing_at_all, setup, teardown),
	        cmocka_unit_test_setup_teardown(refusals, setup, teardown),
	        cmocka_unit_test_setup_teardown(writing_that_fails, setup, teardown),
	        cmocka_unit_test_setup_teardown(no_room, setup, teardown),
	        cmocka_unit_test_setup_teardown(a_text, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
