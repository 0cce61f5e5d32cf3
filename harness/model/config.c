// SPDX-License-Identifier: MIT
#include "harness/model/config.h"

#include <math.h>

#define FIELD(f) offsetof(struct model_config, f)

const struct option model_options[] = {
        {"n_layer", OPTION_INT, FIELD(n_layer), "2", 1, 1024, NULL, "transformer blocks"},
        {"d_model", OPTION_INT, FIELD(d_model), "64", 1, 65536, NULL, "width of the residual stream"},
        {"n_head", OPTION_INT, FIELD(n_head), "4", 1, 1024, NULL, "query heads"},
        {"n_kv_head", OPTION_INT, FIELD(n_kv_head), "0", 0, 1024, NULL, "key and value heads; 0: n_head"},
        {"d_head", OPTION_INT, FIELD(d_head), "0", 0, 65536, NULL, "value width per head; 0: d_model / n_head"},
        {"d_ff", OPTION_INT, FIELD(d_ff), "128", 1, 1048576, NULL, "hidden width of the feed-forward part"},
        {"n_vocab", OPTION_INT, FIELD(n_vocab), "0", 0, 1 << 24, NULL, "tokens; 0: what the task needs"},
        {"n_ctx", OPTION_INT, FIELD(n_ctx), "0", 0, 1 << 24, NULL, "positions; 0: what the task needs"},
        {"causal", OPTION_BOOL, FIELD(causal), "true", 0, 1, NULL, "positions see only those before them"},
        {"bias", OPTION_BOOL, FIELD(bias), "true", 0, 1, NULL, "linear maps and norms have biases"},
        {"tied_head", OPTION_BOOL, FIELD(tied_head), "false", 0, 1, NULL, "the head is the token table"},
        {"head_bias", OPTION_BOOL, FIELD(head_bias), "false", 0, 1, NULL, "the head has a bias"},
        {"norm", OPTION_CHOICE, FIELD(norm), "layer", 0, 0, "layer|rms", "which norm"},
        {"norm_place", OPTION_CHOICE, FIELD(norm_place), "pre", 0, 0, "pre|post",
                "before or after each residual branch"},
        {"final_norm", OPTION_BOOL, FIELD(final_norm), "true", 0, 1, NULL, "a norm before the head"},
        {"activation", OPTION_CHOICE, FIELD(activation), "gelu", 0, 0, "gelu|relu|swiglu|gelu_new",
                "of the feed-forward part (gelu_new: GELU by way of tanh)"},
        {"position", OPTION_CHOICE, FIELD(position), "learned", 0, 0, "none|learned|sinusoidal|rope",
                "what tells positions apart: added to token embeddings, or (rope) turned into scores"},
        {"init", OPTION_CHOICE, FIELD(init), "torch", 0, 0, "torch|normal|xavier|torch_xavier",
                "rule for initial weights (torch_xavier: Xavier in attention, the library's elsewhere)"},
        {"init_std", OPTION_REAL, FIELD(init_std), "0.02", 0, 10, NULL, "standard deviation of init: normal"},
        {"norm_eps", OPTION_REAL, FIELD(norm_eps), "1e-05", 0, 1, NULL, "added to the variance in norms"},
        {"dropout", OPTION_REAL, FIELD(dropout), "0", 0, 0.99, NULL,
                "on embeddings and on each residual branch (and in head: mlp)"},
        {"rope_base", OPTION_REAL, FIELD(rope_base), "10000", 1, 1e12, NULL,
                "base of the frequencies of position: rope", 1},
        {"rope_fraction", OPTION_REAL, FIELD(rope_fraction), "1", 0, 1, NULL,
                "part of each head that position: rope turns (Pythia: 0.25)", 1},
        {"rope_pairs", OPTION_CHOICE, FIELD(rope_pairs), "halves", 0, 0, "halves|neighbours",
                "position: rope turns (i, i + n/2) or (2i, 2i + 1)", 1},
        {"head", OPTION_CHOICE, FIELD(head), "linear", 0, 0, "linear|mlp",
                "what makes logits (mlp: linear, norm, ReLU, dropout, linear)", 1},
        {"token_input", OPTION_CHOICE, FIELD(token_input), "table", 0, 0, "table|one_hot",
                "how tokens enter (one_hot: a linear map of one-hot vectors, with bias and a linear map's init)", 1},
        {"dropout_embedding", OPTION_BOOL, FIELD(dropout_embedding), "true", 0, 1, NULL,
                "dropout applies to embeddings too", 1},
        {"dropout_hidden", OPTION_BOOL, FIELD(dropout_hidden), "false", 0, 1, NULL,
                "dropout applies to the hidden numbers of the feed-forward part too", 1},
        {"residual", OPTION_CHOICE, FIELD(residual), "sequential", 0, 0, "sequential|parallel",
                "parallel: attention and feed-forward part read the same input (Pythia; norm_place: pre)", 1},
        {"attention_bias", OPTION_CHOICE, FIELD(attention_bias), "follow", 0, 0, "follow|none|qkv|all",
                "which maps of attention have biases (qkv: all but the output's, as Qwen2; follow: as `bias` says)", 1},
        {"rope_scaling", OPTION_CHOICE, FIELD(rope_scaling.kind), "none", 0, 0, "none|linear|llama3",
                "how frequencies of position: rope are stretched for more positions than were trained on", 1},
        {"rope_factor", OPTION_REAL, FIELD(rope_scaling.factor), "1", 1, 1e6, NULL,
                "rope_scaling: what frequencies are divided by", 1},
        {"rope_low", OPTION_REAL, FIELD(rope_scaling.low), "0", 0, 1e6, NULL,
                "rope_scaling: llama3: pairs that turn less often in rope_original_ctx are divided by all of it", 1},
        {"rope_high", OPTION_REAL, FIELD(rope_scaling.high), "0", 0, 1e6, NULL,
                "rope_scaling: llama3: pairs that turn more often in rope_original_ctx are left alone", 1},
        {"rope_original_ctx", OPTION_INT, FIELD(rope_scaling.original_ctx), "0", 0, 1 << 24, NULL,
                "rope_scaling: llama3: positions that were trained on", 1},
        {"score_scale", OPTION_CHOICE, FIELD(score_scale), "head", 0, 0, "head|model",
                "scores are divided by the root of a head's width, or of d_model (paper D's character models)", 1},
        {NULL},
};

