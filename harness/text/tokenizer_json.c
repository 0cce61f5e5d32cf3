// SPDX-License-Identifier: MIT
// tokenizer.json. What is not read here is refused by name: text tokenised in nearly the right way is worse than none.
#include <string.h>

#include "harness/base/utf8.h"
#include "harness/text/internal.h"

enum { SEQUENCE_DEEPEST = 4 };

// A step's type, and what reads it; each table ends with {0}.
struct step {
	const char *type;
	int (*read)(struct tokenizer *t, const struct doc *v, int depth, struct err *err);
};

static int refuse_type(
        const struct tokenizer *t, const struct doc *v, const struct step *steps, const char *which, struct err *err)
{
	char quoted[QUOTE_TEXT], known[128] = "";
	size_t n;
	const char *type = doc_text(doc_member(v, "type"), &n);
	for (const struct step *step = steps; step->type; step++) {
		strcat(known, step == steps ? "" : step[1].type ? ", " : " and ");
		strcat(known, step->type);
	}
	if (!type)
		return tokenizer_fail(t, err, "a %s without a 'type'", which);
	return tokenizer_fail(t, err, "%s '%s' is not read here (%s are)", which, text_quote(quoted, type, n), known);
}

static int read_step(struct tokenizer *t, const struct doc *v, const struct step *steps, const char *which, int depth,
        struct err *err)
{
	if (doc_kind(v) == DOC_NULL)
		return 0;
	if (depth > SEQUENCE_DEEPEST)
		return tokenizer_fail(t, err, "sequences within sequences, more than %d deep", SEQUENCE_DEEPEST);
	for (const struct step *step = steps; step->type; step++)
		if (doc_is(doc_member(v, "type"), step->type))
			return step->read(t, v, depth, err);
	return refuse_type(t, v, steps, which, err);
}

static int read_sequence(struct tokenizer *t, const struct doc *list, const struct step *steps, const char *which,
        int depth, struct err *err)
{
	for (size_t i = 0; i < doc_count(list); i++)
		if (read_step(t, doc_at(list, i), steps, which, depth + 1, err))
			return -1;
	return 0;
}

// --- normalizer

static int read_nfc(struct tokenizer *t, const struct doc *v, int depth, struct err *err)
{
	(void)v, (void)depth, (void)err;
	t->is_nfc = 1;
	return 0;
}

static int read_normalizers(struct tokenizer *t, const struct doc *v, int depth, struct err *err);
static const struct step normalizers[] = {{"NFC", read_nfc}, {"Sequence", read_normalizers}, {0}};

static int read_normalizers(struct tokenizer *t, const struct doc *v, int depth, struct err *err)
{
	return read_sequence(t, doc_member(v, "normalizers"), normalizers, "normalizer", depth, err);
}

// --- pre_tokenizer

static int add_pattern(struct tokenizer *t, const char *pattern, size_t n, int is_literal, int keep, struct err *err)
{
	struct err why = {0};
	if (split_add(t->split, pattern, n, is_literal, keep, &why))
		return tokenizer_fail(t, err, "%s", why.message);
	return 0;
}

static int read_byte_level(struct tokenizer *t, const struct doc *v, int depth, struct err *err)
{
	const struct doc *use = doc_member(v, "use_regex");
	t->is_spaced = doc_is_true(doc_member(v, "add_prefix_space"));
	if (t->is_spaced && depth)
		return tokenizer_fail(t, err, "ByteLevel with add_prefix_space within a Sequence is not read here");
	if (use && !doc_is_true(use))
		return 0;
	return add_pattern(
	        t, tokenizer_gpt2_pattern, strlen(tokenizer_gpt2_pattern), 0, SPLIT_MATCHES | SPLIT_GAPS, err);
}

