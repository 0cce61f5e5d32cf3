// SPDX-License-Identifier: MIT
// Files that are no tokenizer, or not one that is read here: one sentence that names file and place.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/text/tokenizer.h"
#include "tests/test.h"

static char folder[] = "/tmp/kvlab_tokenizer_XXXXXX";
static char path[sizeof(folder) + 64];

static const char *write_file(const char *name, const char *text, size_t n)
{
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *out = fopen(path, "wb");
	assert_non_null(out);
	assert_int_equal(fwrite(text, 1, n, out), n);
	assert_int_equal(fclose(out), 0);
	return path;
}

static void assert_refused(const char *what, const char *family, const char *file, const char *message)
{
	struct tokenizer *t;
	struct err err = {0};
	if (tokenizer_open(&t, what, family, &err) == 0)
		fail_msg("accepted; expected: %s", message);
	if (!strstr(err.message, message) || !strstr(err.message, file))
		fail_msg("'%s' says neither '%s' nor where ('%s')", err.message, message, file);
	assert_null(strchr(err.message, '\n'));
	assert_false(err.is_fault);
}

#define MODEL "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]}"
#define BYTE_LEVEL "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false}"
#define STEP(name, json) "{" MODEL ",\"" name "\":" json "}"
#define VOCAB(json) "{\"model\":{\"vocab\":" json ",\"merges\":[]}," BYTE_LEVEL "}"
#define MERGES(json) "{\"model\":{\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":" json "}," BYTE_LEVEL "}"
#define ADDED(json) "{" MODEL "," BYTE_LEVEL ",\"added_tokens\":" json "}"
#define SPLIT(pattern, behavior)                                                                                       \
	STEP("pre_tokenizer", "{\"type\":\"Split\",\"pattern\":" pattern ",\"behavior\":\"" behavior "\"}")

