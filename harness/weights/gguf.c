// SPDX-License-Identifier: MIT
// GGUF, versions 2 and 3, little-endian:
//     "GGUF", u32 version, u64 tensors, u64 key/values
//     key/value   text key, u32 kind, value
//     tensor      text name, u32 dimensions, u64 each (the first runs fastest), u32 type, u64 offset in the data
//     zeros up to a multiple of general.alignment (32 where it is not said), then the data
// A text is u64 bytes and those bytes; an array u32 kind, u64 items and the items. Every length is checked against
// what is left of the file before it is believed.
#include <stdlib.h>
#include <string.h>

#include "harness/weights/internal.h"

enum { DIMS_MOST = 4, NESTED_MOST = 4, ALIGNMENT = 32 };
enum { KIND_BOOL = 7, KIND_TEXT = 8, KIND_ARRAY = 9, N_KIND = 13 };

// Where reading stands; what names the place for messages.
struct cursor {
	struct weights_set *set;
	const struct weights_map *map;
	size_t at;
	char what[WEIGHTS_NAME + 40];
	struct err *err;
};

// n bytes, or NULL with a message where the file ends before them.
static const unsigned char *take(struct cursor *c, uint64_t n)
{
	if (n > c->map->bytes - c->at) {
		err_set(c->err, "%s: ends within %s (truncated?)", c->map->path, c->what);
		return NULL;
	}
	const unsigned char *here = c->map->data + c->at;
	c->at += (size_t)n;
	return here;
}

static uint64_t little_endian(const unsigned char *p, int bytes)
{
	uint64_t x = 0;
	for (int i = 0; i < bytes; i++)
		x |= (uint64_t)p[i] << 8 * i;
	return x;
}

static int take_number(struct cursor *c, uint64_t *out, int bytes)
{
	const unsigned char *p = take(c, (uint64_t)bytes);
	if (!p)
		return -1;
	*out = little_endian(p, bytes);
	return 0;
}

static const char *take_text(struct cursor *c, uint64_t *n)
{
	return take_number(c, n, 8) ? NULL : (const char *)take(c, *n);
}

// Kinds of values by their number: how many bytes one takes at least, and how a number is read.
static long long as_int(uint64_t bits, int bytes)
{
	const int shift = 64 - 8 * bytes;
	return (int64_t)(bits << shift) >> shift;
}

static const struct kind {
	int bytes;
	enum { UNSIGNED, SIGNED, FLOAT, TRUTH, TEXT, ARRAY } form;
} kinds[N_KIND] = {{1, UNSIGNED}, {1, SIGNED}, {2, UNSIGNED}, {2, SIGNED}, {4, UNSIGNED}, {4, SIGNED}, {4, FLOAT},
        {1, TRUTH}, {8, TEXT}, {12, ARRAY}, {8, UNSIGNED}, {8, SIGNED}, {8, FLOAT}};

static int read_scalar(struct cursor *c, struct value *out, const struct kind *kind)
{
	uint64_t bits;
	float single;
	if (take_number(c, &bits, kind->bytes))
		return -1;
	switch (kind->form) {
	case FLOAT:
		out->kind = VALUE_REAL;
		if (kind->bytes == 4) {
			const uint32_t low = (uint32_t)bits;
			memcpy(&single, &low, sizeof(single));
			out->real = single;
		} else {
			memcpy(&out->real, &bits, sizeof(bits));
		}
		return 0;
	case TRUTH:
		if (bits > 1)
			return err_set(c->err, "%s: %s is neither true nor false", c->map->path, c->what);
		out->kind = VALUE_BOOL;
		out->integer = (long long)bits;
		return 0;
	default:
		out->kind = VALUE_INT;
		if (kind->form == SIGNED) {
			out->integer = as_int(bits, kind->bytes);
		} else if (bits <= INT64_MAX) {
			out->integer = (long long)bits;
		} else {
			out->kind = VALUE_REAL;
			out->real = (double)bits;
		}
		return 0;
	}
}

static int read_value(struct cursor *c, struct value *out, uint64_t number, int depth);

