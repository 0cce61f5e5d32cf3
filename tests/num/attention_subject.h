// SPDX-License-Identifier: MIT
// Random calls of attention over rows as a cache holds them, and what is right: every type, every form of keys and
// values, groups of query heads, turned keys, biases; plain loops in double over what is stored.
#ifndef KVLAB_TESTS_NUM_ATTENTION_SUBJECT_H
#define KVLAB_TESTS_NUM_ATTENTION_SUBJECT_H
#include "tests/num/guard.h"
#ifdef __cplusplus
extern "C" {
#endif

enum form { SEPARATE, SHARED, VALUE_IN_KEY, KEY_IN_VALUE, FORMS };

struct subject {
	enum form form;
	enum dtype k_dtype, v_dtype;
	int is_by_channel, is_turned;
	struct rope *rope;
	struct attention_shape shape;
	struct stored k, v;
	double *k_read, *v_read; // (B, S, n_head * d): what the rows say, keys turned
	real *bias;
	struct guarded q;
	double *q_read; // (B, T, n_head * d_qk)
};

struct subject_range {
	const int *width;               // of heads
	int n_width, most_T, log_group; // new positions; query heads of a key head: up to 2^log_group
};
// The round decides form, types and options, rng the rest; S positions. Memory is the rig's.
struct subject subject_make(struct rig *rig, struct rng *rng, const struct subject_range *range, int round, int S);
// Bytes that a stream of it lies in.
size_t subject_stream_bytes(const struct subject *x, const struct stored *s);
// What is right is from now on what operands rounded to bf16 make.
void subject_round(struct rig *rig, struct subject *x);
// Row t, head h of sequence b: out (d_v), and the magnitudes that rounding goes with.
void subject_reference(struct rig *rig, const struct subject *x, int b, int t, int h, double *out, double *size);
// What it is, in words, after `who`.
const char *subject_name(struct rig *rig, const struct subject *x, const char *who);

#ifdef __cplusplus
}
#endif
#endif