static int read_split(struct tokenizer *t, const struct doc *v, int depth, struct err *err)
{
	(void)depth;
	const struct doc *pattern = doc_member(v, "pattern"), *behavior = doc_member(v, "behavior");
	const int is_inverted = doc_is_true(doc_member(v, "invert"));
	size_t n;
	const char *literal = doc_text(doc_member(pattern, "String"), &n);
	const char *text = literal ? literal : doc_text(doc_member(pattern, "Regex"), &n);
	if (!text)
		return tokenizer_fail(t, err, "a Split without a pattern");
	// Isolated keeps what matches and what does not, so inverting it changes nothing.
	if (doc_is(behavior, "Isolated"))
		return add_pattern(t, text, n, literal != NULL, SPLIT_MATCHES | SPLIT_GAPS, err);
	if (doc_is(behavior, "Removed"))
		return add_pattern(t, text, n, literal != NULL, is_inverted ? SPLIT_MATCHES : SPLIT_GAPS, err);
	return tokenizer_fail(t, err, "a Split with a behavior other than Isolated and Removed");
}

static int read_digits(struct tokenizer *t, const struct doc *v, int depth, struct err *err)
{
	(void)depth;
	const char *pattern = doc_is_true(doc_member(v, "individual_digits")) ? "\\p{N}" : "\\p{N}+";
	return add_pattern(t, pattern, strlen(pattern), 0, SPLIT_MATCHES | SPLIT_GAPS, err);
}

static int read_splits(struct tokenizer *t, const struct doc *v, int depth, struct err *err);
static const struct step splits[] = {
        {"ByteLevel", read_byte_level}, {"Split", read_split}, {"Digits", read_digits}, {"Sequence", read_splits}, {0}};

static int read_splits(struct tokenizer *t, const struct doc *v, int depth, struct err *err)
{
	return read_sequence(t, doc_member(v, "pretokenizers"), splits, "pre_tokenizer", depth, err);
}

// The last step must be ByteLevel: behind it a pattern would see the alphabet, and without it the tokens are not bytes.
static int ends_with_byte_level(const struct doc *v)
{
	for (int depth = 0; depth <= SEQUENCE_DEEPEST && doc_is(doc_member(v, "type"), "Sequence"); depth++) {
		const struct doc *list = doc_member(v, "pretokenizers");
		for (size_t i = 0; i + 1 < doc_count(list); i++)
			if (doc_is(doc_member(doc_at(list, i), "type"), "ByteLevel"))
				return 0;
		v = doc_count(list) ? doc_at(list, doc_count(list) - 1) : NULL;
	}
	return doc_is(doc_member(v, "type"), "ByteLevel");
}

// --- post_processor

static int read_pass(struct tokenizer *t, const struct doc *v, int depth, struct err *err)
{
	(void)t, (void)v, (void)depth, (void)err;
	return 0; // ByteLevel: moves offsets, adds nothing
}

static int put_ids(struct tokenizer *t, struct token_list *list, const struct doc *ids, struct err *err)
{
	for (size_t i = 0; i < doc_count(ids); i++) {
		long long id;
		if (doc_integer(doc_at(ids, i), &id) || !vocabulary_token(&t->vocabulary, id))
			return tokenizer_fail(t, err, "an id that no token has");
		if (list->n == TEMPLATE_MOST)
			return tokenizer_fail(t, err, "more than %d tokens around a text", TEMPLATE_MOST);
		list->id[list->n++] = (int)id;
	}
	return 0;
}

static int read_template(struct tokenizer *t, const struct doc *v, int depth, struct err *err)
{
	(void)depth;
	const struct doc *single = doc_member(v, "single"), *tokens = doc_member(v, "special_tokens");
	struct token_list *list = &t->before;
	for (size_t i = 0; i < doc_count(single); i++) {
		const struct doc *special = doc_member(doc_at(single, i), "SpecialToken");
		const char *name = doc_text(doc_member(special, "id"), NULL);
		if (!special) {
			list = &t->after;
			continue;
		}
		const struct doc *ids = name ? doc_member(doc_member(tokens, name), "ids") : NULL;
		if (doc_count(ids) == 0)
			return tokenizer_fail(t, err, "a token of the template is not among its special_tokens");
		if (put_ids(t, list, ids, err))
			return -1;
	}
	return 0;
}

