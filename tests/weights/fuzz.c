// SPDX-License-Identifier: MIT
#include "tests/weights/fuzz.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/weights/internal.h"

const struct fuzz_target fuzz_targets[N_FUZZ_TARGET] = {
        {"safetensors", "x/in.safetensors", SHAPE_HEADER, safetensors_read},
        {"gguf", "x/in.gguf", SHAPE_GGUF, gguf_read},
        {"llama2c", "x/in.bin", SHAPE_INTS, llama2c_read},
        {"index", FIXTURES "sharded/in.index.json", SHAPE_TEXT, safetensors_read_index},
        {"config", "x/config.json", SHAPE_TEXT, NULL},
};

#define EXPECT(condition)                                                                                              \
	do {                                                                                                           \
		if (!(condition))                                                                                      \
			BUG("fuzzing: not true: %s", #condition);                                                      \
	} while (0)

// One line of plain text that begins with a path and does not end in a full stop; the user's mistake.
static void check_message(const struct err *err)
{
	const size_t n = strlen(err->message);
	EXPECT(err->is_set && !err->is_fault);
	EXPECT(n > 0 && n < sizeof(err->message) - 1);
	EXPECT(text_is_plain(err->message, n));
	EXPECT(!strncmp(err->message, "x/", 2) || !strncmp(err->message, FIXTURES, strlen(FIXTURES)));
	EXPECT(strstr(err->message, ": ") && err->message[n - 1] != '.');
}

static char *print_to_text(const struct value *value)
{
	char *text;
	size_t n;
	FILE *out = open_memstream(&text, &n);
	value_print(out, value);
	fclose(out);
	EXPECT(text_is_plain(text, n));
	return text;
}

// What is printed can be read, and printed again is the same.
static void check_values(const struct value *value)
{
	struct weights_set *set = set_new("x/printed");
	struct err err = {0};
	char *text = print_to_text(value);
	const struct value *again = json_read(set, "x/printed", text, strlen(text), &err);
	if (again) {
		char *second = print_to_text(again);
		if (strcmp(text, second))
			BUG("fuzzing: printed, read and printed again: %s, %s", text, second);
		free(second);
	} else {
		check_message(&err);
		// Texts that are different bytes but no UTF-8 can print as one key; nothing else goes wrong.
		EXPECT(strstr(err.message, "the same key twice") || strstr(err.message, "zero character") ||
		        strstr(err.message, "nested too deep") || strstr(err.message, "more than"));
	}
	free(text);
	set_free(set);
}

static int is_same(const void *a, const void *b, size_t n)
{
	return !n || !memcmp(a, b, n);
}

static void check_numbers(const struct weights_tensor *t)
{
	const size_t n = (size_t)t->rows * (size_t)t->columns;
	real *x = malloc(n * sizeof(*x) + 1), *again = malloc(n * sizeof(*x) + 1);
	uint16_t *bf16 = malloc(n * sizeof(*bf16) + 1);
	const long half = t->rows / 2;
	EXPECT(x && again && bf16);
	weights_read(t, 0, t->rows, x);
	weights_read(t, 0, half, again);
	weights_read(t, half, t->rows - half, again + half * t->columns);
	weights_read_bf16(t, 0, t->rows, bf16);
	EXPECT(is_same(x, again, n * sizeof(*x)));
	for (size_t i = 0; i < n; i++)
		EXPECT(!isnan(x[i]) == !((bf16[i] & 0x7f80) == 0x7f80 && (bf16[i] & 0x7f)));
	const real *in_place = weights_in_place(t);
	EXPECT(!in_place || is_same(in_place, x, n * sizeof(*x)));
	free(x);
	free(again);
	free(bf16);
}

static void check_tensor(const struct weights *weights, const struct weights_tensor *t)
{
	unsigned __int128 numbers = 1;
	struct err err = {0};
	char shape[WEIGHTS_SHAPE_TEXT];
	for (int i = 0; i < t->n_dim; i++)
		numbers *= (unsigned long)t->dim[i];
	EXPECT(numbers == (unsigned __int128)t->rows * (unsigned long)t->columns);
	EXPECT(numbers / (unsigned)t->type->block * (unsigned)t->type->block_bytes == t->bytes);
	EXPECT(numbers % (unsigned)t->type->block == 0);
	EXPECT(weights_find(weights, t->name) == t);
	EXPECT(text_is_plain(t->name, strlen(t->name)));
	EXPECT(!weights_expect(weights, t->name, t->n_dim, t->dim, &err) == !t->type->read);
	EXPECT(strlen(weights_shape(shape, t->n_dim, t->dim)) < sizeof(shape));
	if (t->type->read)
		check_numbers(t);
}

static void check_apart(const struct weights *weights)
{
	if (weights->n_tensor > 50)
		return;
	for (long i = 0; i < weights->n_tensor; i++)
		for (long k = 0; k < i; k++) {
			const struct weights_tensor *s = &weights->tensor[i], *t = &weights->tensor[k];
			const char *a = s->data, *b = t->data;
			EXPECT(strcmp(s->name, t->name));
			EXPECT(!s->bytes || !t->bytes || a + s->bytes <= b || b + t->bytes <= a);
		}
}

static void check_saving(const struct weights *weights, const char *path)
{
	struct weights *back;
	struct err err = {0};
	for (long i = 0; i < weights->n_tensor; i++)
		if (!weights->tensor[i].type->in_safetensors || !strcmp(weights->tensor[i].name, "__metadata__"))
			return;
	if (weights_save(path, weights->tensor, weights->n_tensor, NULL, 0, &err) || weights_open(&back, path, &err))
		BUG("%s", err.message);
	EXPECT(back->n_tensor == weights->n_tensor);
	for (long i = 0; i < weights->n_tensor; i++) {
		const struct weights_tensor *t = &weights->tensor[i], *u = weights_find(back, t->name);
		EXPECT(u && u->type == t->type && u->n_dim == t->n_dim && u->bytes == t->bytes);
		EXPECT(is_same(u->dim, t->dim, sizeof(t->dim)) && is_same(u->data, t->data, t->bytes));
	}
	weights_close(back);
}

int fuzz_input(const struct fuzz_target *target, const unsigned char *data, size_t n, const char *scratch)
{
	struct weights_set *set = set_new(target->path);
	const struct weights_map map = {.path = target->path, .data = data, .bytes = n};
	struct err err = {0};
	int status;
	if (target->read) {
		status = target->read(set, &map, &err) || set_finish(set, &err) ? -1 : 0;
	} else {
		set->seen.config = json_read(set, map.path, data, n, &err);
		status = set->seen.config ? 0 : -1;
	}
	// A value is larger than the byte it may come from, and each list is rounded up.
	EXPECT(set->arena.used_bytes + (size_t)set->tensor_size * sizeof(*set->tensor) < (1 << 18) + 512 * n);
	if (status) {
		check_message(&err);
	} else if (!target->read) {
		check_values(set->seen.config);
	} else {
		EXPECT(!err.is_set);
		check_values(set->seen.metadata);
		for (long i = 0; i < set->seen.n_tensor; i++)
			check_tensor(&set->seen, &set->tensor[i]);
		check_apart(&set->seen);
		if (scratch)
			check_saving(&set->seen, scratch);
	}
	set_free(set);
	return !status;
}
