// SPDX-License-Identifier: MIT
// A transformer with any attention variant: parameters in one block of memory, one forward function for training,
// prefill and decode.
//
// Order of calls: model_init (shapes only), then model_allocate and model_draw_weights for a real one, then any number
// of model_forward. In TAPE_COUNT no memory is needed: FLOPs and bytes of any size can be counted.
#ifndef KVLAB_MODEL_MODEL_H
#define KVLAB_MODEL_MODEL_H
#include <stdint.h>

#include "harness/model/cache.h"
#include "harness/model/config.h"
#ifdef __cplusplus
extern "C" {
#endif

struct model_param {
	struct tensor tensor;
	char name[40]; // "layer.0.w_q"
	enum param_init init;
	int fan_in, fan_out, is_embedding, is_attention;
	int decays;    // weight decay applies (INIT_WEIGHT: matrices, not norms and biases)
	int is_frozen; // not trained: no gradient, no moments
};

struct model_layer {
	struct tensor *norm1_gain, *norm1_bias, *norm2_gain, *norm2_bias; // biases NULL without
	struct tensor *attn[VARIANT_PARAMS];
	struct tensor *ff_in, *ff_in_bias, *ff_out, *ff_out_bias;
};

struct model {
	struct model_config config;
	struct attn_dims dims;
	const struct variant *variant;
	const void *variant_config;
	const struct backend *home; // in whose memory values and gradients lie: backend_cpu unless model_upload made it
	int n_param;                // tensors
	struct model_param *param;  // in memory order
	long n_number;              // numbers in all parameters, padding left out
	long n_padded;              // numbers in the block of memory
	long n_trained;             // of those, the numbers of parameters that are not frozen
	long n_gradient;            // numbers that dx has room for
	int recomputes; // of a recorded pass only what enters each block is kept: backward runs the block again
	real *x, *dx;   // blocks: values (NULL once quantised); gradients of what is trained, in the same order
	struct model_layer *layer;
	struct tensor *token, *position, *norm_gain, *norm_bias, *head, *head_bias;
	struct tensor *token_bias;                                               // (1, d_model), token_input: one_hot
	struct tensor *head_in, *head_in_bias, *head_norm_gain, *head_norm_bias; // head: mlp; biases NULL without
	real *sinusoid; // (n_ctx, d_model), fixed; NULL without
};

// Shapes and names, memory from arena; the tensors' values stay NULL. config must be resolved and checked.
void model_init(struct model *model, const struct model_config *config, const struct variant *variant,
        const void *variant_config, struct arena *arena);
// Takes the block for values (and for gradients when training).
void model_allocate(struct model *model, int with_gradients, struct arena *arena);
// A copy whose values lie in a backend's memory, in the types that from keeps them in; shapes and names go to arena,
// values (and gradients when training: from keeps reals then) to memory.
void model_upload(struct model *to, const struct model *from, const struct backend *backend, int with_gradients,
        struct arena *arena, struct arena *memory);
// The block of values of a model that keeps reals, to where the host can read it, and back.
void model_download_values(const struct model *model, real *x);
void model_upload_values(struct model *model, const real *x);
// A copy in this process's memory, without gradients, of a model that keeps reals.
void model_fetch(struct model *here, const struct model *from, struct arena *arena);
// Writes n zeros to its home's memory.
void model_clear(const struct model *model, real *at, long n);
// The parameter of that name, or NULL.
struct model_param *model_find(const struct model *model, const char *name);
// The same for a model that differs from `like` in its attention: parameters of the same name and shape have like's
// values. Without gradients only attention's get memory of their own, the others lie in like's, which must outlive it.
void model_allocate_like(struct model *model, const struct model *like, int with_gradients, struct arena *arena);
// The table (n_ctx, d_model) of position: sinusoidal.
real *model_sinusoid(const struct model_config *config, struct arena *arena);
// It where the model's home can read it.
real *model_place_sinusoid(const struct model *model, struct arena *memory);
// Initial weights by the config's rule; every parameter has its own stream, keyed by seed and its number.
void model_draw_weights(struct model *model, uint64_t seed);
void model_draw_weights_by(struct model *model, uint64_t seed, int n_thread); // the same weights, sooner
// From now on, trains only parameters of these names, "w_q w_k norm_gain" (without "layer.N."; a layer's are those of
// all layers); NULL: all. A name that the variant has and this model has not (a bias) is passed over. Others have no
// gradient, and an optimizer made afterwards no moments for them. Gradients of the trained ones keep their bits. To be
// called before or after model_allocate, between steps. 0, or -1 with the sentence that this model has no such
// parameter.
int model_train_only(struct model *model, const char *names, struct err *err);
// Points gradients to their places in dx: by model_allocate and model_train_only.
void model_place_gradients(struct model *model);
// Numbers that a parameter takes in the blocks: each begins on a boundary of 64 bytes.
static inline long model_padded(const struct tensor *t)
{
	const long n = (long)t->T * t->C, align = 64 / (long)sizeof(real);
	return (n + align - 1) / align * align;
}
// Start of a training step: gradients are undefined until written.
void model_clear_gradients(struct model *model);
// After backward: gradients of parameters that nothing touched become zero.
void model_settle_gradients(struct model *model);

// New positions a sequence up to which a step through a cache that holds some is decoding (tape.h: is_decoding). Its
// logits are those of one long forward but for the order of sums: tests hold f32 to 64 units of rounding (2^-24) of
// the logit, or of 1.
enum { DECODE_ROWS = 8 };

// tokens (B, T) at positions first..first+T-1, first = cache ? cache->length : 0. Logits (B, n_q, n_vocab) of positions
// q_from..q_from+n_q-1 of the T; the last layer computes nothing that only others would need. With a cache the new
// positions are appended to it. tokens must stay valid until tape_backward.
struct tensor *model_forward(struct tape *tape, struct model *model, const int *tokens, int B, int T, int q_from,
        int n_q, struct cache *cache);
// The mean cross-entropy of those logits against targets (B, n_q), -1 left out, without holding all logits at once;
// recording, tape_backward may follow. row_loss (B * n_q), unless NULL, gets the nats of each.
struct loss model_loss(struct tape *tape, struct model *model, const int *tokens, int B, int T, int q_from, int n_q,
        struct cache *cache, const int *targets, double *row_loss);

// What such a pass costs, by counting: no memory is needed, and the cache is left as it was. with_loss: of model_loss.
struct model_cost {
	struct tally forward, backward;
	double tensor_bytes;  // values of all tensors
	double saved_bytes;   // what backward needs beside them
	double scratch_bytes; // inside a product, at most
};
struct model_cost model_count(
        const struct model *model, int B, int T, int q_from, int n_q, struct cache *cache, int with_loss);

// Keeps matrices and the token table as `dtype` in memory from arena, each row rounded as dtype_write rounds;
// positions, biases and gains as they are. Nothing of m lies in the block x any more: its memory may be given back. For
// inference: m must have no gradients. A folded model is folded first.
void model_quantize(struct model *model, enum dtype dtype, int n_thread, struct arena *arena);
// Whether model_quantize changes a parameter's type.
int model_is_quantized(const struct model *m, const struct model_param *p);
// For measuring, in the memory of model->home: weights by the config's rule in the types that model_quantize would
// leave, never held as reals beside them; what ops know of them goes to arena, the weights to memory. Of a parameter
// the first 65,537 numbers are drawn as model_draw_weights does; they come over and over. like, unless NULL: a model of
// the same config, drawn so; its parameters outside attention serve both.
void model_draw_for_inference(struct model *m, const struct model *like, uint64_t seed, enum dtype dtype, int n_thread,
        struct arena *arena, struct arena *memory);

// The same function in fewer products, for inference (variant.h: fold): a model of its own that shares everything but
// attention's parameters with m, which must outlive it. 0, or -1 with the sentence why this setting does not fold.
int model_fold(struct model *folded, const struct model *m, struct arena *arena, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
