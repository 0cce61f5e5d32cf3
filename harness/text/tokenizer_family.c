// SPDX-License-Identifier: MIT
// How each family splits text into words, for vocabularies that do not say it themselves.
#include <string.h>

#include "harness/base/option.h"
#include "harness/text/internal.h"

enum { NAMES = 6, PATTERNS = 3 };

struct family {
	const char *names[NAMES];       // ours first; then model_type, tokenizer_class and GGUF's name
	const char *patterns[PATTERNS]; // ends with NULL
	int is_nfc, ignores_merges;
};

const char tokenizer_gpt2_pattern[] =
        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static const struct family families[] = {
        {{"gpt2", "gpt-2", "GPT2Tokenizer", "GPT2TokenizerFast"}, {tokenizer_gpt2_pattern}},
        {{"gpt_neox", "pythia", "GPTNeoXTokenizer", "GPTNeoXTokenizerFast"}, {tokenizer_gpt2_pattern}, .is_nfc = 1},
        {{"qwen2", "Qwen2Tokenizer", "Qwen2TokenizerFast"},
                {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
                 "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
                .is_nfc = 1},
        {{"llama3", "llama-bpe"},
                {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
                 "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
                .ignores_merges = 1},
        {{"smollm"}, {"\\p{N}", tokenizer_gpt2_pattern}},
};
enum { FAMILIES = sizeof(families) / sizeof(families[0]) };

const char *tokenizer_families(void)
{
	return "gpt2, gpt_neox, qwen2, llama3 or smollm";
}

int tokenizer_family_rules(struct split_rules *rules, const char *name)
{
	for (int i = 0; i < FAMILIES; i++)
		for (int n = 0; n < NAMES && families[i].names[n]; n++)
			if (strcmp(families[i].names[n], name) == 0) {
				*rules = (struct split_rules){
				        families[i].patterns, families[i].is_nfc, families[i].ignores_merges};
				return 0;
			}
	return -1;
}

int tokenizer_set_family(struct tokenizer *t, const char *name)
{
	struct err err = {0};
	struct split_rules rules;
	if (tokenizer_family_rules(&rules, name))
		return -1;
	t->split = split_new(&t->arena);
	for (const char *const *p = rules.patterns; *p; p++)
		if (split_add(t->split, *p, strlen(*p), 0, SPLIT_MATCHES | SPLIT_GAPS, &err))
			BUG("family %s: %s", name, err.message);
	t->is_nfc = rules.is_nfc;
	t->ignores_merges = rules.ignores_merges;
	return 0;
}
