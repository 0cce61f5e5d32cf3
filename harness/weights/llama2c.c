// SPDX-License-Identifier: MIT
// llama2.c .bin, f32 throughout, little-endian; the shapes follow from the header, and the file must end where they do:
//     legacy      seven i32: dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size (negative: the head is a matrix
//                 of its own), seq_len; then the tensors
//     version 1   "24ka", i32 1, the seven (vocab_size positive), u8 head shared, zeros up to byte 256; then the
//     tensors
// The order of tensors differs. Each layer's tensor of one kind follows the layer's before. Names are those of the
// Llama checkpoints that both are made from; queries and keys are as there, pairs (2i, 2i + 1) turned together.
#include <string.h>

#include "harness/weights/internal.h"

enum size { DIM, HIDDEN, KV, VOCAB, CONTEXT, HALF_HEAD, N_SIZE, NONE };
enum { LAYERS_MOST = 4096, LEGACY = 0, N_VERSION = 2, N_FIELD = 7 };

static const char *const field_names[N_FIELD] = {
        "dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len"};

static const struct row {
	int place[N_VERSION]; // its place among the file's blocks, -1: not there
	int per_layer;
	const char *name;
	enum size rows, columns;
} rows[] = {
        {{0, 3}, 0, "tok_embeddings.weight", VOCAB, DIM},
        {{1, 0}, 1, "layers.%d.attention_norm.weight", DIM, NONE},
        {{2, 4}, 1, "layers.%d.attention.wq.weight", DIM, DIM},
        {{3, 5}, 1, "layers.%d.attention.wk.weight", KV, DIM},
        {{4, 6}, 1, "layers.%d.attention.wv.weight", KV, DIM},
        {{5, 7}, 1, "layers.%d.attention.wo.weight", DIM, DIM},
        {{6, 1}, 1, "layers.%d.ffn_norm.weight", DIM, NONE},
        {{7, 8}, 1, "layers.%d.feed_forward.w1.weight", HIDDEN, DIM},
        {{8, 9}, 1, "layers.%d.feed_forward.w2.weight", DIM, HIDDEN},
        {{9, 10}, 1, "layers.%d.feed_forward.w3.weight", HIDDEN, DIM},
        {{10, 2}, 0, "norm.weight", DIM, NONE},
        // Tables of cosines and sines that nobody reads.
        {{11, -1}, 0, "freq_cis_real", CONTEXT, HALF_HEAD},
        {{12, -1}, 0, "freq_cis_imag", CONTEXT, HALF_HEAD},
        {{13, 11}, 0, "output.weight", VOCAB, DIM},
};
enum { N_ROW = sizeof(rows) / sizeof(rows[0]), ROW_OUTPUT = N_ROW - 1 };

struct header {
	int version, is_shared;
	int32_t field[N_FIELD];
	size_t bytes;
	uint64_t size[N_SIZE];
};

static int check_header(struct header *h, const char *path, struct err *err)
{
	for (int i = 0; i < N_FIELD; i++)
		if (h->field[i] < 1)
			return err_set(err, "%s: its header says %s %d, so it is no llama2.c file", path,
			        field_names[i], h->field[i]);
	const int32_t dim = h->field[0], n_layer = h->field[2], n_head = h->field[3], n_kv = h->field[4];
	if (n_layer > LAYERS_MOST)
		return err_set(err, "%s: its header says %d layers (most: %d)", path, n_layer, LAYERS_MOST);
	if (dim % n_head || dim / n_head % 2 || n_head % n_kv)
		return err_set(err, "%s: its header says dim %d, %d heads, %d key/value heads, which do not divide",
		        path, dim, n_head, n_kv);
	const uint64_t sizes[N_SIZE] = {[DIM] = (uint64_t)dim,
	        [HIDDEN] = (uint64_t)h->field[1],
	        [KV] = (uint64_t)(dim / n_head) * (uint64_t)n_kv,
	        [VOCAB] = (uint64_t)h->field[5],
	        [CONTEXT] = (uint64_t)h->field[6],
	        [HALF_HEAD] = (uint64_t)(dim / n_head / 2)};
	memcpy(h->size, sizes, sizeof(sizes));
	return 0;
}

