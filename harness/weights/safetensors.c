// SPDX-License-Identifier: MIT
// safetensors: 8 bytes of header length, little-endian; a JSON object of that many bytes, spaces behind it allowed;
// then the data, which the tensors cover without overlap or hole:
//     {"__metadata__": {"key": "text"}, "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}
// An index is JSON too and says which shard has which tensor:
//     {"metadata": {...}, "weight_map": {"name": "model-00001-of-00002.safetensors"}}
#include <stdlib.h>
#include <string.h>

#include "harness/weights/internal.h"

enum { HEADER_MOST = 100000000 }; // the format's own limit

static int read_numbers(
        uint64_t *out, unsigned *n, unsigned most, const char *what, const struct value *claim, struct err *err)
{
	const struct value *list = value_find(claim, what);
	if (!list || list->kind != VALUE_ARRAY || list->n > most)
		return err_set(err, "%s: '%s' should be a list of at most %u whole numbers", claim->place, what, most);
	*n = (unsigned)list->n;
	for (size_t i = 0; i < list->n; i++) {
		if (list->item[i].kind != VALUE_INT || list->item[i].integer < 0)
			return err_set(err, "%s: '%s' has something in it that is no whole number of at least 0",
			        claim->place, what);
		out[i] = (uint64_t)list->item[i].integer;
	}
	return 0;
}

static int read_tensor(struct weights_set *set, const struct weights_map *map, uint64_t start,
        const struct value *value, struct err *err)
{
	uint64_t dim[WEIGHTS_DIMS], offset[2];
	struct tensor_claim claim = {.name = value->key, .name_bytes = strlen(value->key), .dim = dim, .start = start};
	const char *type;
	unsigned n_offset;
	if (value->kind != VALUE_OBJECT)
		return err_set(err, "%s: entry %ld of the header describes no tensor", map->path, set->seen.n_tensor);
	if (value_text(value, "dtype", VALUE_REQUIRED, &type, err) ||
	        read_numbers(dim, &claim.n_dim, WEIGHTS_DIMS, "shape", value, err) ||
	        read_numbers(offset, &n_offset, 2, "data_offsets", value, err))
		return -1;
	claim.type = weights_type(type);
	if (!claim.type || !claim.type->in_safetensors)
		return err_set(err, "%s: 'dtype' is no type that is known here", value->place);
	if (n_offset != 2 || offset[0] > offset[1])
		return err_set(err, "%s: 'data_offsets' should be a begin and an end", value->place);
	claim.offset = offset[0];
	if (set_add(set, map, &claim, err))
		return -1;
	const struct weights_tensor *t = &set->tensor[set->seen.n_tensor - 1];
	char shape[WEIGHTS_SHAPE_TEXT];
	if (t->bytes != offset[1] - offset[0])
		return err_set(err, "%s: tensor '%s' of shape %s in %s takes %zu bytes, its data_offsets span %llu",
		        map->path, t->name, weights_shape(shape, t->n_dim, t->dim), t->type->name, t->bytes,
		        (unsigned long long)(offset[1] - offset[0]));
	return 0;
}

static int check_metadata(const struct value *metadata, struct err *err)
{
	if (metadata->kind != VALUE_OBJECT)
		return -1;
	for (size_t i = 0; i < metadata->n; i++)
		if (metadata->item[i].kind != VALUE_TEXT)
			return err_set(err, "%s: should hold texts only", metadata->place);
	return 0;
}

int safetensors_read(struct weights_set *set, const struct weights_map *map, struct err *err)
{
	uint64_t header_bytes = 0;
	if (map->bytes < 8)
		return err_set(
		        err, "%s: %zu bytes are too few for a safetensors file (truncated?)", map->path, map->bytes);
	for (int i = 0; i < 8; i++)
		header_bytes |= (uint64_t)map->data[i] << 8 * i;
	if (header_bytes > HEADER_MOST)
		return err_set(err, "%s: a header of %llu bytes (most: %d) is none of a safetensors file", map->path,
		        (unsigned long long)header_bytes, HEADER_MOST);
	if (header_bytes > map->bytes - 8)
		return err_set(err, "%s: a header of %llu bytes in a file of %zu (truncated?)", map->path,
		        (unsigned long long)header_bytes, map->bytes);
	if (!header_bytes || map->data[8] != '{')
		return err_set(err, "%s: its header does not begin with '{', so it is no safetensors file", map->path);
	const char *place = arena_printf(&set->arena, "%s: header", map->path);
	const struct value *header = json_read(set, place, map->data + 8, (size_t)header_bytes, err);
	const long first = set->seen.n_tensor;
	for (size_t i = 0; header && i < header->n; i++) {
		const struct value *value = &header->item[i];
		if (strcmp(value->key, "__metadata__")) {
			if (read_tensor(set, map, 8 + header_bytes, value, err))
				return -1;
		} else if (check_metadata(value, err)) {
			return err_set(err, "%s: '__metadata__' should be an object of texts", place);
		} else if (!set->seen.metadata) { // of shards the first one's counts
			set->seen.metadata = value;
		}
	}
	return header ? set_check_layout(set, first, map, 8 + (size_t)header_bytes, 1, err) : -1;
}

