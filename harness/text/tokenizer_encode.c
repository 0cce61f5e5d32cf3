// SPDX-License-Identifier: MIT
// Text to ids: added tokens, normal form, words, and for each word a look into the cache before it is merged.
#include <stdlib.h>
#include <string.h>

#include "harness/base/hash.h"
#include "harness/base/utf8.h"
#include "harness/text/internal.h"
#include "harness/text/nfc.h"

// Words that were merged before. English text finds 19 of 20 here; emptied when full.
enum { CACHE_SLOTS = 1 << 16, POOL_FIRST = 1 << 12, POOL_MOST = 1 << 20, CACHED_MOST = 64 };

struct cached {
	uint32_t hash, at; // at: in the pool, ids and then text
	uint16_t length, n_id;
};

struct cache {
	struct cached *slot; // length 0: empty
	int32_t *pool;
	size_t n_word, n_pool, pool_room;
};

struct encoder {
	const struct tokenizer *t;
	struct cache cache;
	struct merge_work merge;
	struct split_work *split;
	struct nfc_work nfc;
	char *spaced; // text with a space before it
	size_t spaced_room;

	// Of the run:
	int flags;
	struct token_ids *ids;
	struct err *err;
};

static void *allocate(size_t n, size_t size)
{
	void *memory = calloc(n, size);
	if (!memory)
		die_no_memory(n * size);
	return memory;
}

struct encoder *encoder_new(const struct tokenizer *tokenizer)
{
	struct encoder *e = allocate(1, sizeof(*e));
	e->t = tokenizer;
	e->cache.slot = allocate(CACHE_SLOTS, sizeof(*e->cache.slot));
	if (tokenizer->split)
		e->split = split_work_new(tokenizer->split);
	return e;
}

void encoder_free(struct encoder *e)
{
	if (!e)
		return;
	free(e->cache.slot);
	free(e->cache.pool);
	free(e->spaced);
	merge_work_release(&e->merge);
	nfc_work_release(&e->nfc);
	split_work_free(e->split);
	free(e);
}

static int merge(struct encoder *e, const char *text, size_t n)
{
	const struct tokenizer *t = e->t;
	const int id = t->ignores_merges ? vocabulary_find(&t->vocabulary, text, n) : -1;
	if (id >= 0) {
		token_ids_push(e->ids, id);
		return 0;
	}
	const char *bad = merge_word(&e->merge, &t->merges, &t->vocabulary, text, n, e->ids);
	if (!bad)
		return 0;
	char quoted[QUOTE_TEXT];
	return err_set(e->err, "%s: the vocabulary has no token for byte 0x%02x in '%s' of the text", t->path,
	        (unsigned char)*bad, text_quote(quoted, text, n));
}

// Where the word is in the cache, or the empty slot where it belongs.
static struct cached *find(const struct cache *cache, uint32_t hash, const char *text, size_t n)
{
	for (size_t i = hash & (CACHE_SLOTS - 1);; i = (i + 1) & (CACHE_SLOTS - 1)) {
		struct cached *slot = &cache->slot[i];
		if (slot->length == 0 || (slot->hash == hash && slot->length == n &&
		                                 memcmp(cache->pool + slot->at + slot->n_id, text, n) == 0))
			return slot;
	}
}

static int word(void *arg, const char *text, size_t n)
{
	struct encoder *e = arg;
	struct cache *cache = &e->cache;
	if (n > CACHED_MOST)
		return merge(e, text, n);
	const uint32_t hash = (uint32_t)hash_u64(text, n);
	struct cached *slot = find(cache, hash, text, n);
	if (slot->length) {
		token_ids_reserve(e->ids, slot->n_id);
		for (int i = 0; i < slot->n_id; i++)
			e->ids->id[e->ids->n++] = cache->pool[slot->at + (uint32_t)i];
		return 0;
	}
	const size_t first = e->ids->n;
	if (merge(e, text, n))
		return -1;
	const size_t n_id = e->ids->n - first, n_int = n_id + (n + 3) / 4;
	if (cache->n_pool + n_int > POOL_MOST || 2 * (cache->n_word + 1) > CACHE_SLOTS) {
		memset(cache->slot, 0, CACHE_SLOTS * sizeof(*cache->slot));
		cache->n_word = cache->n_pool = 0;
		slot = find(cache, hash, text, n);
	}
	if (cache->n_pool + n_int > cache->pool_room) {
		cache->pool_room = cache->pool_room ? 2 * cache->pool_room : POOL_FIRST;
		cache->pool = realloc(cache->pool, cache->pool_room * sizeof(*cache->pool));
		if (!cache->pool)
			die_no_memory(cache->pool_room * sizeof(*cache->pool));
	}
	*slot = (struct cached){hash, (uint32_t)cache->n_pool, (uint16_t)n, (uint16_t)n_id};
	memcpy(cache->pool + cache->n_pool, e->ids->id + first, n_id * sizeof(int32_t));
	memcpy(cache->pool + cache->n_pool + n_id, text, n);
	cache->n_pool += n_int;
	cache->n_word++;
	return 0;
}