static int read_processors(struct tokenizer *t, const struct doc *v, int depth, struct err *err);
static const struct step processors[] = {
        {"ByteLevel", read_pass}, {"TemplateProcessing", read_template}, {"Sequence", read_processors}, {0}};

static int read_processors(struct tokenizer *t, const struct doc *v, int depth, struct err *err)
{
	return read_sequence(t, doc_member(v, "processors"), processors, "post_processor", depth, err);
}

// --- model

static int read_vocabulary(struct tokenizer *t, const struct doc *vocabulary, const char *place, struct err *err)
{
	tokenizer_at(t, place, 0);
	if (doc_kind(vocabulary) != DOC_OBJECT)
		return tokenizer_fail(t, err, "not an object of tokens and their ids");
	for (struct doc_walk w = {vocabulary}; doc_next(&w);) {
		char quoted[QUOTE_TEXT];
		long long id;
		if (doc_integer(w.member, &id))
			return tokenizer_fail(t, err, "the id of token '%s' is not a whole number",
			        text_quote(quoted, w.key, w.key_length));
		if (tokenizer_put_spelled(t, id, w.key, w.key_length, err))
			return -1;
	}
	return 0;
}

static int read_merges(struct tokenizer *t, const struct doc *merges, struct err *err)
{
	tokenizer_at(t, "model.merges", 0);
	if (doc_kind(merges) != DOC_LIST)
		return tokenizer_fail(t, err, "not a list");
	for (size_t i = 0; i < doc_count(merges); i++) {
		const struct doc *merge = doc_at(merges, i);
		size_t n_left, n_right;
		const char *left = doc_text(doc_at(merge, 0), &n_left), *right = doc_text(doc_at(merge, 1), &n_right),
		           *line = doc_text(merge, &n_left);
		tokenizer_at(t, "model.merges[%zu]", i);
		if (!line && (!left || !right || doc_count(merge) != 2))
			return tokenizer_fail(t, err, "neither a text nor a list of two");
		if (!line)
			doc_text(doc_at(merge, 0), &n_left);
		if (line ? tokenizer_put_merge_line(t, line, n_left, err)
		         : tokenizer_put_merge(t, left, n_left, right, n_right, err))
			return -1;
	}
	return 0;
}

static int read_model(struct tokenizer *t, const struct doc *model, struct err *err)
{
	// Each changes what tokens there are; a file may say null, or the value that means nothing.
	static const char *const empty[] = {"continuing_subword_prefix", "end_of_word_suffix"};
	const struct doc *type = doc_member(model, "type"), *dropout = doc_member(model, "dropout");
	char quoted[QUOTE_TEXT];
	size_t n;
	tokenizer_at(t, "model", 0);
	if (doc_kind(model) != DOC_OBJECT)
		return tokenizer_fail(t, err, "not there (is this a tokenizer.json?)");
	if (type && !doc_is(type, "BPE")) {
		const char *text = doc_text(type, &n);
		return tokenizer_fail(
		        t, err, "type '%s' is not read here (BPE is)", text ? text_quote(quoted, text, n) : "");
	}
	for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++)
		if (doc_text(doc_member(model, empty[i]), &n) && n)
			return tokenizer_fail(t, err, "'%s' is not read here", empty[i]);
	if (doc_kind(dropout) != DOC_NULL)
		return tokenizer_fail(t, err, "'dropout' is not read here: merges would be left out at random");
	if (doc_is_true(doc_member(model, "byte_fallback")))
		return tokenizer_fail(t, err, "'byte_fallback' is not read here: byte-level BPE has no need of it");
	t->ignores_merges = doc_is_true(doc_member(model, "ignore_merges"));
	return read_vocabulary(t, doc_member(model, "vocab"), "model.vocab", err) ||
	                       read_merges(t, doc_member(model, "merges"), err)
	               ? -1
	               : 0;
}

