// SPDX-License-Identifier: MIT
// Folders are made with those above them, a file's without the file; what stands in the way is named.
#include "harness/base/folders.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/test.h"

static int is_folder(const char *path)
{
	struct stat info;
	return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static void folders_are_made_with_those_above(void **state UNUSED)
{
	char top[] = "/tmp/kvlab_folders_XXXXXX", path[100], failed[FOLDERS_TEXT];
	assert_non_null(mkdtemp(top));
	assert_int_equal(chdir(top), 0);
	for (int twice = 0; twice < 2; twice++) {
		assert_int_equal(folders_make("a/b/c", failed), 0);
		assert_true(is_folder("a/b/c"));
		assert_int_equal(folders_make_for("d/e/file", failed), 0);
		assert_true(is_folder("d/e") && access("d/e/file", F_OK) != 0);
		assert_int_equal(folders_make_for("file", failed), 0);
		snprintf(path, sizeof(path), "%s/f/", top);
		assert_int_equal(folders_make(path, failed), 0);
		assert_true(is_folder("f"));
	}
	assert_int_equal(system("touch d/e/file"), 0);
	assert_int_equal(folders_make("d/e/file/g", failed), -1);
	assert_int_equal(errno, ENOTDIR);
	assert_string_equal(failed, "d/e/file/g");
	assert_int_equal(chdir("/tmp"), 0);
	snprintf(path, sizeof(path), "rm -r %s", top);
	assert_int_equal(system(path), 0);
}

static void a_path_that_is_too_long_is_refused(void **state UNUSED)
{
	char path[FOLDERS_TEXT + 2], failed[FOLDERS_TEXT];
	memset(path, 'x', sizeof(path));
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(folders_make_for(path, failed), -1);
	assert_int_equal(errno, ENAMETOOLONG);
	assert_int_equal(folders_make(path, failed), -1);
	assert_int_equal(errno, ENAMETOOLONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(folders_are_made_with_those_above),
	        cmocka_unit_test(a_path_that_is_too_long_is_refused),
	};
	return cmocka_run_group_tests_name("folders", tests, NULL, NULL);
}
