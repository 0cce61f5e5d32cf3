// SPDX-License-Identifier: MIT
// The contract of an attention variant. A variant is one file variants/<name>.c that includes this header only and
// exports `const struct variant variant_<name>` and nothing else; the registry finds it by its file name.
// Parameter counts, cache bytes and FLOPs are derived from params(), streams() and forward(), never typed twice.
#ifndef KVLAB_VARIANT_H
#define KVLAB_VARIANT_H
#include "harness/base/err.h"
#include "harness/base/option.h"
#include "harness/num/op.h"
#ifdef __cplusplus
extern "C" {
#endif

// What scores are divided by: the root of the width that is summed over (a head's), or that of d_model (the character
// models of paper D, reference D.5).
enum score_scale { SCORE_SCALE_HEAD, SCORE_SCALE_MODEL };

// What a model tells its attention. Widths are per head unless named otherwise.
struct attn_dims {
	int n_layer, d_model;
	int layer;             // whose attention this is, where that matters (options may differ from layer to layer)
	int n_head, n_kv_head; // query heads; key/value heads
	int d_head;            // value width per head
	int n_ctx;             // most positions a sequence can have
	int causal;            // 0: every position sees every other (encoder)
	int bias;              // projections have biases
	int bias_out;          // and so has the one from the heads back to d_model
	// Rotary positions (model option position: rope); n_rotary 0: the model has none. Otherwise a variant turns its
	// scores by relative position, in the mode its options name, or refuses in check().
	int n_rotary; // numbers turned per head of d_head: all, or the first part of them (Pythia)
	double rope_base;
	int rope_halves; // pairs (i, i + n_rotary / 2); otherwise (2i, 2i + 1)
	struct rope_scaling rope_scaling;
	int score_scale; // enum score_scale
};

enum param_init {
	INIT_WEIGHT, // the model's rule for matrices (see model_config.init)
	INIT_BIAS,   // the model's rule for biases; n_in of its matrix is `fan_in`
	INIT_ZERO,
	INIT_ONE,
};

// A parameter: matrix (rows = out, cols = in) or vector (rows 1); rows 0: not there with this setting.
struct param_shape {
	const char *name; // "w_q"; the layer's number is put before it
	int rows, cols;
	enum param_init init;
	int fan_in;   // numbers that one output sums over
	int fan_out;  // outputs that one input reaches; 0: rows (stacked matrices of heads: one head's)
	int is_inner; // reads what other maps of this table have made, not the layer's input
};

// What is cached per token, in each layer that keeps its own copy. In which type is the cache's business, stream by
// stream (harness/model/cache.h); a stream's role says which of its settings apply.
enum stream_role {
	STREAM_KEY,   // read for scores alone
	STREAM_VALUE, // averaged, whether or not scores are taken from it too
};
struct stream_shape {
	const char *name; // "k"
	enum stream_role role;
	int elements;       // numbers per token
	int window;         // 0: every position is kept; w: only the last w
	int layers_sharing; // 1: each layer has its own; n: one copy serves n consecutive layers (0 reads as 1)
};

enum { VARIANT_PARAMS = 24, VARIANT_STREAMS = 6 };

struct attn_cache; // where the streams of one layer live (harness/model/cache.h)

// One call of one layer's attention: training (no cache), prefill or decode (with one).
struct attn {
	struct tape *tape;
	const struct attn_dims *dims;
	const void *config;          // the variant's own config struct
	struct tensor *const *param; // in the order of params()
	struct tensor *x;            // (B, T, d_model), normalised input at the new positions
	struct tensor *x_q;          // (B, T_q, d_model): the rows whose output is wanted; x itself when all are
	int q_from;                  // x_q's first row is row q_from of x
	struct attn_cache *cache;    // NULL when training
};

// Hands the new rows (B, T, elements) of a stream to the cache and returns all S positions to attend to
// (B, S, elements). Without a cache the new rows are all there is. Its values may lie in another type, and x be NULL
// (num/stored.h): only ops read it.
struct tensor *attn_stream(struct attn *a, int stream, struct tensor *rows);
// Position among those S of x_q's first row: what a causal mask is drawn from.
int attn_q_position(const struct attn *a);

// A claim of the banner, run by the conformance loop: with this setting the variant computes the same function
// as the other, same parameters in, same bits out (values may be numbers or names of attn_dims fields).
struct equals_claim {
	const char *setting;       // "d_select=d_model"
	const char *other;         // "mha"
	const char *other_setting; // "" or as above
};

struct attn_source;     // convert.h
struct attn_conversion; // convert.h

struct variant {
	const char *name, *summary; // summary: one line for `kvlab list`
	int version;                // part of a point's key: raise it when results change
	size_t config_bytes;
	const struct option *options;      // ends with a NULL key
	const struct equals_claim *equals; // ends with a NULL setting; may be NULL
	// 0, or -1 with the one sentence why these dims are refused.
	int (*check)(const struct attn_dims *dims, const void *config, struct err *err);
	// Fill the table, return the number of rows.
	int (*params)(const struct attn_dims *dims, const void *config, struct param_shape *table);
	int (*streams)(const struct attn_dims *dims, const void *config, struct stream_shape *table);
	// (B, T_q, d_model). Differentiable; the same function trains, prefills and decodes through the cache.
	struct tensor *(*forward)(struct attn *a);
	// Optional fast path for few new positions through the cache; must equal forward(). May be NULL.
	struct tensor *(*decode)(struct attn *a);
	// Optional: the same function in fewer products, for inference (keyless: a chain of matrices becomes one). It
	// is another setting of the same variant, with the same streams. fold_config fills that setting, or returns -1
	// with the sentence why this one does not fold; fold computes its parameters on a running tape (model_fold):
	// those that it leaves alone keep the values of the parameters of their name, which have their shape.
	int (*fold_config)(const struct attn_dims *dims, const void *config, void *folded, struct err *err);
	void (*fold)(struct tape *tape, const struct attn_dims *dims, const void *config, struct tensor *const *param,
	        struct tensor *const *folded);
	// Optional: own parameters, every one, from those of a trained layer that is_plain (convert.h), in the head
	// counts of dims. 0, or -1 with the sentence why this setting cannot be made so. source NULL: only that answer.
	int (*convert)(const struct attn_dims *dims, const void *config, const struct attn_conversion *how,
	        const struct attn_source *source, struct tensor *const *param, struct err *err);
	// Plain attention of separate queries, keys and values, rows of enum QKV_... (kit.h) and no others: what files
	// of weights hold and conversions begin with.
	int is_plain;
};

#ifdef __cplusplus
}
#endif
#include "variants/kit.h"

#include "variants/convert.h"
#endif