const unsigned long model_config_bytes = sizeof(struct model_config);

// Numbers turned per head; 0 without rotary positions.
static int n_rotary(const struct model_config *c)
{
	return c->position == POSITION_ROPE ? (int)lround(c->rope_fraction * c->d_head) : 0;
}

int model_config_resolve(struct model_config *c, int task_vocab, int task_T, struct err *err)
{
	if (c->n_kv_head == 0)
		c->n_kv_head = c->n_head;
	if (c->n_head % c->n_kv_head)
		return err_set(err, "n_head %d is not a multiple of n_kv_head %d", c->n_head, c->n_kv_head);
	if (c->d_head == 0) {
		if (c->d_model % c->n_head)
			return err_set(err, "d_model %d is not divisible by n_head %d (or give d_head)", c->d_model,
			        c->n_head);
		c->d_head = c->d_model / c->n_head;
	}
	if (c->n_vocab == 0)
		c->n_vocab = task_vocab;
	if (c->n_vocab < task_vocab)
		return err_set(err, "the task needs %d tokens but n_vocab is %d (leave it 0 to follow the task)",
		        task_vocab, c->n_vocab);
	if (c->n_ctx == 0)
		c->n_ctx = task_T;
	if (c->n_ctx < task_T)
		return err_set(err,
		        "the task's sequences have %d tokens but n_ctx is %d (leave it 0 to follow the task)", task_T,
		        c->n_ctx);
	if (c->tied_head && c->head_bias)
		return err_set(err, "a tied head has no bias: set head_bias or tied_head to false");
	if (c->residual == RESIDUAL_PARALLEL && c->norm_place != NORM_PRE)
		return err_set(err, "residual: parallel needs norm_place: pre");
	if (c->rope_scaling.kind != ROPE_SCALING_NONE && c->position != POSITION_ROPE)
		return err_set(err, "rope_scaling needs position: rope");
	if (c->rope_scaling.kind == ROPE_SCALING_LLAMA3 && c->rope_scaling.original_ctx == 0)
		return err_set(err, "rope_scaling: llama3 needs rope_original_ctx");
	if (c->rope_scaling.kind == ROPE_SCALING_LLAMA3 && c->rope_scaling.low >= c->rope_scaling.high)
		return err_set(err, "rope_scaling: llama3 needs rope_low below rope_high, not %g and %g",
		        c->rope_scaling.low, c->rope_scaling.high);
	if (c->position == POSITION_SINUSOIDAL && c->d_model % 2)
		return err_set(err, "sinusoidal positions need an even d_model, not %d", c->d_model);
	if (c->position == POSITION_ROPE && (n_rotary(c) < 2 || n_rotary(c) % 2))
		return err_set(err,
		        "rope cannot pair the %d numbers that it turns in a head of %d (d_head times rope_fraction)",
		        n_rotary(c), c->d_head);
	return 0;
}

struct attn_dims model_attn_dims(const struct model_config *c)
{
	const int bias =
	        c->attention_bias == ATTENTION_BIAS_FOLLOW ? c->bias : c->attention_bias != ATTENTION_BIAS_NONE;
	return (struct attn_dims){.n_layer = c->n_layer,
	        .d_model = c->d_model,
	        .n_head = c->n_head,
	        .n_kv_head = c->n_kv_head,
	        .d_head = c->d_head,
	        .n_ctx = c->n_ctx,
	        .causal = c->causal,
	        .bias = bias,
	        .bias_out = bias && c->attention_bias != ATTENTION_BIAS_QKV,
	        .n_rotary = n_rotary(c),
	        .rope_base = c->rope_base,
	        .rope_halves = c->rope_pairs == ROPE_PAIRS_HALVES,
	        .rope_scaling = c->rope_scaling,
	        .score_scale = c->score_scale};
}
