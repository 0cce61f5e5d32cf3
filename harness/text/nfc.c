// SPDX-License-Identifier: MIT
#include "harness/text/nfc.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "harness/base/err.h"
#include "harness/text/utf8.h"

static const utf8proc_option_t form_c = UTF8PROC_STABLE | UTF8PROC_COMPOSE;

void nfc_work_release(struct nfc_work *work)
{
	free(work->text);
	free(work->point);
	*work = (struct nfc_work){0};
}

static char *reserve(struct nfc_work *work, size_t n)
{
	if (work->n + n > work->room) {
		work->room = 2 * (work->n + n);
		work->text = realloc(work->text, work->room);
		if (!work->text)
			die_no_memory(work->room);
	}
	return work->text + work->n;
}

static void append(struct nfc_work *work, const char *text, size_t n)
{
	memcpy(reserve(work, n), text, n);
	work->n += n;
}

// Characters below U+0300 neither decompose into nor combine with what is before them, and are what they compose to.
static int is_plain(const char *text)
{
	return (unsigned char)text[0] < 0xcc;
}

// Appends the normal form of a run of characters.
static void append_form(struct nfc_work *work, const char *text, size_t n)
{
	const utf8proc_uint8_t *bytes = (const utf8proc_uint8_t *)text;
	utf8proc_ssize_t n_point;
	// A character of b bytes decomposes into at most 2 b (U+0344 into 2, U+1D160 into 3).
	if (2 * n > work->n_point) {
		work->n_point = 4 * n;
		work->point = realloc(work->point, work->n_point * sizeof(*work->point));
		if (!work->point)
			die_no_memory(work->n_point * sizeof(*work->point));
	}
	n_point = utf8proc_decompose(bytes, (utf8proc_ssize_t)n, work->point, (utf8proc_ssize_t)work->n_point, form_c);
	if (n_point < 0 || (size_t)n_point > work->n_point)
		BUG("utf8proc decomposes %zu bytes into %ld points", n, (long)n_point);
	n_point = utf8proc_normalize_utf32(work->point, n_point, form_c);
	for (utf8proc_ssize_t i = 0; i < n_point; i++) {
		reserve(work, 4);
		work->n += (size_t)utf8_encode(work->text + work->n, (uint32_t)work->point[i]);
	}
}

const char *nfc(struct nfc_work *work, const char *text, size_t *n)
{
	size_t copied = 0, at = 0;
	work->n = 0;
	while (at < *n) {
		// A run that may change: from the plain character before the first that is not, to the next plain one.
		size_t start = at;
		for (size_t length; at < *n && is_plain(text + at); at += length) {
			length = (size_t)utf8_length(text + at, *n - at);
			start = length ? at : at + 1;
			length += !length;
		}
		size_t end = at;
		for (size_t length; end < *n && !is_plain(text + end); end += length)
			if ((length = (size_t)utf8_length(text + end, *n - end)) == 0)
				break;
		if (end > at) {
			append(work, text + copied, start - copied);
			append_form(work, text + start, end - start);
			copied = end;
		}
		at = end > at ? end : at + (at < *n);
	}
	if (copied == 0)
		return text;
	append(work, text + copied, *n - copied);
	*n = work->n;
	return work->text;
}

int is_word_character(uint32_t c)
{
	const utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
	return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_ND) ||
	       category == UTF8PROC_CATEGORY_PC;
}
