// SPDX-License-Identifier: MIT
// Encoding real text on one thread, from an empty cache; and a megabyte of one letter, which is one word. The files are
// looked for in the folder that the environment variable DATA names.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/base/progress.h"
#include "harness/bench/bench.h"
#include "harness/bench/sample.h"
#include "harness/text/file.h"
#include "harness/text/tokenizer.h"

static const struct row {
	const char *name, *path, *family;
} rows[] = {
        {"gpt2", "tokenizers/gpt2", NULL},
        {"gpt_neox", "tokenizers/gpt-neox/20B_tokenizer.json", NULL},
        {"qwen2", "tokenizers/qwen", "qwen2"},
        {"tok512", "stories260k/tok512.bin", NULL},
};
enum { N_ROW = sizeof(rows) / sizeof(rows[0]), LONG_WORD = 1000000 };
static const char text_path[] = "wikitext-2/valid.txt";
static const double target = 5, cap_s = 4; // MB/s

struct call {
	const struct tokenizer *tokenizer;
	const char *text;
	size_t n;
	struct token_ids ids;
};

// A fresh encoder each time: words that a corpus brings are found once, as in a first reading.
static void run(void *arg)
{
	struct call *c = arg;
	struct err err = {0};
	struct encoder *encoder = encoder_new(c->tokenizer);
	c->ids.n = 0;
	if (encoder_run(encoder, c->text, c->n, 0, &c->ids, &err))
		BUG("%s", err.message);
	encoder_free(encoder);
}

// Parity before timing: the text comes back.
static int check(const struct call *c, struct err *err)
{
	char *back;
	size_t n;
	if (tokenizer_decode(c->tokenizer, c->ids.id, c->ids.n, 0, &back, &n, err))
		return -1;
	const int is_same = n == c->n && memcmp(back, c->text, n) == 0;
	free(back);
	return is_same ? 0 : err_fault(err, "a tokenizer gives back another text than it was given");
}

static int measure(struct bench *bench, const struct row *row, const char *path, const char *text, size_t n,
        const char *letters, struct err *err)
{
	struct tokenizer *tokenizer;
	const double start = clock_s();
	if (tokenizer_open(&tokenizer, path, row->family, err))
		return -1;
	const double load_s = clock_s() - start;
	const struct arena_mark mark = arena_mark(&bench->arena);
	struct call call[2] = {{tokenizer, text, n, {0}}, {tokenizer, letters, LONG_WORD, {0}}};
	struct arm *arm = arena_zalloc(&bench->arena, 2 * sizeof(*arm));
	int rc = 0;
	for (int i = 0; i < 2; i++) {
		arm[i].run = run;
		arm[i].arg = &call[i];
		run(&call[i]);
		rc = rc ? rc : check(&call[i], err);
	}
	if (!rc) {
		sample_arms(arm, 2, 0.1, cap_s, &bench->rng);
		printf("  %-8s  %7zu tokens  %7.2f ms [%.2f, %.2f] n %ld%s  %6.1f MB/s", row->name, call[0].ids.n,
		        arm[0].median * 1e3, arm[0].lo * 1e3, arm[0].hi * 1e3, arm[0].n,
		        arm[0].is_reached ? "" : " (2 % not reached)", (double)n / arm[0].median / 1e6);
		bench_print_target((double)n / arm[0].median / 1e6, target, " MB/s");
		printf("            a word of 1,000,000 letters %.0f ms; loading %.0f ms\n", arm[1].median * 1e3,
		        load_s * 1e3);
	}
	for (int i = 0; i < 2; i++)
		free(call[i].ids.id);
	tokenizer_free(tokenizer);
	arena_rewind(&bench->arena, mark);
	return rc;
}

int bench_tokenize(struct bench *bench, struct err *err)
{
	const char *data = getenv("DATA");
	char *text, path[4096];
	size_t n;
	snprintf(path, sizeof(path), "%s/%s", data ? data : "", text_path);
	if (!data || access(path, R_OK)) {
		printf("\ntokenizers: skipped: DATA names no folder with %s\n", text_path);
		return 0;
	}
	if (file_read(&text, &n, path, err))
		return -1;
	char *letters = arena_alloc(&bench->arena, LONG_WORD);
	memset(letters, 'a', LONG_WORD);
	printf("\nencoding %s (%zu bytes) on one thread\n", text_path, n);
	int rc = 0;
	for (int i = 0; i < N_ROW && !rc; i++) {
		snprintf(path, sizeof(path), "%s/%s", data, rows[i].path);
		if (access(path, R_OK))
			printf("  %-8s  skipped: no %s\n", rows[i].name, rows[i].path);
		else
			rc = measure(bench, &rows[i], path, text, n, letters, err);
	}
	free(text);
	return rc;
}
