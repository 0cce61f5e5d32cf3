// SPDX-License-Identifier: MIT
#define PCRE2_CODE_UNIT_WIDTH 8
#include "harness/text/split.h"

#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/base/utf8.h"

enum {
	STAGES = 8,
	STEPS_MOST = 5000000, // of one match; text of the families needs a few per byte of a word
	HEAP_KIB_MOST = 64 << 10,
	STACK_FIRST = 32 << 10,
	STACK_MOST = 4 << 20,
	PATTERN_MOST = 1 << 16,
};

struct stage {
	pcre2_code *code;
	int keep;
};

struct split {
	struct arena *arena;
	struct stage stage[STAGES];
	int n_stage;
};

struct split_work {
	const struct split *split;
	pcre2_match_data *match;
	pcre2_match_context *context;
	pcre2_jit_stack *stack;
	int (*word)(void *arg, const char *text, size_t n);
	void *arg;
	struct err *err;
};

struct split *split_new(struct arena *arena)
{
	struct split *split = arena_zalloc(arena, sizeof(*split));
	split->arena = arena;
	return split;
}

void split_free(struct split *split)
{
	for (int i = 0; split && i < split->n_stage; i++)
		pcre2_code_free(split->stage[i].code);
}

// Writes \s and \S out; within a class \S cannot be, and stays. NULL where the pattern has what Oniguruma reads in
// another way than PCRE2: a class within a class, \h.
static char *with_own_space(struct arena *arena, const char *pattern, size_t n, size_t *length)
{
	static const char space[] = "\\t-\\r\\x{85}\\p{Z}";
	char *out = arena_alloc(arena, n * (sizeof(space) + 2) + 1);
	size_t at = 0, class_start = 0; // 0: not in a class, else where its first member is
	for (size_t i = 0; i < n; i++) {
		const char c = pattern[i], escaped = c == '\\' && i + 1 < n ? pattern[i + 1] : '\0';
		if (escaped == 'h' || escaped == 'H' || (class_start && c == '['))
			return NULL;
		if (escaped == 's' || (escaped == 'S' && !class_start)) {
			at += (size_t)sprintf(
			        out + at, class_start ? "%s%s" : "[%s%s]", escaped == 'S' ? "^" : "", space);
			i++;
			continue;
		}
		if (escaped)
			out[at++] = pattern[i++];
		else if (c == '[')
			class_start = i + 1 + (i + 1 < n && pattern[i + 1] == '^');
		else if (c == ']' && i != class_start)
			class_start = 0;
		out[at++] = pattern[i];
	}
	*length = at;
	return out;
}

int split_add(struct split *split, const char *pattern, size_t length, int is_literal, int keep, struct err *err)
{
	PCRE2_UCHAR why[256];
	PCRE2_SIZE where;
	int code;
	if (split->n_stage == STAGES)
		return err_set(err, "more than %d patterns", STAGES);
	if (length > PATTERN_MOST)
		return err_set(err, "a pattern of %zu bytes (at most %d)", length, PATTERN_MOST);
	struct stage *stage = &split->stage[split->n_stage];
	const char *text = is_literal ? pattern : with_own_space(split->arena, pattern, length, &length);
	char quoted[QUOTE_TEXT];
	if (!text)
		return err_set(err, "pattern '%s': \\h and a class within a class are not read here",
		        text_quote(quoted, pattern, length));
	stage->keep = keep;
	stage->code = pcre2_compile((PCRE2_SPTR)text, length,
	        PCRE2_UTF | (is_literal ? PCRE2_LITERAL : PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C), &code, &where, NULL);
	if (!stage->code) {
		pcre2_get_error_message(code, why, sizeof(why));
		return err_set(
		        err, "pattern '%s': %s at byte %zu", text_quote(quoted, text, length), (char *)why, where);
	}
	split->n_stage++;
	// Where a hardened kernel allows no new code in memory, matching goes on without.
	pcre2_jit_compile(stage->code, PCRE2_JIT_COMPLETE);
	return 0;
}

struct split_work *split_work_new(const struct split *split)
{
	struct split_work *work = calloc(1, sizeof(*work));
	if (!work)
		die_no_memory(sizeof(*work));
	work->split = split;
	work->match = pcre2_match_data_create(1, NULL);
	work->context = pcre2_match_context_create(NULL);
	work->stack = pcre2_jit_stack_create(STACK_FIRST, STACK_MOST, NULL);
	if (!work->match || !work->context)
		die_no_memory(STACK_FIRST);
	pcre2_jit_stack_assign(work->context, NULL, work->stack);
	pcre2_set_match_limit(work->context, STEPS_MOST);
	pcre2_set_heap_limit(work->context, HEAP_KIB_MOST);
	return work;
}

void split_work_free(struct split_work *work)
{
	if (!work)
		return;
	pcre2_match_data_free(work->match);
	pcre2_match_context_free(work->context);
	pcre2_jit_stack_free(work->stack);
	free(work);
}

// The next match at or after `from`: 1 with its bounds, 0 where there is none, -1 with a message.
static int find(struct split_work *work, const struct stage *stage, const char *text, size_t n, size_t from,
        size_t *start, size_t *end)
{
	const int found =
	        pcre2_match(stage->code, (PCRE2_SPTR)text, n, from, PCRE2_NO_UTF_CHECK, work->match, work->context);
	if (found == PCRE2_ERROR_NOMATCH)
		return 0;
	if (found < 0) {
		PCRE2_UCHAR why[256];
		char quoted[QUOTE_TEXT];
		pcre2_get_error_message(found, why, sizeof(why));
		return err_set(work->err, "the pattern that splits text gives up at '%s': %s",
		        text_quote(quoted, text + from, n - from), (char *)why);
	}
	const PCRE2_SIZE *bounds = pcre2_get_ovector_pointer(work->match);
	*start = bounds[0];
	*end = bounds[1];
	return 1;
}

static int run(struct split_work *work, int i, const char *text, size_t n)
{
	if (n == 0)
		return 0;
	if (i == work->split->n_stage)
		return work->word(work->arg, text, n);
	const struct stage *stage = &work->split->stage[i];
	size_t done = 0, from = 0, start, end;
	int result = 0;
	while (from < n) {
		const int found = find(work, stage, text, n, from, &start, &end);
		if (found < 0)
			return -1;
		if (!found)
			break;
		// \K moves the start of a match, even behind its end.
		start = start < done ? done : start;
		end = end < start ? start : end;
		if (stage->keep & SPLIT_GAPS)
			result = run(work, i + 1, text + done, start - done);
		if (!result && stage->keep & SPLIT_MATCHES)
			result = run(work, i + 1, text + start, end - start);
		if (result)
			return result;
		done = end;
		from = end > from ? end : from;
		if (end == start)
			from += from < n ? (size_t)utf8_length(text + from, n - from) : 0;
	}
	return stage->keep & SPLIT_GAPS ? run(work, i + 1, text + done, n - done) : 0;
}

int split_run(struct split_work *work, const char *text, size_t n, int (*word)(void *arg, const char *text, size_t n),
        void *arg, struct err *err)
{
	work->word = word;
	work->arg = arg;
	work->err = err;
	return run(work, 0, text, n);
}

const char *split_library(void)
{
	static char text[64] = "PCRE2 ";
	pcre2_config(PCRE2_CONFIG_VERSION, text + strlen("PCRE2 ")); // 24 bytes at most
	return text;
}
