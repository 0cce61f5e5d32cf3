// SPDX-License-Identifier: MIT
// Conversions: a variant's parameters made of a trained layer that has separate queries, keys and values. Included by
// variant.h; implemented in harness/model/convert_*.c. model_convert (harness/model/convert.h) does whole models.
#ifndef KVLAB_VARIANTS_CONVERT_H
#define KVLAB_VARIANTS_CONVERT_H
#include "variants/variant.h"
#ifdef __cplusplus
extern "C" {
#endif

// y = x w^T + b in double: w (rows, cols), b (rows); b NULL: none.
struct affine {
	int rows, cols;
	double *w, *b;
};

// The layer that a conversion begins with.
struct attn_source {
	const struct attn_dims *dims;
	struct affine q, k, v, o; // of n_head, n_kv_head, n_kv_head heads of d_head numbers of the layer's input; back
	// Of the layer's normalised input x over the rows of a calibration text: the means of x x^T (d_model, d_model)
	// and of x (d_model). NULL: there was no text, the identity and zero are meant.
	const double *moment, *mean;
	struct arena *arena; // for results and scratch
};

// Which low-rank approximation of queries and keys is made, in the head space of a key head or of all of them. Each is
// the best one of
//   key      W_K                 query    W_Q (of a group's heads, with its bias as one more column)
//   both     W_K and W_Q, each by itself (of W_Q the same share of its heads' numbers)
//   product  W_Q W_K^T of each query head: what scores are made of
//   stacked  [W_K; W_Q], in one basis for both
// and with a calibration text of the same of what it makes of the text: W M^(1/2), M the moment of the input.
enum factoring { FACTOR_KEY, FACTOR_QUERY, FACTOR_BOTH, FACTOR_PRODUCT, FACTOR_STACKED };

// How to convert: one option table for all variants (the spec's `convert` section), each takes what concerns it.
// energy: every number goes to the layer where it brings most of the layer's own error down; fisher: most of what the
// loss is expected to rise by it, the Fisher information of the layer's W_K (model_fisher) times that error.
enum rank_sharing { RANKS_UNIFORM, RANKS_ENERGY, RANKS_FISHER };
enum pooling { POOL_NEIGHBOURS, POOL_SIMILAR };
struct attn_conversion {
	int factor; // enum factoring
	int whiten; // use the calibration text
	// Of a target with whole keys: the product of this rank is written back as one matrix (0: whole), in one space
	// for all heads (per 0) or for each key head.
	int d_select, per;
	int n_kv_head; // of the target, each the mean of several; 0: as the source has
	int pool;      // enum pooling: which are pooled, neighbours or the most similar
	int ranks;     // enum rank_sharing: how layers share out what d_select says of each
};
// Rows of an option table, for a config that holds the struct at offset `at`.
#define CONVERSION_OPTIONS(at)                                                                                         \
	{"factor", OPTION_CHOICE, (at) + offsetof(struct attn_conversion, factor), "key", 0, 0,                        \
	        "key|query|both|product|stacked",                                                                      \
	        "what a low rank approximates best: W_K, W_Q, both, W_Q W_K^T or [W_K; W_Q]"},                         \
	        {"whiten", OPTION_BOOL, (at) + offsetof(struct attn_conversion, whiten), "false", 0, 1, NULL,          \
	                "approximate what the weights make of the calibration text, not the weights themselves"},      \
	        {"d_select", OPTION_INT, (at) + offsetof(struct attn_conversion, d_select), "0", 0, 1 << 20, NULL,     \
	                "rank of a target with whole keys (mha, gqa, mqa), its product written back; 0: whole"},       \
	        {"per", OPTION_CHOICE, (at) + offsetof(struct attn_conversion, per), "layer", 0, 0, "layer|head",      \
	                "that rank: of all key heads together, or n_kv_head times that of each"},                      \
	        {"n_kv_head", OPTION_INT, (at) + offsetof(struct attn_conversion, n_kv_head), "0", 0, 1 << 14, NULL,   \
	                "key and value heads of the target, each the mean of several; 0: as the model has"},           \
	        {"pool", OPTION_CHOICE, (at) + offsetof(struct attn_conversion, pool), "neighbours", 0, 0,             \
	                "neighbours|similar",                                                                          \
	                "which heads become one: neighbours, or those whose keys and values are nearest"},             \
	{                                                                                                              \
		"ranks", OPTION_CHOICE, (at) + offsetof(struct attn_conversion, ranks), "uniform", 0, 0,               \
		        "uniform|energy|fisher",                                                                       \
		        "how layers share out d_select: all alike, by what a number saves of a layer's error, or of "  \
		        "the loss"                                                                                     \
	}
extern const struct option conversion_options[];

// --- for variants --------------------------------------------------------------------------------------------------

// Rows of a tensor from a double matrix of its size; nothing where there is no tensor.
void attn_store(struct tensor *tensor, const double *x);

struct key_latents; // kit.h
// What they are made of, rows as in params() of factored_keys; up (n_kv_head d_head, d), plane (n_plane).
struct attn_factors {
	struct affine q, latent;
	double *up, *plane;
	// (n d): of each number of a latent, by how much it brings the square of the error down (of two that turn
	// together half of it each); within the turned ones of a latent and within the others the largest first.
	double *gain;
};
struct attn_factors attn_factor(
        const struct attn_source *source, const struct attn_conversion *how, const struct key_latents *latents);
// W_Q alone by its best approximation, as `both` has it; its bias stays.
struct affine attn_cut_queries(
        const struct attn_source *source, const struct attn_conversion *how, const struct key_latents *latents);
// 0, or -1 with the sentence why not.
int attn_factor_check(const struct attn_dims *dims, const struct attn_conversion *how,
        const struct key_latents *latents, struct err *err);

// The hook of plain attention.
int attn_plain_convert(const struct attn_dims *dims, const void *config, const struct attn_conversion *how,
        const struct attn_source *source, struct tensor *const *param, struct err *err);

// Attention that scores values (shared_kv, keyless): the values stay, queries become P^T q, P what makes keys of values
// best (convert_shared.c). The first matrix of each chain is the map, its others identities; w_o and b_o from `o` on.
struct attn_chain; // kit.h
int attn_shared_convert(const struct attn_dims *dims, const struct attn_conversion *how,
        const struct attn_source *source, const struct attn_chain *query, const struct attn_chain *value, int rope,
        int o, struct tensor *const *param, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