static const struct {
	const char *json, *message;
} rows[] = {
        {"", ":1:0: ends too early (truncated?)"},
        {"{\"model\":", ":1:9: ends too early (truncated?)"},
        {"\xff\xfe", "is not UTF-8"},
        {"{\"a\":1,\"a\":2}", "the same key twice in one object"},
        {"[]", "not a JSON object"},
        {"{}", "model: not there"},
        {"{\"a\":0}", "model: not there"},
        {"{\"model\":[]}", "model: not there"},
        {"{\"model\":{\"type\":\"Unigram\"}}", "model: type 'Unigram' is not read here"},
        {"{\"model\":{\"type\":\"BPE\",\"end_of_word_suffix\":\"</w>\"}}", "model: 'end_of_word_suffix' is not read"},
        {"{\"model\":{\"dropout\":0.1}}", "model: 'dropout' is not read"},
        {"{\"model\":{\"byte_fallback\":true}}", "model: 'byte_fallback' is not read"},
        {"{\"model\":{}}", "model.vocab: not an object"},
        {VOCAB("{}"), "no tokens"},
        {VOCAB("{\"a\":\"0\"}"), "model.vocab: the id of token 'a' is not a whole number"},
        {VOCAB("{\"a\":0.5}"), "model.vocab: the id of token 'a' is not a whole number"},
        {VOCAB("{\"a\":-1}"), "model.vocab: id -1 of token 'a' is out of range"},
        {VOCAB("{\"a\":4294967296}"), "model.vocab: id 4294967296 of token 'a' is out of range"},
        {VOCAB("{\"a\":99999999999999999999}"), "a number that is too large"},
        {VOCAB("{\"a\":0,\"b\":0}"), "model.vocab: token 'b' has id 0, as 'a' has"},
        {VOCAB("{\"\\u001b[2J\":0,\"b\":0}"), "as '\\x1b[2J' has"},
        {MERGES("{}"), "model.merges: not a list"},
        {MERGES("[7]"), "model.merges[0]: neither a text nor a list of two"},
        {MERGES("[\"a b\",[\"a\"]]"), "model.merges[1]: neither a text nor a list of two"},
        {MERGES("[[\"a\",\"b\",\"a\"]]"), "model.merges[0]: neither"},
        {MERGES("[\"a b\",\"ab\"]"), "model.merges[1]: 'ab' is not two tokens"},
        {MERGES("[\"a b c\"]"), "model.merges[0]: 'a b c' is not two tokens"},
        {MERGES("[\" b\"]"), "model.merges[0]: ' b' is not two tokens"},
        {MERGES("[[\"\",\"b\"]]"), "model.merges[0]: merge of '' and 'b': '' is not in the vocabulary"},
        {MERGES("[\"c b\"]"), "model.merges[0]: merge of 'c' and 'b': 'c' is not in the vocabulary"},
        {MERGES("[[\"a\",\"c\"]]"), "model.merges[0]: merge of 'a' and 'c': 'c' is not in the vocabulary"},
        {MERGES("[\"b a\"]"), "what they make is not in the vocabulary"},
        {ADDED("{}"), "added_tokens: not a list"},
        {ADDED("[{\"content\":\"x\"}]"), "added_tokens[0]: an added token without an 'id'"},
        {ADDED("[{\"id\":5}]"), "added_tokens[0]: an added token without 'content'"},
        {ADDED("[{\"id\":5,\"content\":\"\"}]"), "added_tokens[0]: added token 5 is empty"},
        {ADDED("[{\"id\":1,\"content\":\"x\"}]"), "added_tokens[0]: added token 'x' has id 1, as 'b' has"},
        {ADDED("[{\"id\":1099511627776,\"content\":\"x\"}]"), "added_tokens[0]: id 1099511627776 is out of range"},
        {STEP("normalizer", "{\"type\":\"NFKC\"}"), "normalizer: normalizer 'NFKC' is not read here (NFC and Sequence"},
        {STEP("normalizer", "{}"), "normalizer: a normalizer without a 'type'"},
        {"{" MODEL "}", "pre_tokenizer: no ByteLevel"},
        {STEP("pre_tokenizer", "{\"type\":\"Whitespace\"}"), "pre_tokenizer 'Whitespace' is not read here"},
        {STEP("pre_tokenizer", "{\"type\":\"Digits\"}"), "pre_tokenizer: no ByteLevel"},
        {STEP("pre_tokenizer",
                 "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"ByteLevel\"},{\"type\":\"Digits\"}]}"),
                "pre_tokenizer: no ByteLevel at its end"},
        {STEP("pre_tokenizer",
                 "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\"},{\"type\":\"ByteLevel\","
                 "\"add_prefix_space\":true}]}"),
                "add_prefix_space within a Sequence"},
        {SPLIT("{\"Regex\":\"(\"}", "Isolated"), "pre_tokenizer: pattern '(': missing closing parenthesis at byte 1"},
        {SPLIT("{\"Regex\":\"[a&&[b]]\"}", "Isolated"), "pre_tokenizer: pattern '[a&&[b]]'"},
        {SPLIT("{\"Regex\":\"\\\\h\"}", "Isolated"), "pre_tokenizer: pattern '\\h'"},
        {SPLIT("{}", "Isolated"), "pre_tokenizer: a Split without a pattern"},
        {SPLIT("{\"Regex\":\"a\"}", "MergedWithNext"), "pre_tokenizer: a Split with a behavior other"},
        {"{" MODEL "," BYTE_LEVEL ",\"post_processor\":{\"type\":\"BertProcessing\"}}",
                "post_processor: post_processor 'BertProcessing' is not read here"},
        {"{" MODEL "," BYTE_LEVEL ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":"
         "{\"id\":\"x\"}}],\"special_tokens\":{}}}",
                "post_processor: a token of the template is not among"},
        {"{" MODEL "," BYTE_LEVEL ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":"
         "{\"id\":\"x\"}}],\"special_tokens\":{\"x\":{\"ids\":[77]}}}}",
                "post_processor: an id that no token has"},
};

static void a_bad_tokenizer_json_is_refused(void **state UNUSED)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_refused(write_file("tokenizer.json", rows[i].json, strlen(rows[i].json)), NULL, "tokenizer.json",
		        rows[i].message);
	assert_refused(folder, NULL, "tokenizer.json", rows[sizeof(rows) / sizeof(rows[0]) - 1].message);
	assert_int_equal(remove(path), 0);
}

