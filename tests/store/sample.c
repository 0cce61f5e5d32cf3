// SPDX-License-Identifier: MIT
#include "tests/store/sample.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/base/hash.h"

char *sample_folder(void)
{
	const char *parent = getenv("TMPDIR");
	static char folder[16][256];
	static int n;
	char *name = folder[n++ % 16];
	snprintf(name, sizeof(folder[0]), "%s/kvlab-test-XXXXXX", parent ? parent : "/tmp");
	if (!mkdtemp(name)) {
		perror(name);
		exit(1);
	}
	return name;
}

void sample_remove(const char *folder)
{
	char path[512];
	DIR *dir = opendir(folder);
	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		struct stat info;
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		if (!lstat(path, &info) && S_ISDIR(info.st_mode))
			sample_remove(path);
		else
			unlink(path);
	}
	if (dir)
		closedir(dir);
	rmdir(folder);
}

char *sample_read_file(const char *path, struct arena *arena)
{
	FILE *in = fopen(path, "r");
	if (!in)
		return NULL;
	fseek(in, 0, SEEK_END);
	size_t n = (size_t)ftell(in);
	rewind(in);
	char *text = arena_alloc(arena, n + 1);
	text[fread(text, 1, n, in)] = '\0';
	fclose(in);
	return text;
}

struct store *sample_open(const char *path)
{
	struct err err = {0};
	struct store *store;
	const struct store_build build = {.git_commit = "0123456789abcdef0123456789abcdef01234567",
	        .compiler = "gcc",
	        .flags = "-O2",
	        .blas = "none",
	        .binary_hash = "b"};
	if (store_open(&store, path, 1, &err) || store_identify(store, &build, &err)) {
		fprintf(stderr, "%s\n", err.message);
		exit(1);
	}
	return store;
}

// A logistic curve whose middle lies near 1.3 log2 N, with a little noise of its own per setting and seed.
double sample_accuracy(int n_head, int n_key, int d_select_per_head, uint64_t seed)
{
	uint64_t noise = (uint64_t)(n_head * 131 + n_key * 17 + d_select_per_head * 7) * 2654435761u + seed * 40503u;
	double jitter = (double)(noise % 1000) / 1000 - 0.5;
	double middle = 1.3 * log2(n_key) / (n_head > 1 ? 1.6 : 1) - 1;
	return 0.0625 + 0.9375 / (1 + exp(-3.5 * (d_select_per_head - middle + 0.5 * jitter)));
}

int sample_plan(struct store *store, const struct sample_grid *grid, struct err *err)
{
	struct arena arena;
	arena_init(&arena, 1 << 20);
	long most = (long)grid->n_n_head * grid->n_n_key * grid->n_d_select_per_head * grid->n_seed, n = 0;
	struct store_planned *planned = arena_alloc(&arena, (size_t)most * sizeof(*planned));
	for (int h = 0; h < grid->n_n_head; h++)
		for (int k = 0; k < grid->n_n_key; k++)
			for (int d = 0; d < grid->n_d_select_per_head; d++) {
				int head = grid->n_head[h], key = grid->n_key[k], width = grid->d_select_per_head[d];
				char *json = arena_printf(&arena,
				        "{\"model\":{\"d_model\":64,\"n_head\":%d,\"n_layer\":2},\"task\":{\"n_key\":%"
				        "d,"
				        "\"n_pair\":%d,\"name\":\"retrieval\"},\"variant\":{\"d_select\":0,"
				        "\"d_select_per_head\":%d,\"name\":\"thin_keys\"}}",
				        head, key, key < 8 ? key : 8, width);
				char *hash = arena_alloc(&arena, HASH_TEXT);
				char *label = arena_printf(
				        &arena, "n_head=%d n_key=%d d_select_per_head=%d", head, key, width);
				hash_hex(hash, json, strlen(json));
				for (int s = 0; s < grid->n_seed; s++)
					planned[n++] = (struct store_planned){hash, json, label, (uint64_t)s + 1};
			}
	struct store_experiment experiment = {.name = grid->experiment,
	        .question = "does it follow log2 N?",
	        .paper = "B",
	        .spec_path = "experiments/x.yaml",
	        .spec_text = "experiment: \"x\"\nlines: 2\n",
	        .report_json = grid->report_json,
	        .paper_json = grid->paper_json,
	        .view_sql = grid->view_sql};
	int rc = store_plan(store, &experiment, "small", planned, n, 0, err);
	arena_release(&arena);
	return rc;
}

static int finish_one(struct store *store, const struct store_run *run, struct err *err)
{
	int n_head, n_key, width;
	if (sscanf(run->label, "n_head=%d n_key=%d d_select_per_head=%d", &n_head, &n_key, &width) != 3)
		return err_set(err, "label '%s'", run->label);
	double accuracy = sample_accuracy(n_head, n_key, width, run->seed);
	const struct metric metric[] = {
	        {"accuracy", "test", -1, accuracy},
	        {"loss", "test", -1, -log(accuracy)},
	        {"best_accuracy", "validation", -1, accuracy},
	        {"loss", "train", 100, 1.5},
	        {"loss", "train", 200, 1.0 / 3},
	        {"steps_to_converge", "validation", -1, 100 * floor(30.0 / width + (double)(run->seed % 3))},
	};
	// Runs that never reach 0.95 have no steps_to_converge: it is the last row.
	long n = (long)(sizeof(metric) / sizeof(metric[0])) - (accuracy < 0.95);
	return store_finish(store, run->id, RUN_DONE, NULL, metric, n, NULL, 0, 1.5, err);
}

long sample_finish(struct store *store, const char *experiment, long most, struct err *err)
{
	struct arena arena;
	struct store_run run;
	long n = 0;
	int rc = 0;
	arena_init(&arena, 1 << 16);
	while (n < most && (rc = store_claim(store, experiment, "small", &run, &arena, err)) > 0) {
		rc = finish_one(store, &run, err);
		if (rc < 0)
			break;
		n++;
		arena_reset(&arena);
	}
	arena_release(&arena);
	return rc < 0 ? -1 : n;
}
