// SPDX-License-Identifier: MIT
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/weights/internal.h"

enum { TEXT_CHUNK = 1 << 16 };

struct weights_set *set_new(const char *path)
{
	struct weights_set *set = calloc(1, sizeof(*set));
	if (!set)
		die_no_memory(sizeof(*set));
	arena_init(&set->arena, 1 << 18);
	set->seen.path = arena_strdup(&set->arena, path);
	return set;
}

void set_free(struct weights_set *set)
{
	for (struct weights_map *map = set->maps; map; map = map->next)
		munmap((void *)(uintptr_t)map->data, map->bytes);
	arena_release(&set->arena);
	free(set->tensor);
	free(set);
}

static int map_fd(struct weights_map *map, int fd, struct err *err)
{
	struct stat info;
	if (fstat(fd, &info))
		return err_system(err, errno, "%s: cannot be read: %s", map->path, strerror(errno));
	if (!S_ISREG(info.st_mode))
		return err_set(err, "%s: is not a file", map->path);
	if (info.st_size == 0)
		return err_set(err, "%s: is empty", map->path);
	map->bytes = (size_t)info.st_size;
	map->data = mmap(NULL, map->bytes, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map->data == MAP_FAILED)
		return err_system(err, errno, "%s: cannot be mapped: %s", map->path, strerror(errno));
	return 0;
}

const struct weights_map *set_map(struct weights_set *set, const char *path, struct err *err)
{
	struct weights_map *map = arena_zalloc(&set->arena, sizeof(*map));
	map->path = arena_strdup(&set->arena, path);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // a pipe must not hang us
	if (fd < 0) {
		err_system(err, errno, "%s: cannot be opened: %s", path, strerror(errno));
		return NULL;
	}
	int status = map_fd(map, fd, err);
	close(fd);
	if (status)
		return NULL;
	map->next = set->maps;
	set->maps = map;
	return map;
}

char *set_text(struct weights_set *set, const void *text, size_t n)
{
	char *copy;
	if (n >= TEXT_CHUNK / 16) {
		copy = arena_alloc(&set->arena, n + 1);
	} else {
		if ((size_t)(set->text_end - set->text) < n + 1) {
			set->text = arena_alloc(&set->arena, TEXT_CHUNK);
			set->text_end = set->text + TEXT_CHUNK;
		}
		copy = set->text;
		set->text += n + 1;
	}
	if (n)
		memcpy(copy, text, n);
	copy[n] = '\0';
	return copy;
}

struct value *set_values(struct weights_set *set, size_t n, const char *place, struct err *err)
{
	if (n > VALUES_MOST || set->n_value + (long)n > VALUES_MOST) {
		err_set(err, "%s: more than %d values", place, VALUES_MOST);
		return NULL;
	}
	set->n_value += (long)n;
	return arena_zalloc(&set->arena, n * sizeof(struct value));
}

static int check_name(
        const struct weights_set *set, const struct weights_map *map, const struct tensor_claim *claim, struct err *err)
{
	if (claim->name_bytes > WEIGHTS_NAME)
		return err_set(err, "%s: the name of tensor %ld has %zu bytes (most: %d)", map->path,
		        set->seen.n_tensor, claim->name_bytes, WEIGHTS_NAME);
	if (!claim->name_bytes)
		return err_set(err, "%s: tensor %ld has no name", map->path, set->seen.n_tensor);
	if (!text_is_plain(claim->name, claim->name_bytes))
		return err_set(err, "%s: the name of tensor %ld is not UTF-8 text without control characters",
		        map->path, set->seen.n_tensor);
	return 0;
}

// Fills dimensions, rows, columns and bytes. The limit on numbers keeps every product of what is known here within 64
// bits.
static int take_shape(struct weights_tensor *t, const struct tensor_claim *claim, struct err *err)
{
	const uint64_t numbers_most = INT64_MAX / 64;
	uint64_t numbers = 1;
	if (claim->n_dim > WEIGHTS_DIMS)
		BUG("%s: tensor '%s' of %u dimensions", t->path, t->name, claim->n_dim);
	t->n_dim = (int)claim->n_dim;
	t->rows = t->columns = 1;
	for (int i = 0; i < t->n_dim; i++) {
		if (claim->dim[i] > numbers_most || __builtin_mul_overflow(numbers, claim->dim[i], &numbers) ||
		        numbers > numbers_most)
			return err_set(err, "%s: tensor '%s' has more numbers than memory can have", t->path, t->name);
		t->dim[i] = (long)claim->dim[i];
		t->rows *= i < t->n_dim - 1 ? t->dim[i] : 1;
		t->columns = t->dim[i];
	}
	if (t->columns % t->type->block)
		return err_set(err, "%s: tensor '%s' has rows of %ld numbers, which %s blocks of %d do not divide",
		        t->path, t->name, t->columns, t->type->name, t->type->block);
	t->bytes = (size_t)numbers / (size_t)t->type->block * (size_t)t->type->block_bytes;
	return 0;
}