static int read_array(struct cursor *c, struct value *out, int depth)
{
	uint64_t number, n;
	if (depth >= NESTED_MOST)
		return err_set(c->err, "%s: %s is nested too deep (most: %d)", c->map->path, c->what, NESTED_MOST);
	if (take_number(c, &number, 4) || take_number(c, &n, 8))
		return -1;
	if (number >= N_KIND)
		return err_set(c->err, "%s: %s has items of unknown kind %llu", c->map->path, c->what,
		        (unsigned long long)number);
	const size_t left = c->map->bytes - c->at;
	if (n > left / (size_t)kinds[number].bytes)
		return err_set(c->err, "%s: %s says it has %llu items, which %zu bytes cannot hold (truncated?)",
		        c->map->path, c->what, (unsigned long long)n, left);
	struct value *item = set_values(c->set, (size_t)n, c->map->path, c->err);
	if (!item)
		return -1;
	out->kind = VALUE_ARRAY;
	out->n = (size_t)n;
	out->item = item;
	for (size_t i = 0; i < out->n; i++)
		if (read_value(c, &item[i], number, depth + 1))
			return -1;
	return 0;
}

static int read_value(struct cursor *c, struct value *out, uint64_t number, int depth)
{
	uint64_t n;
	if (number >= N_KIND)
		return err_set(
		        c->err, "%s: %s is of unknown kind %llu", c->map->path, c->what, (unsigned long long)number);
	if (kinds[number].form == ARRAY)
		return read_array(c, out, depth);
	if (kinds[number].form != TEXT)
		return read_scalar(c, out, &kinds[number]);
	const char *text = take_text(c, &n);
	if (!text)
		return -1;
	out->kind = VALUE_TEXT;
	out->n = (size_t)n;
	out->text = set_text(c->set, text, out->n);
	return 0;
}

static int compare_key(const void *a, const void *b)
{
	return strcmp((*(const struct value *const *)a)->key, (*(const struct value *const *)b)->key);
}

static int check_keys(struct cursor *c, const struct value *item, size_t n)
{
	const struct value **list = arena_alloc(&c->set->arena, n * sizeof(*list));
	for (size_t i = 0; i < n; i++)
		list[i] = &item[i];
	qsort(list, n, sizeof(*list), compare_key);
	for (size_t i = 1; i < n; i++)
		if (!compare_key(&list[i - 1], &list[i]))
			return err_set(c->err, "%s: key '%s' is there twice", c->map->path, list[i]->key);
	return 0;
}

static int read_metadata(struct cursor *c, uint64_t n)
{
	struct value *object = arena_zalloc(&c->set->arena, sizeof(*object));
	if (n > (c->map->bytes - c->at) / 13) // an empty key, a kind, a byte
		return err_set(c->err, "%s: says it has %llu key/values, which %zu bytes cannot hold (truncated?)",
		        c->map->path, (unsigned long long)n, c->map->bytes - c->at);
	struct value *item = set_values(c->set, (size_t)n, c->map->path, c->err);
	if (!item)
		return -1;
	for (size_t i = 0; i < (size_t)n; i++) {
		uint64_t bytes, kind;
		snprintf(c->what, sizeof(c->what), "key %zu", i);
		const char *key = take_text(c, &bytes);
		if (!key)
			return -1;
		if (!bytes || bytes > WEIGHTS_NAME || !text_is_plain(key, (size_t)bytes))
			return err_set(c->err, "%s: key %zu is not plain text of 1 to %d bytes", c->map->path, i,
			        WEIGHTS_NAME);
		item[i].key = set_text(c->set, key, (size_t)bytes);
		snprintf(c->what, sizeof(c->what), "the value of key '%s'", item[i].key);
		if (take_number(c, &kind, 4) || read_value(c, &item[i], kind, 0))
			return -1;
	}
	*object = (struct value){.kind = VALUE_OBJECT, .n = (size_t)n, .item = item, .place = c->map->path};
	c->set->seen.metadata = object;
	return check_keys(c, item, (size_t)n);
}

struct info {
	const char *name;
	uint64_t name_bytes, dim[DIMS_MOST], offset;
	const struct weights_type *type;
	unsigned n_dim;
};