// --- shards ----------------------------------------------------------------------------------------------------

static int compare_shard(const void *a, const void *b)
{
	const struct value *s = *(const struct value *const *)a, *t = *(const struct value *const *)b;
	int order = strcmp(s->text, t->text);
	return order ? order : strcmp(s->key, t->key);
}

// A plain name: an index must not lead out of its folder.
static int check_shard_name(const struct value *entry, const char *place, struct err *err)
{
	static const char ending[] = ".safetensors";
	const char *name = entry->kind == VALUE_TEXT ? entry->text : "";
	const size_t length = strlen(name);
	if (!text_is_plain(entry->key, strlen(entry->key)) || strlen(entry->key) > WEIGHTS_NAME)
		return err_set(err, "%s: weight_map has a name in it that is not plain text of at most %d bytes", place,
		        WEIGHTS_NAME);
	if (entry->kind != VALUE_TEXT || length != entry->n || length < sizeof(ending) || length > WEIGHTS_NAME ||
	        name[0] == '.' || strchr(name, '/') || !text_is_plain(name, length) ||
	        strcmp(name + length - strlen(ending), ending))
		return err_set(err,
		        "%s: the shard of tensor '%s' should be the name of a .safetensors file in this folder", place,
		        entry->key);
	return 0;
}

// What the index says of the tensors of one shard, and what the shard has, are the same.
static int check_shard(struct weights_set *set, long first, const struct value *const *entry, size_t n,
        const char *place, struct err *err)
{
	char *is_there = arena_zalloc(&set->arena, n);
	for (long i = first; i < set->seen.n_tensor; i++) {
		const struct value wanted = {.key = set->tensor[i].name, .text = entry[0]->text}, *key = &wanted;
		const struct value *const *found = bsearch(&key, entry, n, sizeof(*entry), compare_shard);
		if (!found)
			return err_set(err, "%s: does not list tensor '%s' under %s, which has it", place,
			        set->tensor[i].name, entry[0]->text);
		is_there[found - entry] = 1;
	}
	for (size_t i = 0; i < n; i++)
		if (!is_there[i])
			return err_set(err, "%s: lists tensor '%s' under %s, which has it not", place, entry[i]->key,
			        entry[i]->text);
	return 0;
}

int safetensors_read_index(struct weights_set *set, const struct weights_map *map, struct err *err)
{
	const struct value *index = json_read(set, map->path, map->data, map->bytes, err), *listed;
	if (!index || value_object(index, "weight_map", VALUE_REQUIRED, &listed, err))
		return -1;
	if (!listed->n)
		return err_set(err, "%s: weight_map is empty", map->path);
	const struct value **entry = arena_alloc(&set->arena, listed->n * sizeof(*entry));
	for (size_t i = 0; i < listed->n; i++) {
		if (check_shard_name(&listed->item[i], map->path, err))
			return -1;
		entry[i] = &listed->item[i];
	}
	qsort(entry, listed->n, sizeof(*entry), compare_shard);
	const char *slash = strrchr(map->path, '/');
	for (size_t i = 0, next; i < listed->n; i = next) {
		for (next = i + 1; next < listed->n && !strcmp(entry[next]->text, entry[i]->text);)
			next++;
		const long first = set->seen.n_tensor;
		const int folder = slash ? (int)(slash + 1 - map->path) : 0;
		const struct weights_map *shard =
		        set_map(set, arena_printf(&set->arena, "%.*s%s", folder, map->path, entry[i]->text), err);
		if (!shard || safetensors_read(set, shard, err) ||
		        check_shard(set, first, entry + i, next - i, map->path, err))
			return -1;
	}
	return 0;
}