int set_add(struct weights_set *set, const struct weights_map *map, const struct tensor_claim *claim, struct err *err)
{
	struct weights_tensor t = {.type = claim->type, .path = map->path};
	uint64_t end;
	if (set->seen.n_tensor >= TENSORS_MOST)
		return err_set(err, "%s: more than %d tensors", map->path, TENSORS_MOST);
	if (check_name(set, map, claim, err))
		return -1;
	t.name = set_text(set, claim->name, claim->name_bytes);
	if (take_shape(&t, claim, err))
		return -1;
	if (claim->start > map->bytes)
		BUG("%s: data begins at byte %llu of %zu", map->path, (unsigned long long)claim->start, map->bytes);
	if (__builtin_add_overflow(claim->offset, t.bytes, &end) || end > map->bytes - claim->start)
		return err_set(err,
		        "%s: tensor '%s' needs %zu bytes from byte %llu of the data on, which has %llu (truncated?)",
		        map->path, t.name, t.bytes, (unsigned long long)claim->offset,
		        (unsigned long long)(map->bytes - claim->start));
	t.data = map->data + claim->start + claim->offset;
	if (set->seen.n_tensor == set->tensor_size) {
		set->tensor_size = set->tensor_size ? 2 * set->tensor_size : 256;
		set->tensor = realloc(set->tensor, (size_t)set->tensor_size * sizeof(t));
		if (!set->tensor)
			die_no_memory((size_t)set->tensor_size * sizeof(t));
		set->seen.tensor = set->tensor;
	}
	set->tensor[set->seen.n_tensor++] = t;
	return 0;
}

static int compare_place(const void *a, const void *b)
{
	const struct weights_tensor *s = *(const struct weights_tensor *const *)a;
	const struct weights_tensor *t = *(const struct weights_tensor *const *)b;
	if (s->data != t->data)
		return s->data < t->data ? -1 : 1;
	if (s->bytes != t->bytes)
		return s->bytes < t->bytes ? -1 : 1; // an empty tensor lies before the one that begins there
	return s < t ? -1 : s > t;
}

static int compare_name(const void *a, const void *b)
{
	const struct weights_tensor *s = *(const struct weights_tensor *const *)a;
	const struct weights_tensor *t = *(const struct weights_tensor *const *)b;
	int order = strcmp(s->name, t->name);
	return order ? order : s < t ? -1 : s > t;
}

// Pointers to the tensors from number `first` on, in that order.
static const struct weights_tensor **sorted(
        const struct weights_set *set, long first, struct arena *arena, int (*compare)(const void *, const void *))
{
	const long n = set->seen.n_tensor - first;
	const struct weights_tensor **list = arena_alloc(arena, (size_t)n * sizeof(*list));
	for (long i = 0; i < n; i++)
		list[i] = &set->tensor[first + i];
	if (n)
		qsort(list, (size_t)n, sizeof(*list), compare);
	return list;
}

int set_check_layout(const struct weights_set *set, long first, const struct weights_map *map, size_t start,
        size_t slack, struct err *err)
{
	struct arena arena;
	arena_init(&arena, 1 << 16);
	const struct weights_tensor **list = sorted(set, first, &arena, compare_place), *before = NULL;
	const unsigned char *at = map->data + start;
	int status = 0;
	for (long i = 0; i < set->seen.n_tensor - first && !status; i++) {
		const struct weights_tensor *t = list[i];
		const unsigned char *data = t->data;
		if (data < at)
			status = err_set(err, "%s: tensors '%s' and '%s' overlap", map->path, before->name, t->name);
		else if ((size_t)(data - at) >= slack)
			status = err_set(err, "%s: %zu bytes before tensor '%s' belong to none", map->path,
			        (size_t)(data - at), t->name);
		at = data + t->bytes;
		before = t;
	}
	const size_t left = map->bytes - (size_t)(at - map->data);
	if (!status && left >= slack)
		status = err_set(err, "%s: %zu bytes after the last tensor belong to none", map->path, left);
	arena_release(&arena);
	return status;
}

int set_finish(struct weights_set *set, struct err *err)
{
	static const struct value nothing = {.kind = VALUE_OBJECT, .place = ""};
	set->by_name = sorted(set, 0, &set->arena, compare_name);
	for (long i = 1; i < set->seen.n_tensor; i++) {
		const struct weights_tensor *s = set->by_name[i - 1], *t = set->by_name[i];
		if (!strcmp(s->name, t->name))
			return err_set(err, "%s: tensor '%s' is there twice", t->path, t->name);
	}
	if (!set->seen.metadata)
		set->seen.metadata = &nothing;
	return 0;
}