// Deep nesting must not go deep into our stack either.
static void deep_files_are_refused(void **state UNUSED)
{
	enum { DEEP = 1500 };
	static const char open[] = "{\"type\":\"Sequence\",\"pretokenizers\":[", close[] = "]}";
	char *text = malloc(DEEP * (sizeof(open) + sizeof(close)) + 1000);
	size_t n = (size_t)sprintf(text, "{%s,\"pre_tokenizer\":", MODEL);
	for (int i = 0; i < DEEP / 2; i++)
		n += (size_t)sprintf(text + n, "%s", open);
	n += (size_t)sprintf(text + n, "{\"type\":\"ByteLevel\"}");
	for (int i = 0; i < DEEP / 2; i++)
		n += (size_t)sprintf(text + n, "%s", close);
	n += (size_t)sprintf(text + n, "}");
	assert_refused(write_file("tokenizer.json", text, n), NULL, "tokenizer.json", "sequences within sequences");
	memset(text, '[', DEEP * 20);
	assert_refused(write_file("tokenizer.json", text, DEEP * 20), NULL, "tokenizer.json", "nested too deep");
	assert_int_equal(remove(path), 0);
	free(text);
}

static void vocabulary_and_merges_are_named_apart(void **state UNUSED)
{
	static const char vocab[] = "{\"a\":0,\"b\":1,\"ab\":2}", merges[] = "#version: 0.2\na b\n\na c\n";
	assert_refused(folder, NULL, folder, "no tokenizer in this folder");
	write_file("vocab.json", vocab, sizeof(vocab) - 1);
	assert_refused(folder, NULL, folder, "no tokenizer in this folder");
	assert_refused(path, NULL, "vocab.json", "model: not there");
	write_file("merges.txt", merges, sizeof(merges) - 1);
	assert_refused(folder, "gpt2", "merges.txt", "line 4: merge of 'a' and 'c': 'c' is not in the vocabulary");
	write_file("merges.txt", merges, sizeof(merges) - 6);
	assert_refused(folder, NULL, folder, "name the family (gpt2, ");
	assert_refused(folder, "gpt5", "gpt5", "not known: gpt2, ");
	write_file("config.json", "{\"model_type\":\"bert\"}", 21);
	assert_refused(folder, NULL, folder, "name the family");
	write_file("config.json", "{", 1);
	assert_refused(folder, NULL, "config.json", "ends too early");
	write_file("config.json", "{\"model_type\":\"qwen2\"}", 22);
	struct tokenizer *t;
	struct err err = {0};
	if (tokenizer_open(&t, folder, NULL, &err))
		fail_msg("%s", err.message);
	struct encoder *e = encoder_new(t);
	struct token_ids ids = {0};
	assert_int_equal(encoder_run(e, "abba", 4, 0, &ids, &err), 0);
	const int32_t expected[] = {2, 1, 0};
	assert_int_equal(ids.n, 3);
	assert_memory_equal(ids.id, expected, sizeof(expected));
	// A byte without a token; what was there before stays.
	assert_int_equal(encoder_run(e, "ab abc", 6, 0, &ids, &err), -1);
	assert_int_equal(ids.n, 3);
	assert_non_null(strstr(err.message, "merges.txt: the vocabulary has no token for byte 0x20"));
	encoder_free(e);
	free(ids.id);
	tokenizer_free(t);
	write_file("tokenizer_config.json", "{\"added_tokens_decoder\":{\"x\":{}}}", 33);
	assert_refused(folder, NULL, "tokenizer_config.json", "added_tokens_decoder: a key that is no id");
	remove(path);
	for (int i = 0; i < 3; i++)
		remove(write_file(((const char *const[]){"vocab.json", "merges.txt", "config.json"})[i], "", 0));
}

