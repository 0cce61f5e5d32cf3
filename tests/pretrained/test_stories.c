// SPDX-License-Identifier: MIT
// A real model, stories260K, from the data folder (DATA=): greedy text through the KV cache, from both of its files,
// is byte for byte what llama2.c prints. Skipped where DATA names no such folder.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/pretrained/pretrained.h"
#include "tests/test.h"
#include "tests/weights/files.h"

enum { N_TOKEN = 200, BOS = 1, VOCAB = 512, CHUNK = 1 << 20 };

static struct arena arena;
static const char *stories; // the model's folder

static const char *in_folder(const char *name)
{
	return arena_printf(&arena, "%s/%s", stories, name);
}

// llama2.c's table of pieces: i32 longest; per token f32 score, i32 bytes, the bytes. "<0x0A>" is one byte.
static void pieces_of(struct bytes *file, char piece[VOCAB][32])
{
	*file = bytes_of_file(in_folder("tok512.bin"));
	size_t at = 4;
	for (int i = 0; i < VOCAB; i++) {
		int n;
		unsigned byte;
		memcpy(&n, file->data + at + 4, 4);
		assert_true(n >= 0 && n < 32);
		memcpy(piece[i], file->data + at + 8, (size_t)n);
		piece[i][n] = '\0';
		if (sscanf(piece[i], "<0x%02X>", &byte) == 1)
			piece[i][0] = (char)byte, piece[i][1] = '\0';
		at += 8 + (size_t)n;
	}
}

static int most_likely(const struct tensor *logits)
{
	int best = 0;
	for (int j = 1; j < logits->C; j++)
		best = logits->x[j] > logits->x[best] ? j : best;
	return best;
}

static int generate(const char *path, int ids[N_TOKEN])
{
	struct err err = {0};
	struct pretrained p;
	struct cache cache;
	struct arena step, scratch;
	arena_init(&step, CHUNK);
	arena_init(&scratch, CHUNK);
	if (model_load(&p, path, PRETRAINED_TO_READ, &arena, &err))
		fail_msg("%s", err.message);
	const struct model *m = &p.model;
	assert_string_equal(m->variant->name, "gqa");
	if (cache_init(&cache, NULL, m->variant, &m->dims, m->variant_config, 1, N_TOKEN, &arena, &err))
		fail_msg("%s", err.message);
	struct tape tape = {.backend = &backend_cpu, .n_thread = 1, .step = &step, .scratch = &scratch};
	int n = 0;
	for (int token = BOS; n < N_TOKEN; n++) {
		arena_reset(&step);
		tape_begin(&tape, TAPE_RUN);
		token = most_likely(model_forward(&tape, &p.model, &token, 1, 1, 0, 1, &cache));
		if (token == BOS)
			break;
		ids[n] = token;
	}
	pretrained_close(&p);
	arena_release(&step);
	arena_release(&scratch);
	return n;
}

static void greedy_text_is_that_of_llama2c(void **state UNUSED)
{
	static const char *const files[] = {"stories260K.bin", "hf"};
	if (!stories)
		skip();
	struct bytes table, expected = bytes_of_file(in_folder("expected_greedy_200.txt"));
	static char piece[VOCAB][32];
	pieces_of(&table, piece);
	for (int i = 0; i < 2; i++) {
		int ids[N_TOKEN];
		struct bytes text = {0};
		const int n = generate(in_folder(files[i]), ids);
		for (int t = 0; t < n; t++) {
			const char *at = piece[ids[t]] + (t == 0 && piece[ids[t]][0] == ' ');
			bytes_add(&text, at, strlen(at));
		}
		assert_int_equal(text.n, expected.n);
		assert_memory_equal(text.data, expected.data, text.n);
		free(text.data);
	}
	free(table.data);
	free(expected.data);
}

// The folder was derived from the .bin by others: ours from it has the same bits.
static void saved_from_the_bin_it_is_the_folder(void **state UNUSED)
{
	struct err err = {0};
	struct pretrained p;
	struct weights *own, *its;
	if (!stories)
		skip();
	char *folder = folder_make();
	if (model_load(&p, in_folder("stories260K.bin"), PRETRAINED_TO_READ, &arena, &err) ||
	        model_save(&p.model, p.family, folder, &err) || weights_open(&own, folder, &err) ||
	        weights_open(&its, in_folder("hf"), &err))
		fail_msg("%s", err.message);
	assert_int_equal(own->n_tensor, its->n_tensor);
	for (long i = 0; i < own->n_tensor; i++) {
		const struct weights_tensor *a = &own->tensor[i],
		                            *b = weights_expect(its, a->name, a->n_dim, a->dim, &err);
		if (!b)
			fail_msg("%s", err.message);
		assert_memory_equal(a->data, b->data, a->bytes);
	}
	weights_close(own);
	weights_close(its);
	pretrained_close(&p);
	folder_remove(folder);
}

static int setup(void **state UNUSED)
{
	const char *data = getenv("DATA");
	arena_init(&arena, CHUNK);
	if (data && *data)
		stories = arena_printf(&arena, "%s/stories260k", data);
	if (stories && access(stories, R_OK))
		stories = NULL;
	if (!stories)
		printf("# skipped: DATA names no folder with stories260k\n");
	return 0;
}

static int teardown(void **state UNUSED)
{
	arena_release(&arena);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(greedy_text_is_that_of_llama2c),
	        cmocka_unit_test(saved_from_the_bin_it_is_the_folder),
	};
	return cmocka_run_group_tests_name("stories260K", tests, setup, teardown);
}
