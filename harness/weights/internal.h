// SPDX-License-Identifier: MIT
// What the readers share: maps of files, a growing set of tensors, checks that every format needs.
#ifndef KVLAB_WEIGHTS_INTERNAL_H
#define KVLAB_WEIGHTS_INTERNAL_H
#include "harness/base/arena.h"
#include "harness/weights/weights.h"
#ifdef __cplusplus
extern "C" {
#endif

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "files of weights are little-endian, and their numbers are used where they lie"
#endif

enum { TENSORS_MOST = 1 << 20 };

// A file in memory. Its size is taken once.
struct weights_map {
	const char *path;
	const unsigned char *data;
	size_t bytes;
	struct weights_map *next; // those that weights_close() gives back
};

// A set in the making; weights_open() hands out `seen`.
struct weights_set {
	struct weights seen;
	struct arena arena;
	char *text, *text_end; // where the next short text goes
	long n_value;          // values made so far (VALUES_MOST)
	struct weights_tensor *tensor;
	long tensor_size;
	const struct weights_tensor **by_name;
	struct weights_map *maps;
};

struct weights_set *set_new(const char *path);
void set_free(struct weights_set *set);
// Maps a file whole. NULL with a message when it cannot be, or when it is empty.
const struct weights_map *set_map(struct weights_set *set, const char *path, struct err *err);
// n bytes and a 0.
char *set_text(struct weights_set *set, const void *text, size_t n);
// n values for a tree, or NULL with a message that begins with place where there would be too many.
struct value *set_values(struct weights_set *set, size_t n, const char *place, struct err *err);

// Adds a tensor after checking its name, shape and bytes against the file. start: where data begins in the map, offset:
// of this tensor from there. The map must outlive the set.
struct tensor_claim {
	const char *name;
	size_t name_bytes;
	const struct weights_type *type;
	unsigned n_dim;
	const uint64_t *dim; // the last one runs fastest
	uint64_t start, offset;
};
int set_add(struct weights_set *set, const struct weights_map *map, const struct tensor_claim *claim, struct err *err);
// The tensors from number `first` on lie in this map from `start` to its end: no two overlap, and no gap has slack
// bytes or more.
int set_check_layout(const struct weights_set *set, long first, const struct weights_map *map, size_t start,
        size_t slack, struct err *err);
// Last step of every reader: no two tensors of one name; finds by name from then on.
int set_finish(struct weights_set *set, struct err *err);

// Readers: one file each into the set.
int safetensors_read(struct weights_set *set, const struct weights_map *map, struct err *err);
int gguf_read(struct weights_set *set, const struct weights_map *map, struct err *err);
int llama2c_read(struct weights_set *set, const struct weights_map *map, struct err *err);
// An index names shards, which lie in its folder.
int safetensors_read_index(struct weights_set *set, const struct weights_map *map, struct err *err);

// JSON to values. place: what messages begin with; it lives as long as the set. NULL with a message when the text is
// not one object.
const struct value *json_read(
        struct weights_set *set, const char *place, const void *text, size_t bytes, struct err *err);

const struct weights_type *type_of_ggml(uint32_t number);
int text_is_utf8(const char *text, size_t n);
// UTF-8 without control characters.
int text_is_plain(const char *text, size_t n);

#ifdef __cplusplus
}
#endif
#endif
