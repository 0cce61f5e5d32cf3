// SPDX-License-Identifier: MIT
#include "tests/text/golden.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/base/utf8.h"
#include "tests/test.h"

enum { PATH_ROOM = 600, TEXT_ROOM = 4096 };

struct tokenizer *open_tokenizer(const char *path, const char *family)
{
	struct tokenizer *t;
	struct err err = {0};
	if (tokenizer_open(&t, path, family, &err))
		fail_msg("%s", err.message);
	return t;
}

static size_t from_hex(char *out, const char *hex)
{
	size_t n = 0;
	for (unsigned byte; sscanf(hex + 2 * n, "%2x", &byte) == 1; n++)
		out[n] = (char)byte;
	return n;
}

static void compare(const struct tokenizer *t, struct encoder *e, const char *line, int flags, const char *text,
        size_t n, const char *expected)
{
	struct token_ids ids = {0};
	struct err err = {0};
	size_t i = 0;
	int used, id;
	if (encoder_run(e, text, n, flags, &ids, &err))
		fail_msg("%s: %s", line, err.message);
	for (; sscanf(expected, "%d%n", &id, &used) == 1; expected += used, i++)
		if (i >= ids.n || ids.id[i] != id)
			fail_msg("%s: id %zu is %d, not %d", line, i, i < ids.n ? ids.id[i] : -1, id);
	if (i != ids.n)
		fail_msg("%s: %zu ids, not %zu", line, ids.n, i);
	free(ids.id);
	check_round_trip(t, e, text, n, 0);
}

static const char *family_of(const char *const *families, const char *name)
{
	for (; *families; families += 2)
		if (strcmp(families[0], name) == 0)
			return families[1];
	return NULL;
}

int check_goldens(const char *file, const char *folder, const char *const *families)
{
	char path[PATH_ROOM], name[PATH_ROOM], open[PATH_ROOM] = "", hex[TEXT_ROOM], text[TEXT_ROOM];
	struct tokenizer *t = NULL;
	struct encoder *e = NULL;
	char *line = NULL;
	size_t room = 0;
	int n_line = 0, special, used;
	FILE *in = fopen(file, "r");
	if (!in)
		fail_msg("%s cannot be read (run from the project's folder)", file);
	while (getline(&line, &room, in) > 0) {
		if (line[0] == '#')
			continue;
		if (sscanf(line, "%599s %d %4095s%n", name, &special, hex, &used) != 3)
			fail_msg("%s: bad line: %s", file, line);
		if (strcmp(name, open) != 0) {
			encoder_free(e);
			tokenizer_free(t);
			snprintf(path, sizeof(path), "%s%s", folder, name);
			t = open_tokenizer(path, family_of(families, name));
			e = encoder_new(t);
			memcpy(open, name, sizeof(open));
		}
		const size_t n = from_hex(text, hex);
		// Twice: the second time, words come from the cache.
		for (int round = 0; round < 2; round++)
			compare(t, e, line, special ? ENCODE_SPECIAL : 0, text, n, line + used);
		n_line++;
	}
	encoder_free(e);
	tokenizer_free(t);
	free(line);
	fclose(in);
	return n_line;
}

static void check_stream(const struct tokenizer *t, const struct token_ids *ids, const char *text, size_t n)
{
	struct decoder d;
	struct err err = {0};
	const char *piece;
	size_t at = 0, length;
	decoder_init(&d, t, 0);
	for (size_t i = 0; i <= ids->n; i++) {
		if (i == ids->n)
			piece = decoder_end(&d, &length);
		else if (decoder_next(&d, ids->id[i], &piece, &length, &err))
			fail_msg("%s", err.message);
		assert_true(at + length <= n);
		assert_memory_equal(piece, text + at, length);
		at += length;
		// What is shown never ends within a character that the text goes on with.
		for (size_t back = 1; i < ids->n && back < 4 && back <= at; back++)
			assert_true(utf8_length(text + at - back, n - at + back) <= (int)back);
	}
	assert_int_equal(at, n);
	decoder_release(&d);
}

int check_round_trip(const struct tokenizer *t, struct encoder *e, const char *text, size_t n, int is_partial)
{
	struct token_ids ids = {0};
	struct err err = {0};
	char *back;
	size_t n_back;
	if (encoder_run(e, text, n, ENCODE_EXACT | ENCODE_SPECIAL, &ids, &err)) {
		if (!is_partial || !strstr(err.message, "no token for byte"))
			fail_msg("%s", err.message);
		free(ids.id);
		return 0;
	}
	if (tokenizer_decode(t, ids.id, ids.n, 0, &back, &n_back, &err))
		fail_msg("%s", err.message);
	assert_int_equal(n_back, n);
	assert_memory_equal(back, text, n);
	check_stream(t, &ids, text, n);
	free(back);
	free(ids.id);
	return 1;
}

size_t random_text(char *out, size_t n, struct rng *rng)
{
	static const struct {
		uint32_t first, n;
	} ranges[] = {{' ', 95}, {'a', 26}, {'A', 26}, {'0', 10}, {0xa0, 0x1b0}, {0x300, 0x70}, {0x370, 0x1c0},
	        {0x5d0, 0x80}, {0x900, 0x100}, {0x1100, 0x100}, {0x2000, 0x70}, {0x3000, 0x100}, {0x4e00, 0x200},
	        {0xac00, 0x100}, {0x1f300, 0x300}, {0, 32}, {0x10fff0, 16}};
	static const char *const pieces[] = {" ", "  ", "\n", "\r\n", "\t", "'s", "'LL", "<|endoftext|>",
	        "\xef\xb8\x8f", "\xe2\x80\x8d", "the", " cache", "keys", "<mask>", "\xc0\xaf", "\xed\xa0\x80",
	        "\xf4\x90\x80\x80", "\xe6\xbc", "\xff"};
	enum { N_RANGE = sizeof(ranges) / sizeof(ranges[0]), N_PIECE = sizeof(pieces) / sizeof(pieces[0]) };
	size_t at = 0;
	while (at < n) {
		const uint32_t kind = rng_below(rng, N_RANGE + 4);
		if (kind >= N_RANGE + 1) {
			const char *piece = pieces[rng_below(rng, N_PIECE)];
			memcpy(out + at, piece, strlen(piece));
			at += strlen(piece);
		} else if (kind == N_RANGE)
			out[at++] = (char)rng_below(rng, 256);
		else
			for (uint32_t i = rng_below(rng, 6) + 1; i > 0; i--)
				at += (size_t)utf8_encode(
				        out + at, ranges[kind].first + rng_below(rng, ranges[kind].n));
	}
	return at;
}
