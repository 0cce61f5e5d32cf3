// SPDX-License-Identifier: MIT
// Mutations that know where a format keeps its lengths, counts and tokens, and some that know nothing.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/weights/fuzz.h"

static const unsigned long long interesting[] = {0, 1, 2, 3, 4, 7, 8, 9, 12, 13, 16, 24, 31, 32, 33, 64, 127, 128, 255,
        256, 4096, 32767, 32768, 65535, 65536, 1u << 20, (1u << 22) + 1, 0x7fffffff, 0x80000000, 0xffffffff, 1ull << 32,
        (1ull << 53) + 1, 1ull << 56, 1ull << 57, 1ull << 60, 1ull << 61, 1ull << 62, 0x7fffffffffffffff, 1ull << 63,
        -32ull, -8ull, -1ull};
static const char *const tokens[] = {"0", "-1", "1", "4294967296", "9223372036854775807", "9223372036854775808", "-0",
        "1e400", "1.0", "null", "true", "[]", "{}", "\"\"", "\"F32\"", "\"F16\"", "\"BF16\"", "\"BOOL\"", "\"F64\"",
        "\"Q8_0\"", "\"shape\"", "\"dtype\"", "\"data_offsets\"", "\"__metadata__\"", "\"weight_map\"", "\"\\u0000\"",
        "\"\\ud800\"", "\"\\u001b[2J\"", "\"\xff\"", "[[[[[[[[", "{\"a\":{\"a\":", ",", ":", "]", "}", " ", "\n",
        "\"../a.safetensors\"", "\"model-00001-of-00002.safetensors\"", "0,0,0,0,0,0,0,0,0"};
#define N_OF(list) ((uint32_t)(sizeof(list) / sizeof((list)[0])))

// n bytes at `at` become the m bytes of data.
static void replace(struct bytes *b, size_t at, size_t n, const void *data, size_t m)
{
	struct bytes fresh = {0};
	bytes_add(&fresh, b->data, at);
	bytes_add(&fresh, data, m);
	bytes_add(&fresh, b->data + at + n, b->n - at - n);
	free(b->data);
	*b = fresh;
}

static size_t place(const struct bytes *b, struct rng *rng)
{
	return b->n ? rng_below(rng, (uint32_t)b->n) : 0;
}

// How many bytes a part has: short ones often.
static size_t length(size_t most, struct rng *rng)
{
	const uint32_t bound = 1u << (1 + rng_below(rng, 9));
	const size_t n = 1 + rng_below(rng, bound);
	return n < most ? n : most;
}

static unsigned long long near(unsigned long long x, struct rng *rng)
{
	if (rng_below(rng, 3) == 0)
		return interesting[rng_below(rng, N_OF(interesting))];
	if (rng_below(rng, 2))
		return x + rng_below(rng, 9) - 4;
	return rng_below(rng, 2) ? x * 2 : x ^ 1ull << rng_below(rng, 64);
}

static unsigned long long number_at(const struct bytes *b, size_t at, int n)
{
	unsigned long long x = 0;
	for (int i = 0; i < n; i++)
		x |= (unsigned long long)b->data[at + (size_t)i] << 8 * i;
	return x;
}

static void put_number(struct bytes *b, size_t at, int n, unsigned long long x)
{
	for (int i = 0; i < n; i++)
		b->data[at + (size_t)i] = (unsigned char)(x >> 8 * i);
}

static void nudge_number(struct bytes *b, size_t at, int n, struct rng *rng)
{
	if (at + (size_t)n <= b->n)
		put_number(b, at, n, near(number_at(b, at, n), rng));
}

// --- knowing nothing -------------------------------------------------------------------------------------------

