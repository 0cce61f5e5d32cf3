// SPDX-License-Identifier: MIT
// How well a language model predicts a text, and how far it is from a reference model: perplexity by strided windows.
//
// Windows of `context` tokens begin every `stride` tokens. A window's tokens are predicted from those before them in
// it, and those that no earlier window scored are scored: of the first window all but its first token, of later ones
// the last `stride`. So with stride < context every token but the text's first is scored once, with at least context -
// stride tokens before it; with stride = context windows are disjoint and the first token of each is not scored.
//
// Standard errors are over blocks of consecutive windows, since tokens of one window, and neighbouring windows, are not
// independent: at most 64 blocks of (nearly) equally many windows; with L_i nats on the n_i tokens of block i of m and
// mean M = sum L_i / sum n_i, the error is sqrt(m / (m - 1) sum (L_i - n_i M)^2) / sum n_i: of a ratio, linearised. NAN
// below two blocks. Results have the same bits for any n_thread and any batch.
#ifndef KVLAB_RUN_PERPLEXITY_H
#define KVLAB_RUN_PERPLEXITY_H
#include "harness/model/model.h"
#ifdef __cplusplus
extern "C" {
#endif

struct perplexity_config {
	int context, stride; // 2 <= context <= n_ctx, 1 <= stride <= context
	int batch;           // windows at a time; 0: as many as are quick, at least one
	int n_thread;
	// A type other than f32: what the model (not the reference) attends to goes through a cache of it, a window
	// being one prefill. May be NULL.
	const struct cache_config *cache;
	struct model *reference; // of the same vocabulary and home; NULL: none. May be the model itself
	double n_byte;           // of the text that was tokenised; 0: unknown
	long n_prefix;           // ids at the front that stand for no byte of it (what a tokenizer puts before a text)
	// Called now and then with tokens scored so far; may be NULL.
	void (*tick)(void *context, long done, long total);
	void *tick_context;
};

struct estimate {
	double mean, standard_error;
};

struct perplexity {
	long n_token, n_window, n_block; // scored tokens; windows; blocks of the standard errors
	struct estimate loss;            // nats a token
	struct estimate perplexity;      // e^loss; its error: e^loss times that of loss
	double bits_per_byte;            // loss / ln 2 times tokens per byte of the text; NAN where bytes are unknown
	double accuracy;                 // share of tokens that were the most likely one
	// NAN without a reference.
	double reference_loss;  // nats a token
	struct estimate excess; // loss less the reference's, nats a token: pairs, so its error is the smaller one
	struct estimate kl;     // KL(reference || model), nats a token
	double agreement;       // share of tokens where both have the same most likely one
};

// Windows at a time where nobody says how many, before the text's own number: as many as are quick, at least one.
int perplexity_batch(int n_vocab, int context, int stride);
// Where the model lies, there it is measured (model->home). 0, or -1 with the sentence why this cannot be measured:
// windows beyond the model's positions, a token beyond its vocabulary, a reference of another one, a text of one token,
// a cache that would round nothing.
int perplexity_measure(struct perplexity *result, struct model *model, const int *ids, long n_id,
        const struct perplexity_config *config, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
