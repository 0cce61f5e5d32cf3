// SPDX-License-Identifier: MIT
#include "harness/text/nfc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "harness/base/err.h"
#include "harness/base/utf8.h"

static const utf8proc_option_t form_c = UTF8PROC_STABLE | UTF8PROC_COMPOSE;

struct mark {
	uint64_t order; // class, then place
	int32_t point;
};

void nfc_work_release(struct nfc_work *work)
{
	free(work->text);
	free(work->point);
	free(work->mark);
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
	if (n)
		memcpy(reserve(work, n), text, n);
	work->n += n;
}

// Characters below U+0300 neither decompose into nor combine with what is before them, and are what they compose to.
static int is_plain(const char *text)
{
	return (unsigned char)text[0] < 0xcc;
}

static int by_class(const void *a, const void *b)
{
	const uint64_t x = ((const struct mark *)a)->order, y = ((const struct mark *)b)->order;
	return (x > y) - (x < y);
}

// Marks in a row stand in the order of their class, those of one class as they came. utf8proc does this too, but by
// swapping neighbours: a text of marks alone would take it minutes.
static void order_marks(struct nfc_work *work, size_t n_point)
{
	for (size_t start = 0, end; start < n_point; start = end) {
		int is_ordered = 1, last = 0;
		for (end = start; end < n_point; end++) {
			const int class = utf8proc_get_property(work->point[end])->combining_class;
			if (class == 0)
				break;
			is_ordered = is_ordered && class >= last;
			last = class;
			work->mark[end] = (struct mark){(uint64_t) class << 32 | end, work->point[end]};
		}
		if (!is_ordered) {
			qsort(work->mark + start, end - start, sizeof(*work->mark), by_class);
			for (size_t i = start; i < end; i++)
				work->point[i] = work->mark[i].point;
		}
		end += end == start;
	}
}

static void *resize(void *memory, size_t n, size_t size)
{
	memory = realloc(memory, n * size);
	if (!memory)
		die_no_memory(n * size);
	return memory;
}

// Appends the normal form of a run of characters.
static void append_form(struct nfc_work *work, const char *text, size_t n)
{
	// A character decomposes into at most twice as many points as it has bytes (U+0344 into 2, U+1D160 into 3).
	const size_t room = 2 * n + 4;
	size_t n_point = 0;
	int length, boundary = 0;
	if (room > work->n_point) {
		work->n_point = 2 * room;
		work->point = resize(work->point, work->n_point, sizeof(*work->point));
		work->mark = resize(work->mark, work->n_point, sizeof(*work->mark));
	}
	for (size_t at = 0; at < n; at += (size_t)length) {
		const utf8proc_ssize_t left = (utf8proc_ssize_t)(work->n_point - n_point),
		                       more = utf8proc_decompose_char((utf8proc_int32_t)utf8_decode(text + at, &length),
		                               work->point + n_point, left, form_c, &boundary);
		if (more < 0 || more > left)
			BUG("utf8proc decomposes a character into %ld points", (long)more);
		n_point += (size_t)more;
	}
	order_marks(work, n_point);
	const utf8proc_ssize_t n_form = utf8proc_normalize_utf32(work->point, (utf8proc_ssize_t)n_point, form_c);
	for (utf8proc_ssize_t i = 0; i < n_form; i++) {
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

const char *nfc_library(void)
{
	static char text[64];
	snprintf(text, sizeof(text), "utf8proc %s, Unicode %s", utf8proc_version(), utf8proc_unicode_version());
	return text;
}