static void mutate_bytes(struct bytes *b, const struct bytes *others, int n_other, struct rng *rng)
{
	const struct bytes *other = &others[rng_below(rng, (uint32_t)n_other)];
	const size_t at = place(b, rng), left = b->n - at, from = place(other, rng);
	unsigned char noise[16];
	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (unsigned char)rng_u32(rng);
	switch (rng_below(rng, 8)) {
	case 0:
		if (left)
			b->data[at] ^= (unsigned char)(1 << rng_below(rng, 8));
		break;
	case 1:
		nudge_number(b, at, 1 << rng_below(rng, 4), rng);
		break;
	case 2:
		replace(b, at, length(left, rng), NULL, 0);
		break;
	case 3:
		replace(b, at, 0, noise, 1 + rng_below(rng, sizeof(noise)));
		break;
	case 4: // cut
		b->n = at;
		break;
	case 5: // a part of another, over or between
		replace(b, at, rng_below(rng, 2) ? length(left, rng) : 0, other->data + from,
		        length(other->n - from, rng));
		break;
	case 6: { // a part of its own, once more
		struct bytes part = {0};
		bytes_add(&part, b->data + at, length(left, rng));
		replace(b, place(b, rng), 0, part.data, part.n);
		free(part.data);
		break;
	}
	default:
		replace(b, b->n, 0, noise, 1 + rng_below(rng, sizeof(noise)));
	}
}

// --- JSON --------------------------------------------------------------------------------------------------------

static int is_word(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '.' || c == '-' || c == '+' || c == 'E';
}

// The end of the token that begins at `at`: a text, a word, or one byte.
static size_t token_end(const struct bytes *b, size_t at)
{
	size_t end = at + 1;
	if (b->data[at] == '"') {
		while (end < b->n && b->data[end] != '"')
			end += b->data[end] == '\\' && end + 1 < b->n ? 2 : 1;
		return end < b->n ? end + 1 : b->n;
	}
	while (is_word(b->data[at]) && end < b->n && is_word(b->data[end]))
		end++;
	return end;
}

// A token chosen at random: its begin and end. 0 where there is none.
static int pick_token(const struct bytes *b, size_t *at, size_t *end, struct rng *rng)
{
	int n = 0;
	for (size_t i = 0; i < b->n; i = token_end(b, i))
		n++;
	if (!n)
		return 0;
	n = (int)rng_below(rng, (uint32_t)n);
	for (*at = 0; n--;)
		*at = token_end(b, *at);
	*end = token_end(b, *at);
	return 1;
}

static void nudge_decimal(struct bytes *b, size_t at, size_t end, struct rng *rng)
{
	char text[32];
	snprintf(text, sizeof(text), "%.*s", (int)(end - at), (const char *)b->data + at);
	snprintf(text, sizeof(text), "%lld", (long long)near((unsigned long long)strtoll(text, NULL, 10), rng));
	replace(b, at, end - at, text, strlen(text));
}

static void mutate_json(struct bytes *b, struct rng *rng)
{
	size_t at, end, from, to;
	if (!pick_token(b, &at, &end, rng) || !pick_token(b, &from, &to, rng))
		return;
	const char *token = tokens[rng_below(rng, N_OF(tokens))];
	struct bytes part = {0};
	switch (rng_below(rng, 6)) {
	case 0: // the nearest number from there on
		while (at < b->n && !(b->data[at] >= '0' && b->data[at] <= '9'))
			at = token_end(b, at);
		if (at < b->n)
			nudge_decimal(b, at, token_end(b, at), rng);
		break;
	case 1:
		replace(b, at, end - at, token, strlen(token));
		break;
	case 2:
		replace(b, at, 0, token, strlen(token));
		break;
	case 3:
		replace(b, at, end - at, NULL, 0);
		break;
	case 4: // one for another
		bytes_add(&part, b->data + from, to - from);
		replace(b, at, end - at, part.data, part.n);
		break;
	default: // from one to the other, once more
		if (from < at) {
			bytes_add(&part, b->data + from, at - from);
			replace(b, at, 0, part.data, part.n);
		}
	}
	free(part.data);
}

// A safetensors header, and mostly its length put right again.
static void mutate_header(struct bytes *b, struct rng *rng)
{
	if (b->n < 8)
		return;
	unsigned long long n = number_at(b, 0, 8);
	if (n > b->n - 8 || rng_below(rng, 16) == 0) {
		nudge_number(b, 0, 8, rng);
		return;
	}
	struct bytes header = {0};
	bytes_add(&header, b->data + 8, (size_t)n);
	mutate_json(&header, rng);
	replace(b, 8, (size_t)n, header.data, header.n);
	if (rng_below(rng, 16))
		put_number(b, 0, 8, header.n);
	free(header.data);
}

// --- GGUF --------------------------------------------------------------------------------------------------------

struct field {
	size_t at;
	int bytes;
};
struct fields {
	struct field field[400];
	int n;
	size_t at;
};

