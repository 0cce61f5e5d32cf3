// SPDX-License-Identifier: MIT
// Every spec in tests/specs/ok resolves to what its first line says (`# expect: 6 points, 0 left out`, scale small)
// and its points survive the way through the store's JSON; every one in tests/specs/bad is refused with the message
// that its first line says (`# expect: 5:35: message`, whole or in part). Each file is a test of its own.
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/spec/spec.h"
#include "tests/test.h"

static const char marker[] = "# expect: ";

static void read_expectation(char *line, int size, const char *path)
{
	FILE *in = fopen(path, "r");
	assert_non_null(in);
	assert_non_null(fgets(line, size, in));
	fclose(in);
	line[strcspn(line, "\n")] = '\0';
	if (strncmp(line, marker, strlen(marker)) != 0 || !line[strlen(marker)])
		fail_msg("%s does not begin with '%s...'", path, marker);
	memmove(line, line + strlen(marker), strlen(line + strlen(marker)) + 1);
}

static void check_round_trip(const struct spec_point *point, struct arena *arena)
{
	struct setup setup;
	struct err err = {0};
	char key[HASH_TEXT];
	if (setup_parse(&setup, point->json, arena, &err))
		fail_msg("%s", err.message);
	setup_key(key, &setup, arena);
	assert_string_equal(setup_json(&setup, arena), point->json);
	assert_string_equal(key, point->key);
}

static void an_ok_spec_resolves(void **state)
{
	const char *path = *state;
	char expected[1024], found[64];
	struct arena arena;
	struct spec spec;
	struct err err = {0};
	read_expectation(expected, sizeof(expected), path);
	arena_init(&arena, 1 << 20);
	if (spec_load(&spec, path, "small", 0, &arena, &err))
		fail_msg("%s", err.message);
	snprintf(found, sizeof(found), "%d points, %d left out", spec.n_point, spec.n_skip);
	assert_string_equal(found, expected);
	for (int i = 0; i < spec.n_point; i++)
		check_round_trip(&spec.point[i], &arena);
	arena_release(&arena);
}

static void a_bad_spec_is_refused(void **state)
{
	const char *path = *state;
	char expected[1024];
	struct arena arena;
	struct spec spec;
	struct err err = {0};
	read_expectation(expected, sizeof(expected), path);
	arena_init(&arena, 1 << 20);
	assert_int_equal(spec_load(&spec, path, "small", 0, &arena, &err), -1);
	arena_release(&arena);
	if (strncmp(err.message, path, strlen(path)) != 0 || err.message[strlen(path)] != ':')
		fail_msg("'%s' does not begin with '%s:'", err.message, path);
	if (strchr(err.message, '\n') || !strstr(err.message, expected))
		fail_msg("'%s' is not '%s'", err.message, expected);
}

enum { FILES_MOST = 512 };

static int is_yaml(const struct dirent *entry)
{
	const char *dot = strrchr(entry->d_name, '.');
	return dot && strcmp(dot, ".yaml") == 0;
}

static int add_folder(struct CMUnitTest *tests, int n, const char *folder, CMUnitTestFunction function)
{
	struct dirent **entry;
	int n_entry = scandir(folder, &entry, is_yaml, alphasort);
	for (int i = 0; i < n_entry; i++) {
		char *path = malloc(strlen(folder) + strlen(entry[i]->d_name) + 2);
		if (!path || n == FILES_MOST)
			abort();
		sprintf(path, "%s/%s", folder, entry[i]->d_name);
		free(entry[i]);
		tests[n++] = (struct CMUnitTest){path, function, NULL, NULL, path};
	}
	if (n_entry >= 0)
		free(entry);
	return n;
}

int main(void)
{
	static struct CMUnitTest tests[FILES_MOST];
	int n_ok = add_folder(tests, 0, "tests/specs/ok", an_ok_spec_resolves);
	int n = add_folder(tests, n_ok, "tests/specs/bad", a_bad_spec_is_refused);
	if (n_ok == 0 || n == n_ok) {
		fprintf(stderr, "no specs in tests/specs/ok or bad (run from the top of the tree)\n");
		return 1;
	}
	int failed = _cmocka_run_group_tests("spec files", tests, (size_t)n, NULL, NULL);
	for (int i = 0; i < n; i++)
		free(tests[i].initial_state);
	return failed;
}
