// SPDX-License-Identifier: MIT
// A tokenised corpus as one block of memory, which is also the file that it is cached in: header, documents, ids. The
// cache is a folder of the user's: KVLAB_CACHE, else XDG_CACHE_HOME/kvlab, else ~/.cache/kvlab; in it tokens/<key>. A
// file is written beside its place and renamed, so that processes do not disturb each other; it is checked by its hash
// when read. A cache that cannot be read or written only costs time.
#ifndef KVLAB_TEXT_TOKEN_IMAGE_H
#define KVLAB_TEXT_TOKEN_IMAGE_H
#include <stdint.h>

#include "harness/base/hash.h"
#include "harness/text/tokens.h"
#ifdef __cplusplus
extern "C" {
#endif

// Raise it when the layout changes: files of older programs are then not looked at.
enum { TOKEN_IMAGE_VERSION = 1 };

// A part as it is found in what was tokenised: ids from..to-1 of n, and the documents of them all.
struct token_range {
	const void *id;
	int width;
	size_t from, to;
	const struct document *document;
	size_t n_document;
};
// Packs the parts into a block of its own, ids as narrow as n_vocab and end (both set) allow, and makes tokens that of
// the block.
void token_image_make(struct tokens *tokens, const struct token_range range[N_TOKEN_PART]);
// Takes the cached file of that key: 1 when tokens is now that of the mapped file, 0 when there is none that is whole.
int token_image_read(struct tokens *tokens, const char key[HASH_TEXT]);
// The folder of cached files, which may not be there yet, or NULL where the user has no place for one.
enum { CACHE_PATH = 4096 };
const char *token_image_folder(char out[CACHE_PATH]);
// Caches the block.
void token_image_write(const struct tokens *tokens, const char key[HASH_TEXT]);

#ifdef __cplusplus
}
#endif
#endif