static unsigned long long walk_number(struct fields *f, const struct bytes *b, int bytes)
{
	if (f->at > b->n || b->n - f->at < (size_t)bytes || f->n == (int)N_OF(f->field)) {
		f->at = b->n;
		return 0;
	}
	f->field[f->n++] = (struct field){f->at, bytes};
	f->at += (size_t)bytes;
	return number_at(b, f->at - (size_t)bytes, bytes);
}

static void walk_text(struct fields *f, const struct bytes *b)
{
	const unsigned long long n = walk_number(f, b, 8);
	f->at = n > b->n - f->at ? b->n : f->at + (size_t)n;
}

static void walk_value(struct fields *f, const struct bytes *b, unsigned long long kind, int depth)
{
	static const int bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
	if (kind == 8) {
		walk_text(f, b);
	} else if (kind == 9 && depth < 8) {
		const unsigned long long item = walk_number(f, b, 4), n = walk_number(f, b, 8);
		for (unsigned long long i = 0; i < n && f->at < b->n; i++)
			walk_value(f, b, item, depth + 1);
	} else if (kind < 13 && kind != 9) {
		walk_number(f, b, bytes[kind]);
	} else {
		f->at = b->n;
	}
}

// Where the numbers are that say how the file goes on, as far as that can be followed.
static void walk_gguf(struct fields *f, const struct bytes *b)
{
	*f = (struct fields){.at = 4};
	walk_number(f, b, 4);
	const unsigned long long n_tensor = walk_number(f, b, 8), n_pair = walk_number(f, b, 8);
	for (unsigned long long i = 0; i < n_pair && f->at < b->n; i++) {
		walk_text(f, b);
		walk_value(f, b, walk_number(f, b, 4), 0);
	}
	for (unsigned long long i = 0; i < n_tensor && f->at < b->n; i++) {
		walk_text(f, b);
		const unsigned long long n_dim = walk_number(f, b, 4);
		for (unsigned long long k = 0; k < n_dim && f->at < b->n; k++)
			walk_number(f, b, 8);
		walk_number(f, b, 4);
		walk_number(f, b, 8);
	}
}

static void mutate_gguf(struct bytes *b, struct rng *rng)
{
	struct fields f;
	walk_gguf(&f, b);
	if (!f.n)
		return;
	const struct field one = f.field[rng_below(rng, (uint32_t)f.n)], two = f.field[rng_below(rng, (uint32_t)f.n)];
	if (rng_below(rng, 4))
		nudge_number(b, one.at, one.bytes, rng);
	else if (one.bytes == two.bytes)
		put_number(b, one.at, one.bytes, number_at(b, two.at, two.bytes));
	else // what lies between two fields, once more
		replace(b, one.at, 0, b->data + (one.at < two.at ? one.at : two.at),
		        one.at < two.at ? two.at - one.at : one.at - two.at);
}

// --- a header of 32-bit numbers ----------------------------------------------------------------------------------

static void mutate_ints(struct bytes *b, struct rng *rng)
{
	const unsigned n = 10;
	const size_t at = 4 * rng_below(rng, n);
	if (rng_below(rng, 3)) {
		nudge_number(b, at, 4, rng);
	} else if (b->n >= 4 * (size_t)n) { // small numbers often fit together
		put_number(b, at, 4, 1 + rng_below(rng, 8));
		if (rng_below(rng, 2)) {
			const int zero = 0;
			for (uint32_t i = rng_below(rng, 200); i--;)
				bytes_add(b, &zero, sizeof(zero));
		}
	}
}

void fuzz_mutate(struct bytes *b, enum fuzz_shape shape, const struct bytes *others, int n_other, struct rng *rng)
{
	enum { MOST = 1 << 16 };
	// One change alone is what slips past most checks.
	for (uint32_t i = rng_below(rng, 2) ? 1 : 1 + rng_below(rng, 8); i--;) {
		if (rng_below(rng, 4) == 0)
			mutate_bytes(b, others, n_other, rng);
		else if (shape == SHAPE_TEXT)
			mutate_json(b, rng);
		else if (shape == SHAPE_HEADER)
			mutate_header(b, rng);
		else if (shape == SHAPE_GGUF)
			mutate_gguf(b, rng);
		else
			mutate_ints(b, rng);
		if (b->n > MOST)
			b->n = MOST;
	}
}
