// SPDX-License-Identifier: MIT
#include "harness/base/utf8.h"

#include <stdio.h>
#include <string.h>

// How a character may begin: its length, and what its second byte may be.
static const struct lead {
	unsigned char first, last, length, least, most;
} leads[] = {
        {0x00, 0x7f, 1, 0, 0},
        {0xc2, 0xdf, 2, 0x80, 0xbf},
        {0xe0, 0xe0, 3, 0xa0, 0xbf},
        {0xe1, 0xec, 3, 0x80, 0xbf},
        {0xed, 0xed, 3, 0x80, 0x9f},
        {0xee, 0xef, 3, 0x80, 0xbf},
        {0xf0, 0xf0, 4, 0x90, 0xbf},
        {0xf1, 0xf3, 4, 0x80, 0xbf},
        {0xf4, 0xf4, 4, 0x80, 0x8f},
};

// How many of the n bytes fit the character that begins at text; *length: how many it would have, 0 where none begins.
static int match(const char *text, size_t n, int *length)
{
	const unsigned char *b = (const unsigned char *)text;
	size_t row = 0;
	*length = 0;
	while (row < sizeof(leads) / sizeof(leads[0]) && b[0] > leads[row].last)
		row++;
	if (row == sizeof(leads) / sizeof(leads[0]) || b[0] < leads[row].first)
		return 0;
	*length = leads[row].length;
	int i = 1;
	if (*length > 1 && n > 1 && b[1] >= leads[row].least && b[1] <= leads[row].most)
		for (i = 2; i < *length && (size_t)i < n && (b[i] & 0xc0) == 0x80;)
			i++;
	return i;
}

int utf8_length(const char *text, size_t n)
{
	int length;
	if (n == 0)
		return 0;
	return match(text, n, &length) == length ? length : 0;
}

size_t utf8_valid(const char *text, size_t n)
{
	size_t at = 0;
	while (at < n) {
		uint64_t eight;
		while (at + sizeof(eight) <= n) {
			memcpy(&eight, text + at, sizeof(eight));
			if (eight & 0x8080808080808080u)
				break;
			at += sizeof(eight);
		}
		const int length = utf8_length(text + at, n - at);
		if (length == 0)
			break;
		at += (size_t)length;
	}
	return at;
}

int utf8_unfinished(const char *text, size_t n)
{
	for (int back = 1; back <= 3 && (size_t)back <= n; back++) {
		int length;
		if (match(text + n - back, (size_t)back, &length) == back && length > back)
			return back;
	}
	return 0;
}

uint32_t utf8_decode(const char *text, int *length)
{
	const unsigned char *b = (const unsigned char *)text;
	if (b[0] < 0x80) {
		*length = 1;
		return b[0];
	}
	*length = b[0] < 0xe0 ? 2 : b[0] < 0xf0 ? 3 : 4;
	uint32_t c = b[0] & (0xffu >> (*length + 1));
	for (int i = 1; i < *length; i++)
		c = c << 6 | (b[i] & 0x3f);
	return c;
}

int utf8_encode(char out[4], uint32_t c)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	const int length = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	for (int i = length - 1; i > 0; i--, c >>= 6)
		out[i] = (char)(0x80 | (c & 0x3f));
	out[0] = (char)(0xff00u >> length | c);
	return length;
}

int utf8_is_control(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0);
}

int utf8_is_space(uint32_t c)
{
	return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
	       (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

const char *text_quote(char out[QUOTE_TEXT], const char *text, size_t n)
{
	enum { LONGEST = 4 }; // of what one step may write
	size_t at = 0, i = 0;
	while (i < n && at + LONGEST < QUOTE_TEXT - LONGEST) {
		const int length = utf8_length(text + i, n - i);
		const unsigned char b = (unsigned char)text[i];
		// C1 controls are characters of two bytes, and move cursors too.
		if (length == 0 || (length == 1 && (b < 0x20 || b == 0x7f)) ||
		        (b == 0xc2 && (unsigned char)text[i + 1] < 0xa0)) {
			at += (size_t)snprintf(out + at, LONGEST + 1, "\\x%02x", b);
			i++;
			continue;
		}
		memcpy(out + at, text + i, (size_t)length);
		at += (size_t)length;
		i += (size_t)length;
	}
	snprintf(out + at, LONGEST, "%s", i < n ? "..." : "");
	return out;
}
