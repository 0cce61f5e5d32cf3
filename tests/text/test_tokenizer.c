// SPDX-License-Identifier: MIT
// Our own small tokenizers: the ids of the reference, any bytes there and back, the definition of merging, control
// tokens.
#include "harness/text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness/text/internal.h"
#include "tests/num/rig.h"
#include "tests/test.h"
#include "tests/text/golden.h"

static const char *const own[] = {
        "gpt2.json", "gpt_neox.json", "qwen2", "llama3.json", "smollm.json", "options.json", "scored.bin"};
enum { OWN = sizeof(own) / sizeof(own[0]), ROOM = 6000 };

static struct tokenizer *open_own(int i)
{
	char path[200];
	snprintf(path, sizeof(path), TOKENIZERS "%s", own[i]);
	return open_tokenizer(path, NULL);
}

static void ids_are_those_of_the_reference(void **state UNUSED)
{
	static const char *const no_families[] = {NULL};
	assert_int_equal(check_goldens(TOKENIZERS "goldens.txt", TOKENIZERS, no_families), 532);
}

static void any_bytes_come_back(void **state UNUSED)
{
	struct rng rng = rng_make(test_seed(), RNG_CHECK, 1);
	char *text = malloc(ROOM);
	for (int i = 0; i < OWN; i++) {
		struct tokenizer *t = open_own(i);
		struct encoder *e = encoder_new(t);
		for (int round = 0; round < 150; round++)
			check_round_trip(t, e, text, random_text(text, rng_below(&rng, ROOM - 100), &rng), 0);
		for (int first = 0; first < 256; first++)
			for (int second = 0; second < 256; second++) {
				const char two[] = {(char)first, (char)second};
				check_round_trip(t, e, two, 2, 0);
			}
		encoder_free(e);
		tokenizer_free(t);
	}
	free(text);
}

// The definition: of all neighbours the pair with the lowest rank, of equals the leftmost, one at a time.
static size_t merge_naively(const struct tokenizer *t, int *id, size_t n)
{
	for (;;) {
		const struct pair *best = NULL;
		size_t at = 0;
		for (size_t i = 0; i + 1 < n; i++) {
			const struct pair *pair = pair_map_get(&t->merges.pair, (uint32_t)id[i], (uint32_t)id[i + 1]);
			if (pair && (!best || pair->rank < best->rank)) {
				best = pair;
				at = i;
			}
		}
		if (!best)
			return n;
		id[at] = best->id;
		memmove(id + at + 1, id + at + 2, (n - at - 2) * sizeof(*id));
		n--;
	}
}

static void words_merge_as_defined(void **state UNUSED)
{
	struct rng rng = rng_make(test_seed(), RNG_CHECK, 2);
	for (int i = 0; i < OWN; i++) {
		struct tokenizer *t = open_own(i);
		struct merge_work work = {0};
		// Letters of the training text, so that there is much to merge.
		static const char letters[] = "thecaksyr nio\n";
		for (int round = 0; round < 3000 && !t->merges.is_by_character; round++) {
			char word[80];
			int id[80];
			struct token_ids ids = {0};
			const size_t n = 1 + rng_below(&rng, sizeof(word) - 1);
			for (size_t k = 0; k < n; k++) {
				word[k] = letters[rng_below(&rng, sizeof(letters) - 1)];
				id[k] = t->merges.byte_id[(unsigned char)word[k]];
			}
			assert_null(merge_word(&work, &t->merges, &t->vocabulary, word, n, &ids));
			const size_t n_id = merge_naively(t, id, n);
			assert_int_equal(ids.n, n_id);
			assert_memory_equal(ids.id, id, n_id * sizeof(*id));
			free(ids.id);
		}
		merge_work_release(&work);
		tokenizer_free(t);
	}
}