static int32_t int_at(const struct weights_map *map, size_t at)
{
	const unsigned char *p = map->data + at;
	return (int32_t)((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);
}

static int read_header(struct header *h, const struct weights_map *map, struct err *err)
{
	const int has_magic = map->bytes >= 8 && !memcmp(map->data, "24ka", 4);
	h->version = has_magic ? int_at(map, 4) : LEGACY;
	h->bytes = has_magic ? 256 : 4 * N_FIELD;
	if (has_magic && h->version != 1)
		return err_set(err, "%s: is of llama2.c version %d (0 and 1 are read)", map->path, h->version);
	if (map->bytes < h->bytes)
		return err_set(
		        err, "%s: %zu bytes are too few for a llama2.c header (truncated?)", map->path, map->bytes);
	for (int i = 0; i < N_FIELD; i++)
		h->field[i] = int_at(map, (has_magic ? 8 : 0) + 4 * (size_t)i);
	h->is_shared = has_magic ? map->data[8 + 4 * N_FIELD] : h->field[5] > 0;
	if (h->is_shared > 1)
		return err_set(err, "%s: its header says %d where 0 or 1 says whether the head is shared", map->path,
		        h->is_shared);
	if (h->version == LEGACY && h->field[5] < 0 && h->field[5] != INT32_MIN)
		h->field[5] = -h->field[5];
	return check_header(h, map->path, err);
}

static int add_block(struct weights_set *set, const struct weights_map *map, const struct header *h,
        const struct row *row, uint64_t *offset, struct err *err)
{
	const int n = row->per_layer ? h->field[2] : 1, is_vector = row->columns == NONE;
	const uint64_t dim[2] = {h->size[row->rows], is_vector ? 1 : h->size[row->columns]};
	for (int i = 0; i < n; i++) {
		char name[64];
		// The number goes where the name has one.
		const char *mark = strstr(row->name, "%d");
		if (mark)
			snprintf(name, sizeof(name), "%.*s%d%s", (int)(mark - row->name), row->name, i, mark + 2);
		else
			snprintf(name, sizeof(name), "%s", row->name);
		const struct tensor_claim claim = {.name = name,
		        .name_bytes = strlen(name),
		        .type = weights_type("F32"),
		        .n_dim = is_vector ? 1 : 2,
		        .dim = dim,
		        .start = h->bytes,
		        .offset = *offset};
		if (set_add(set, map, &claim, err))
			return -1;
		*offset += set->tensor[set->seen.n_tensor - 1].bytes;
	}
	return 0;
}

static int add_metadata(struct weights_set *set, const struct weights_map *map, const struct header *h, struct err *err)
{
	struct value *object = arena_zalloc(&set->arena, sizeof(*object)),
	             *item = set_values(set, N_FIELD + 2, map->path, err);
	if (!item)
		return -1;
	for (int i = 0; i < N_FIELD; i++)
		item[i] = (struct value){.kind = VALUE_INT, .key = field_names[i], .integer = h->field[i]};
	item[N_FIELD] = (struct value){.kind = VALUE_BOOL, .key = "shared_classifier", .integer = h->is_shared};
	item[N_FIELD + 1] = (struct value){.kind = VALUE_INT, .key = "version", .integer = h->version};
	*object = (struct value){.kind = VALUE_OBJECT, .n = N_FIELD + 2, .item = item, .place = map->path};
	set->seen.metadata = object;
	return 0;
}

int llama2c_read(struct weights_set *set, const struct weights_map *map, struct err *err)
{
	struct header h = {0};
	uint64_t offset = 0;
	if (read_header(&h, map, err) || add_metadata(set, map, &h, err))
		return -1;
	for (int place = 0; place < N_ROW; place++)
		for (int i = 0; i < N_ROW; i++)
			if (rows[i].place[h.version] == place && !(i == ROW_OUTPUT && h.is_shared) &&
			        add_block(set, map, &h, &rows[i], &offset, err))
				return -1;
	return set_check_layout(set, 0, map, h.bytes, 1, err);
}