static void a_pattern_that_explodes_is_told(void **state UNUSED)
{
	static const char json[] = SPLIT("{\"Regex\":\"(a+)+$\"}", "Isolated");
	char text[sizeof(json) + 100];
	// The pattern alone, and ByteLevel behind it.
	const char *at = strstr(json, "{\"type\":\"Split\"");
	const int n = sprintf(text,
	        "%.*s{\"type\":\"Sequence\",\"pretokenizers\":[%.*s,{\"type\":\"ByteLevel\",\"use_regex\":false}]}}",
	        (int)(at - json), json, (int)(strlen(at) - 1), at);
	struct tokenizer *t;
	struct err err = {0};
	if (tokenizer_open(&t, write_file("tokenizer.json", text, (size_t)n), NULL, &err))
		fail_msg("%s", err.message);
	struct encoder *e = encoder_new(t);
	struct token_ids ids = {0};
	assert_int_equal(encoder_run(e, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", 42, 0, &ids, &err), -1);
	assert_non_null(strstr(err.message, "the pattern that splits text gives up at 'aaaa"));
	encoder_free(e);
	free(ids.id);
	tokenizer_free(t);
	remove(path);
}

struct bin {
	char data[8192];
	size_t n;
};

static void add(struct bin *b, const void *data, size_t n)
{
	memcpy(b->data + b->n, data, n);
	b->n += n;
}

static void add_token(struct bin *b, float score, uint32_t length, const char *text)
{
	add(b, &score, 4);
	add(b, &length, 4);
	add(b, text, strlen(text));
}

static void begin_bin(struct bin *b, int n_token)
{
	const uint32_t longest = 7;
	b->n = 0;
	add(b, &longest, 4);
	for (int i = 0; i < n_token; i++)
		add_token(b, 0, 2, "xx");
}

static void a_bad_llama2c_file_is_refused(void **state UNUSED)
{
	struct bin b;
	const float no_number = __builtin_nanf("");
	const uint32_t two = 2;
	assert_refused(write_file("x.bin", "", 0), NULL, "x.bin", "not a llama2.c tokenizer");
	assert_refused(write_file("x.bin", "\xff\xff\xff\xff", 4), NULL, "x.bin", "not a llama2.c tokenizer");
	begin_bin(&b, 259);
	assert_refused(write_file("x.bin", b.data, b.n), NULL, "x.bin: token 258", "256 bytes and a piece");
	assert_refused(write_file("x.bin", b.data, b.n - 1), NULL, "x.bin: token 258", "the file ends within it");
	add_token(&b, 0, 1000, "a");
	assert_refused(write_file("x.bin", b.data, b.n), NULL, "x.bin: token 259", "the file ends within it");
	begin_bin(&b, 259);
	add_token(&b, 0, 4294967295u, "a");
	assert_refused(write_file("x.bin", b.data, b.n), NULL, "x.bin: token 259", "the file ends within it");
	begin_bin(&b, 259);
	add_token(&b, 0, 1000, "a");
	memset(b.data + b.n, 'a', 1000);
	assert_refused(write_file("x.bin", b.data, b.n + 999), NULL, "x.bin: token 259", "1000 bytes (at most 512)");
	begin_bin(&b, 259);
	add_token(&b, no_number, two, "ab");
	assert_refused(write_file("x.bin", b.data, b.n), NULL, "x.bin: token 259", "its score is not a number");
	begin_bin(&b, 260);
	add_token(&b, 0, two, "xx");
	assert_refused(write_file("x.bin", b.data, b.n), NULL, "x.bin: token 260", "a second piece 'xx'");
	remove(path);
}

static void what_is_not_there_is_told(void **state UNUSED)
{
	assert_refused("/nowhere/model", NULL, "/nowhere/model", "No such file");
	assert_refused(write_file("tokenizer.json", "{}", 2), "gpt2", "tokenizer.json", "a family is named for");
	remove(path);
}

static int make_folder(void **state UNUSED)
{
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state UNUSED)
{
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_bad_tokenizer_json_is_refused),
	        cmocka_unit_test(deep_files_are_refused),
	        cmocka_unit_test(vocabulary_and_merges_are_named_apart),
	        cmocka_unit_test(a_pattern_that_explodes_is_told),
	        cmocka_unit_test(a_bad_llama2c_file_is_refused),
	        cmocka_unit_test(what_is_not_there_is_told),
	};
	return cmocka_run_group_tests_name("bad tokenizers", tests, make_folder, remove_folder);
}