// Of this process: others may have the machine.
static double processor_s(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// A word as long as the text, of one letter and of two: what is quadratic anywhere takes minutes here.
static void a_megabyte_of_one_letter_is_no_attack(void **state UNUSED)
{
	enum { LONG = 1 << 20 };
	static const char *const fillings[] = {"e", "th", " ", "\n", "'", "9", "\xc3\xa9", "\xff", "\r\n", " \n"};
	char *text = malloc(LONG + 1);
	struct err err = {0};
	for (int i = 0; i < OWN; i++) {
		struct tokenizer *t = open_own(i);
		struct encoder *e = encoder_new(t);
		for (size_t f = 0; f < sizeof(fillings) / sizeof(fillings[0]); f++) {
			const size_t n = strlen(fillings[f]);
			for (size_t k = 0; k < LONG; k++)
				text[k] = fillings[f][k % n];
			text[LONG] = 'x'; // so that what looks ahead for the end of white space finds none
			struct token_ids ids = {0};
			const double start = processor_s();
			if (encoder_run(e, text, LONG + 1, 0, &ids, &err))
				fail_msg("%s", err.message);
			if (processor_s() - start > 20)
				fail_msg("%s: a megabyte of '%s' takes over 20 s", own[i], fillings[f]);
			free(ids.id);
		}
		encoder_free(e);
		tokenizer_free(t);
	}
	free(text);
}

static void encode(struct token_ids *ids, const struct tokenizer *t, const char *text, int flags)
{
	struct encoder *e = encoder_new(t);
	struct err err = {0};
	ids->n = 0;
	if (encoder_run(e, text, strlen(text), flags, ids, &err))
		fail_msg("%s", err.message);
	encoder_free(e);
}

static void control_tokens_are_found_where_asked_for(void **state UNUSED)
{
	struct token_ids ids = {0};
	struct tokenizer *t = open_tokenizer(TOKENIZERS "llama3.json", NULL);
	const int begin = tokenizer_id(t, "<|begin_of_text|>", 17), end = tokenizer_id(t, "<|endoftext|>", 13);
	assert_int_equal(tokenizer_bos(t), begin);
	assert_int_equal(tokenizer_eos(t), end);
	assert_true(begin >= 0 && end >= 0 && begin != end);
	encode(&ids, t, "a<|endoftext|>", 0);
	assert_true(ids.n > 2);
	encode(&ids, t, "a<|endoftext|>", ENCODE_SPECIAL);
	assert_int_equal(ids.n, 2);
	assert_int_equal(ids.id[1], end);
	encode(&ids, t, "", ENCODE_TEMPLATE);
	assert_int_equal(ids.n, 1);
	assert_int_equal(ids.id[0], begin);
	char *text;
	size_t n;
	struct err err = {0};
	encode(&ids, t, "a<|endoftext|>b", ENCODE_TEMPLATE | ENCODE_SPECIAL);
	assert_int_equal(tokenizer_decode(t, ids.id, ids.n, DECODE_NO_SPECIAL, &text, &n, &err), 0);
	assert_string_equal(text, "ab");
	free(text);
	assert_int_equal(tokenizer_decode(t, ids.id, ids.n, 0, &text, &n, &err), 0);
	assert_string_equal(text, "<|begin_of_text|>a<|endoftext|>b");
	free(text);
	tokenizer_free(t);
	t = open_tokenizer(TOKENIZERS "qwen2", NULL);
	assert_int_equal(tokenizer_eos(t), tokenizer_id(t, "<|endoftext|>", 13));
	assert_int_equal(tokenizer_bos(t), -1);
	assert_int_equal(tokenizer_n_vocab(t), tokenizer_id(t, "<|im_start|>", 12) + 1);
	tokenizer_free(t);
	free(ids.id);
}

// As llama2.c prints: the space that stands before a text is taken away at its start, after <s> too, and nowhere else.
static void the_space_before_scored_text_goes_away(void **state UNUSED)
{
	struct token_ids ids = {0};
	struct err err = {0};
	char *text;
	size_t n;
	struct tokenizer *t = open_tokenizer(TOKENIZERS "scored.bin", NULL);
	encode(&ids, t, "the", ENCODE_TEMPLATE);
	assert_int_equal(ids.n, 2);
	assert_int_equal(ids.id[0], 1);
	assert_int_equal(ids.id[1], tokenizer_id(t, " the", 4));
	const int32_t twice[] = {1, ids.id[1], ids.id[1]};
	assert_int_equal(tokenizer_decode(t, twice, 3, DECODE_NO_SPECIAL, &text, &n, &err), 0);
	assert_string_equal(text, "the the");
	free(text);
	tokenizer_free(t);
	free(ids.id);
}

static void normal_forms_are_of_the_family(void **state UNUSED)
{
	struct token_ids ids = {0}, composed = {0};
	struct tokenizer *t = open_tokenizer(TOKENIZERS "gpt_neox.json", NULL);
	encode(&ids, t, "e\xcc\x81", 0);
	encode(&composed, t, "\xc3\xa9", 0);
	assert_int_equal(ids.n, composed.n);
	assert_memory_equal(ids.id, composed.id, ids.n * sizeof(*ids.id));
	encode(&ids, t, "e\xcc\x81", ENCODE_EXACT);
	assert_true(ids.n != composed.n);
	tokenizer_free(t);
	free(ids.id);
	free(composed.id);
}

static void an_id_that_no_token_has_is_told(void **state UNUSED)
{
	struct tokenizer *t = open_own(0);
	const int32_t bad[] = {0, tokenizer_n_vocab(t)};
	const int32_t negative[] = {-1};
	struct err err = {0};
	struct decoder d;
	char *text;
	const char *piece;
	size_t n;
	assert_int_equal(tokenizer_decode(t, bad, 2, 0, &text, &n, &err), -1);
	assert_non_null(strstr(err.message, "gpt2.json: id"));
	assert_non_null(strstr(err.message, "out of range (0 to"));
	err_clear(&err);
	assert_int_equal(tokenizer_decode(t, negative, 1, 0, &text, &n, &err), -1);
	err_clear(&err);
	decoder_init(&d, t, 0);
	assert_int_equal(decoder_next(&d, 1LL << 40, &piece, &n, &err), -1);
	decoder_release(&d);
	tokenizer_free(t);
}

// More words than the cache holds: it is emptied, and ids stay the same.
static void a_full_cache_changes_nothing(void **state UNUSED)
{
	struct rng rng = rng_make(test_seed(), RNG_CHECK, 3);
	struct tokenizer *t = open_own(0);
	struct encoder *used = encoder_new(t);
	struct err err = {0};
	enum { WORDS = 300000, CHUNK = 1000 };
	for (int i = 0; i < WORDS / CHUNK; i++) {
		char text[16 * CHUNK];
		size_t n = 0;
		for (int k = 0; k < CHUNK; k++)
			n += (size_t)sprintf(text + n, " %c%c%cthe%c%c", 'a' + (char)rng_below(&rng, 26),
			        'a' + (char)rng_below(&rng, 26), 'a' + (char)rng_below(&rng, 26),
			        'a' + (char)rng_below(&rng, 26), 'a' + (char)rng_below(&rng, 26));
		struct token_ids a = {0}, b = {0};
		assert_int_equal(encoder_run(used, text, n, 0, &a, &err), 0);
		if (i % 10 == 0) {
			struct encoder *fresh = encoder_new(t);
			assert_int_equal(encoder_run(fresh, text, n, 0, &b, &err), 0);
			encoder_free(fresh);
			assert_int_equal(a.n, b.n);
			assert_memory_equal(a.id, b.id, a.n * sizeof(*a.id));
		}
		free(a.id);
		free(b.id);
	}
	encoder_free(used);
	tokenizer_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(ids_are_those_of_the_reference),
	        cmocka_unit_test(any_bytes_come_back),
	        cmocka_unit_test(words_merge_as_defined),
	        cmocka_unit_test(a_megabyte_of_one_letter_is_no_attack),
	        cmocka_unit_test(control_tokens_are_found_where_asked_for),
	        cmocka_unit_test(the_space_before_scored_text_goes_away),
	        cmocka_unit_test(normal_forms_are_of_the_family),
	        cmocka_unit_test(an_id_that_no_token_has_is_told),
	        cmocka_unit_test(a_full_cache_changes_nothing),
	};
	return cmocka_run_group_tests_name("tokenizer", tests, NULL, NULL);
}