static int read_info(struct cursor *c, struct info *info, size_t i)
{
	uint64_t n_dim, type, reversed[DIMS_MOST];
	snprintf(c->what, sizeof(c->what), "the description of tensor %zu", i);
	info->name = take_text(c, &info->name_bytes);
	if (!info->name || take_number(c, &n_dim, 4))
		return -1;
	if (n_dim < 1 || n_dim > DIMS_MOST)
		return err_set(c->err, "%s: tensor %zu has %llu dimensions (1 to %d)", c->map->path, i,
		        (unsigned long long)n_dim, DIMS_MOST);
	info->n_dim = (unsigned)n_dim;
	for (unsigned k = 0; k < info->n_dim; k++)
		if (take_number(c, &reversed[k], 8))
			return -1;
	for (unsigned k = 0; k < info->n_dim; k++)
		info->dim[k] = reversed[info->n_dim - 1 - k];
	if (take_number(c, &type, 4) || take_number(c, &info->offset, 8))
		return -1;
	info->type = type_of_ggml((uint32_t)type);
	if (!info->type)
		return err_set(
		        c->err, "%s: tensor %zu is of unknown type %llu", c->map->path, i, (unsigned long long)type);
	return 0;
}

static int read_alignment(struct cursor *c, int *alignment)
{
	if (value_int(c->set->seen.metadata, "general.alignment", VALUE_OPTIONAL, 1, 1 << 24, alignment, c->err))
		return -1;
	if (*alignment & (*alignment - 1))
		return err_set(
		        c->err, "%s: 'general.alignment' is %d, should be a power of two", c->map->path, *alignment);
	return 0;
}

static int read_tensors(struct cursor *c, const struct info *info, size_t n, size_t alignment)
{
	const size_t rest = (c->at + alignment - 1) / alignment * alignment;
	// A file without tensors need not be filled up.
	const size_t start = rest > c->map->bytes && !n ? c->map->bytes : rest;
	if (start > c->map->bytes)
		return err_set(c->err, "%s: ends before its data begins (truncated?)", c->map->path);
	for (size_t i = 0; i < n; i++) {
		const struct tensor_claim claim = {.name = info[i].name,
		        .name_bytes = (size_t)info[i].name_bytes,
		        .type = info[i].type,
		        .n_dim = info[i].n_dim,
		        .dim = info[i].dim,
		        .start = start,
		        .offset = info[i].offset};
		if (set_add(c->set, c->map, &claim, c->err))
			return -1;
		if (info[i].offset % alignment)
			return err_set(c->err, "%s: tensor '%s' begins at byte %llu of the data, no multiple of %zu",
			        c->map->path, c->set->tensor[c->set->seen.n_tensor - 1].name,
			        (unsigned long long)info[i].offset, alignment);
	}
	return set_check_layout(c->set, 0, c->map, start, alignment, c->err);
}

int gguf_read(struct weights_set *set, const struct weights_map *map, struct err *err)
{
	struct cursor c = {.set = set, .map = map, .what = "its first numbers", .err = err};
	uint64_t version, n_tensor, n_pair;
	int alignment = ALIGNMENT;
	const unsigned char *magic = take(&c, 4);
	if (!magic || memcmp(magic, "GGUF", 4))
		return err_set(err, "%s: does not begin with 'GGUF', so it is no GGUF file", map->path);
	if (take_number(&c, &version, 4) || take_number(&c, &n_tensor, 8) || take_number(&c, &n_pair, 8))
		return -1;
	if (version && !(version & 0xffff))
		return err_set(err, "%s: is a big-endian GGUF file, which is not read", map->path);
	if (version != 2 && version != 3)
		return err_set(
		        err, "%s: is of GGUF version %llu (2 and 3 are read)", map->path, (unsigned long long)version);
	if (read_metadata(&c, n_pair) || read_alignment(&c, &alignment))
		return -1;
	if (n_tensor > TENSORS_MOST || n_tensor > (map->bytes - c.at) / 32)
		return err_set(err, "%s: says it has %llu tensors, which %zu bytes cannot hold (truncated?)", map->path,
		        (unsigned long long)n_tensor, map->bytes - c.at);
	struct info *info = arena_alloc(&set->arena, (size_t)n_tensor * sizeof(*info));
	for (size_t i = 0; i < (size_t)n_tensor; i++)
		if (read_info(&c, &info[i], i))
			return -1;
	return read_tensors(&c, info, (size_t)n_tensor, (size_t)alignment);
}