int tokenizer_read_added(struct tokenizer *t, long long id, const struct doc *v, struct err *err)
{
	size_t n;
	const struct doc *normalized = doc_member(v, "normalized");
	const char *text = doc_text(doc_member(v, "content"), &n);
	if (id < 0 || id >= VOCABULARY_MOST)
		return tokenizer_fail(t, err, "id %lld is out of range (0 to %d)", id, VOCABULARY_MOST - 1);
	const struct added_token token = {
	        .id = (int)id,
	        .is_special = doc_is_true(doc_member(v, "special")),
	        .is_single_word = doc_is_true(doc_member(v, "single_word")),
	        .takes_left = doc_is_true(doc_member(v, "lstrip")),
	        .takes_right = doc_is_true(doc_member(v, "rstrip")),
	};
	if (!text)
		return tokenizer_fail(t, err, "an added token without 'content'");
	return tokenizer_put_added(t, text, n, &token, doc_is_true(normalized), err);
}

static int read_added_tokens(struct tokenizer *t, const struct doc *list, struct err *err)
{
	tokenizer_at(t, "added_tokens", 0);
	if (doc_kind(list) != DOC_NULL && doc_kind(list) != DOC_LIST)
		return tokenizer_fail(t, err, "not a list");
	for (size_t i = 0; i < doc_count(list); i++) {
		long long id;
		tokenizer_at(t, "added_tokens[%zu]", i);
		if (doc_integer(doc_member(doc_at(list, i), "id"), &id))
			return tokenizer_fail(t, err, "an added token without an 'id' that is a whole number");
		if (tokenizer_read_added(t, id, doc_at(list, i), err))
			return -1;
	}
	return 0;
}

static int read_steps(struct tokenizer *t, const struct doc *root, struct err *err)
{
	const struct doc *pre = doc_member(root, "pre_tokenizer");
	tokenizer_at(t, "normalizer", 0);
	if (read_step(t, doc_member(root, "normalizer"), normalizers, "normalizer", 0, err))
		return -1;
	tokenizer_at(t, "pre_tokenizer", 0);
	t->split = split_new(&t->arena);
	if (read_step(t, pre, splits, "pre_tokenizer", 0, err))
		return -1;
	if (!ends_with_byte_level(pre))
		return tokenizer_fail(t, err, "no ByteLevel at its end: only tokens made of bytes are read here");
	tokenizer_at(t, "post_processor", 0);
	return read_step(t, doc_member(root, "post_processor"), processors, "post_processor", 0, err);
}

static int read_root(struct tokenizer *t, const struct doc *root, struct err *err)
{
	const struct doc *model = doc_member(root, "model");
	if (doc_kind(root) != DOC_OBJECT)
		return tokenizer_fail(t, err, "not a JSON object");
	return read_model(t, model, err) || read_added_tokens(t, doc_member(root, "added_tokens"), err) ||
	                       read_steps(t, root, err)
	               ? -1
	               : 0;
}

int tokenizer_read_json(struct tokenizer *t, const char *text, size_t n, struct err *err)
{
	struct doc *root;
	if (doc_read(&root, t->path, text, n, DOC_ZERO_BYTES, err))
		return -1;
	const int rc = read_root(t, root, err);
	doc_free(root);
	return rc;
}

int tokenizer_read_vocabulary(struct tokenizer *t, const char *text, size_t n, struct err *err)
{
	struct doc *root;
	if (doc_read(&root, t->path, text, n, DOC_ZERO_BYTES, err))
		return -1;
	const int rc = read_vocabulary(t, root, "the vocabulary", err);
	doc_free(root);
	return rc;
}
