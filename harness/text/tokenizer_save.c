// SPDX-License-Identifier: MIT
#include "harness/text/tokenizer_save.h"

#include <string.h>

#include "harness/base/json.h"
#include "harness/text/internal.h"

static void print_text(FILE *out, const char *text)
{
	json_print_text(out, text, strlen(text));
}

static const char *truth(int is_true)
{
	return is_true ? "true" : "false";
}

static void print_added(FILE *out, const struct tokenizer_parts *p)
{
	const char *gap = "";
	fputs("  \"added_tokens\": [", out);
	for (int i = 0; i < p->n_token; i++) {
		if (!p->is_added[i])
			continue;
		fprintf(out, "%s\n    {\"id\": %d, \"content\": ", gap, i);
		print_text(out, p->token[i]);
		fprintf(out,
		        ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, "
		        "\"special\": %s}",
		        truth(p->is_special[i]));
		gap = ",";
	}
	fputs("\n  ],\n", out);
}

static void print_splits(FILE *out, const char *const *pattern)
{
	fputs("  \"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [\n", out);
	for (; *pattern; pattern++) {
		fputs("    {\"type\": \"Split\", \"pattern\": {\"Regex\": ", out);
		print_text(out, *pattern);
		fputs("}, \"behavior\": \"Isolated\", \"invert\": false},\n", out);
	}
	fputs("    {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, \"use_regex\": "
	      "false}\n"
	      "  ]},\n",
	        out);
}

static void print_template(FILE *out, const struct tokenizer_parts *p)
{
	if (!p->puts_bos || p->bos < 0) {
		fputs("  \"post_processor\": null,\n", out);
		return;
	}
	const char *bos = p->token[p->bos];
	fputs("  \"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": ",
	        out);
	print_text(out, bos);
	fputs(", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}], \"pair\": [{\"Sequence\": "
	      "{\"id\": "
	      "\"A\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"B\", \"type_id\": 1}}], \"special_tokens\": {",
	        out);
	print_text(out, bos);
	fputs(": {\"id\": ", out);
	print_text(out, bos);
	fprintf(out, ", \"ids\": [%d], \"tokens\": [", p->bos);
	print_text(out, bos);
	fputs("]}}},\n", out);
}

// The alphabet spells these characters as themselves.
static int is_spelled_alike(const char *text)
{
	while (*text > ' ' && *text < 0x7f)
		text++;
	return *text == '\0';
}

static void print_model(FILE *out, const struct tokenizer_parts *p, int ignores_merges)
{
	const char *gap = "";
	fprintf(out,
	        "  \"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": null, "
	        "\"continuing_subword_prefix\": "
	        "null, \"end_of_word_suffix\": null, \"fuse_unk\": false, \"byte_fallback\": false, \"ignore_merges\": "
	        "%s,\n  \"vocab\": {",
	        truth(ignores_merges));
	for (int i = 0; i < p->n_token; i++) {
		if (p->is_added[i] && !is_spelled_alike(p->token[i]))
			continue;
		fputs(gap, out);
		print_text(out, p->token[i]);
		fprintf(out, ": %d", i);
		gap = ",\n";
	}
	fputs("},\n  \"merges\": [", out);
	gap = "";
	for (int i = 0; i < p->n_merge; i++) {
		fputs(gap, out);
		print_text(out, p->merge[i]);
		gap = ",\n";
	}
	fputs("]}\n}\n", out);
}

int tokenizer_print(FILE *out, const struct tokenizer_parts *p, struct err *err)
{
	struct split_rules rules;
	if (tokenizer_family_rules(&rules, p->family))
		return err_set(err, "text split as '%s' is not known here: %s are", p->family, tokenizer_families());
	fputs("{\n  \"version\": \"1.0\", \"truncation\": null, \"padding\": null,\n", out);
	print_added(out, p);
	fprintf(out, "  \"normalizer\": %s,\n", rules.is_nfc ? "{\"type\": \"NFC\"}" : "null");
	print_splits(out, rules.patterns);
	print_template(out, p);
	fputs("  \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, \"trim_offsets\": true, "
	      "\"use_regex\": "
	      "true},\n",
	        out);
	print_model(out, p, rules.ignores_merges);
	return 0;
}

void tokenizer_print_config(FILE *out, const struct tokenizer_parts *p)
{
	fputs("{\"tokenizer_class\": \"PreTrainedTokenizerFast\"", out);
	if (p->bos >= 0) {
		fputs(", \"bos_token\": ", out);
		print_text(out, p->token[p->bos]);
	}
	if (p->eos >= 0) {
		fputs(", \"eos_token\": ", out);
		print_text(out, p->token[p->eos]);
	}
	fputs("}\n", out);
}