// Scored pieces: no merge goes over two bytes that stand together in no piece, so text is cut there. The ids are those
// of the whole, the words short, and the cache good for them.
static int cut_pieces(struct encoder *e, const char *text, size_t n)
{
	size_t start = 0;
	for (size_t at = 1; at < n; at++) {
		const unsigned first = (unsigned char)text[at - 1], second = (unsigned char)text[at];
		if ((second & 0xc0) == 0x80 || e->t->joins[first << 5 | second >> 3] >> (second & 7) & 1)
			continue;
		if (word(e, text + start, at - start))
			return -1;
		start = at;
	}
	return n ? word(e, text + start, n - start) : 0;
}

// Text without added tokens. Patterns see characters; a run of bytes that are none is a word.
static int encode_plain(struct encoder *e, const char *text, size_t n)
{
	if (!e->split)
		return cut_pieces(e, text, n);
	for (size_t at = 0, end; at < n; at = end) {
		end = at + utf8_valid(text + at, n - at);
		if (end > at && split_run(e->split, text + at, end - at, word, e, e->err))
			return -1;
		if (end > at)
			continue;
		while (end < n && utf8_length(text + end, n - end) == 0)
			end++;
		if (word(e, text + at, end - at))
			return -1;
	}
	return 0;
}

static const char *with_space(struct encoder *e, const char *text, size_t *n)
{
	if (*n + 1 > e->spaced_room) {
		free(e->spaced);
		e->spaced_room = 2 * (*n + 1);
		e->spaced = allocate(e->spaced_room, 1);
	}
	e->spaced[0] = ' ';
	memcpy(e->spaced + 1, text, *n);
	++*n;
	return e->spaced;
}

static int encode_spaced(struct encoder *e, const char *text, size_t n)
{
	if (n && ((e->t->is_spaced && text[0] != ' ' && !(e->flags & ENCODE_EXACT)) || e->t->is_always_spaced))
		text = with_space(e, text, &n);
	return encode_plain(e, text, n);
}

// Cuts text at the added tokens of a set; `rest` gets what is between.
static int cut_added(struct encoder *e, const struct added_set *set, const char *text, size_t n,
        int (*rest)(struct encoder *e, const char *text, size_t n))
{
	const int mode = (e->flags & ENCODE_SPECIAL ? ADDED_SPECIAL : 0) | (e->flags & ENCODE_EXACT ? ADDED_EXACT : 0);
	struct added_match match;
	size_t from = 0;
	for (; added_find(set, text, n, from, mode, &match); from = match.end) {
		if (match.start > from && rest(e, text + from, match.start - from))
			return -1;
		token_ids_push(e->ids, match.id);
	}
	return from < n ? rest(e, text + from, n - from) : 0;
}

static int encode_normal(struct encoder *e, const char *text, size_t n)
{
	if (e->t->is_nfc && !(e->flags & ENCODE_EXACT))
		text = nfc(&e->nfc, text, &n);
	return cut_added(e, &e->t->added_normal, text, n, encode_spaced);
}

static void put_list(struct token_ids *ids, const struct token_list *list)
{
	for (int i = 0; i < list->n; i++)
		token_ids_push(ids, list->id[i]);
}

int encoder_run(struct encoder *e, const char *text, size_t n, int flags, struct token_ids *ids, struct err *err)
{
	const size_t n_before = ids->n;
	enum { TEXT_MOST = 1 << 30 };
	if (n > TEXT_MOST)
		return err_set(err, "a text of %zu bytes (at most %d): cut it into documents", n, TEXT_MOST);
	e->flags = flags;
	e->ids = ids;
	e->err = err;
	if (flags & ENCODE_TEMPLATE)
		put_list(ids, &e->t->before);
	if (cut_added(e, &e->t->added, text, n, encode_normal)) {
		ids->n = n_before;
		return -1;
	}
	if (flags & ENCODE_TEMPLATE)
		put_list(ids, &e->t->after);
	return 0;
}
