// SPDX-License-Identifier: MIT
// What several variants are made of. Included by variant.h; implemented in harness/model/kit.c.
#ifndef KVLAB_VARIANTS_KIT_H
#define KVLAB_VARIANTS_KIT_H
#include "variants/variant.h"
#ifdef __cplusplus
extern "C" {
#endif

// --- rows of params() ------------------------------------------------------------------------------------------

// A matrix (out, in), and the bias of a map to `out` numbers (no rows when the model has none).
struct param_shape attn_weight(const char *name, int out, int in);
// The same for a matrix that reads what other maps have made; fan_out as in struct param_shape.
struct param_shape attn_inner_weight(const char *name, int out, int in, int fan_out);
struct param_shape attn_bias(const struct attn_dims *dims, const char *name, int out, int in);
// The output projection: two rows, w_o and b_o (dims->bias_out), from `at` on; and heads W_o^T (+ bias), (B, T_q,
// d_model).
void attn_output_params(const struct attn_dims *dims, struct param_shape *table, int at);
struct tensor *attn_output(struct attn *a, struct tensor *heads, int at);

// --- separate queries, keys and values ---------------------------------------------------------------------------

// Rows 0..7 of params() and the streams of variants that have all three: keys of d_qk numbers a head, values of d_head.
enum { QKV_W_Q, QKV_W_K, QKV_W_V, QKV_B_Q, QKV_B_K, QKV_B_V, QKV_W_O, QKV_B_O, QKV_PARAMS };
enum { QKV_K, QKV_V, QKV_STREAMS };
int attn_qkv_params(const struct attn_dims *dims, int d_qk, struct param_shape *table);
int attn_qkv_streams(const struct attn_dims *dims, int d_k, struct stream_shape *table);
// q = x_q W_q^T, k = x W_k^T, v = x W_v^T (+ biases), of the new rows.
struct attn_qkv {
	struct tensor *q, *k, *v;
};
struct attn_qkv attn_qkv_project(struct attn *a);

// Columns of the first head of each group: n_kv_head of the n_head heads of x; x itself when groups have one head.
struct tensor *attn_first_of_group(struct attn *a, struct tensor *x);

// --- rotary positions ------------------------------------------------------------------------------------------

enum attn_rows {
	ROWS_NEW,   // the rows of a->x, before they are cached
	ROWS_QUERY, // the rows of a->x_q
	ROWS_ALL,   // all cached rows, as attn_stream returns them
};
// What is turned in each head. {0}: what the model says (the first n_rotary numbers, a ladder of that width).
struct attn_turn {
	int from, n_rotary, n_ladder;
	int backwards;
	struct tensor *plane; // (1, n_plane_set * n_rotary / 2): frequencies chosen one by one (op_rope_planes); NULL
	int n_plane_set;
};
// x with its n_head heads turned by the positions of its rows; x itself when the model has no rotary positions.
struct tensor *attn_rotate(struct attn *a, struct tensor *x, int n_head, enum attn_rows rows, struct attn_turn turn);
// 0, or -1 with a sentence when n numbers per head cannot be paired ("rope cannot pair the 7 numbers ...").
int attn_check_pairs(const struct attn_dims *dims, const char *what, int n, struct err *err);

// Where keys are turned: the same function either way, but for what a rounded cache (f16, q8, ...) loses of them.
enum key_rope {
	KEY_ROPE_AT_WRITE, // once, before they are cached
	KEY_ROPE_AT_READ,  // cached as they are, all of them turned at each step
};
#define KEY_ROPE_OPTION(type, late)                                                                                    \
	{                                                                                                              \
		"rope", OPTION_CHOICE, offsetof(type, rope), "at_write", 0, 0, "at_write|at_read",                     \
		        "when cached keys are turned: once, or at every read (models with position: rope)", late       \
	}
// Stores new keys (n_head heads) and returns all of them turned.
struct tensor *attn_keys(struct attn *a, int stream, struct tensor *rows, int n_head, enum key_rope rope);

// How a stream that is both key and value meets rotary positions. None is the others' function.
enum shared_rope {
	SHARED_ROPE_AT_READ, // cached unrotated, a rotated copy is scored: scores see relative positions, the average
	                     // is of unrotated values; exact, at the price of turning every cached row at each step
	SHARED_ROPE_ROTATED_VALUE, // cached rotated and averaged as it is: nothing is turned at read, but what is
	                           // averaged carries its absolute position
	SHARED_ROPE_TURNED_BACK,   // as before, and each head's output is turned back by the query's position: what is
	                           // averaged carries its position relative to the query
};
#define SHARED_ROPE_OPTION(type)                                                                                       \
	{                                                                                                              \
		"rope", OPTION_CHOICE, offsetof(type, rope), "at_read", 0, 0, "at_read|rotated_value|turned_back",     \
		        "where a cached value that is also the key is turned (models with position: rope)"             \
	}

// --- attention -------------------------------------------------------------------------------------------------

// Dot-product attention of every shape here: heads of q (a->x_q's rows) over n_kv_head heads of k and v (all rows).
// bias: the 2D map's key bias, or NULL. scale is 1 / sqrt(d_scale).
struct attn_heads {
	int n_k_head, n_v_head, d_qk, d_v, d_scale;
};
struct tensor *attn_attend(struct attn *a, struct tensor *q, struct tensor *k, struct tensor *v,
        struct attn_heads heads, struct tensor *bias);

// Attention over a stream that is key and value at once (n_kv_head heads of width d): stores new rows, turns them and
// q as `rope` says, attends. q is not yet turned.
struct tensor *attn_shared(struct attn *a, int stream, struct tensor *q, struct tensor *rows, int d,
        enum shared_rope rope, struct tensor *bias);

// Attention over one latent row for all heads: d_latent numbers c, then d_rope turned numbers that every head's key
// ends with. w_k and w_v stack a matrix (d_head, d_latent) for each of n_up heads; they may be the same. Two forms, one
// function:
//   plain     head h: softmax((q_h, q_turned_h) (c W_k,h^T, turned)^T / sqrt(d_scale)) c W_v,h^T: fewer FLOPs when
//             there are as many queries as positions
//   absorbed  head h: (softmax((q_h W_k,h, q_turned_h) (c, turned)^T / sqrt(d_scale)) c) W_v,h^T: reads the cached
//             rows alone, and no key or value is made again
struct attn_latent {
	struct tensor *w_k, *w_v;
	int n_up, d_latent, d_rope, d_scale;
	int turns_keys;  // plain form: q and the keys made of c are turned as the model says
	int is_absorbed; // the form; not with turns_keys
};
struct tensor *attn_latent(struct attn *a, struct tensor *q, struct tensor *q_turned, struct tensor *rows,
        const struct attn_latent *latent);

// k (rows, n_kv_head d_head) made of cached latents c: one for all key heads (n_c 1) or one for each (n_kv_head), w_up
// a matrix (d_head, r) for each key head; b_up may be NULL.
struct tensor *attn_up(struct attn *a, struct tensor *c, int n_c, struct tensor *w_up, struct tensor *b_up);

// --- keys of low rank (factored_keys) ------------------------------------------------------------------------------

// What a spec says of them: options of the variant.
enum { KEY_RANKS = 512 }; // bytes of a list
struct key_latents_config {
	int d_select, per, rope, d_rope;
	char ranks[KEY_RANKS]; // d_select of each layer, "64,48,32"; empty: all the same
};
extern const struct option key_latents_options[];
int key_latents_check(const struct attn_dims *dims, const void *config, struct err *err);
// What that means: n latents of d numbers each, of which the first d_rope are turned, by a ladder of n_ladder numbers
// or, with n_plane > 0 (over all latents), each pair by a plane of its own. Queries have d_query numbers a head: the
// head's where the matrix up to keys stands apart (has_up), else the latent's.
struct key_latents {
	int n, d, d_rope, n_ladder, n_plane, has_up, d_query;
};
struct key_latents key_latents(const struct attn_dims *dims, const void *config);

// --- the 2D position map (op.h: op_map_gain, op_map_bias) --------------------------------------------------------

struct attn_map {
	int plus, m, is_per_head;
	int cut; // enum map_cut
};
#define ATTN_MAP_OPTIONS(type, field)                                                                                  \
	{"plus", OPTION_BOOL, offsetof(type, field.plus), "false", 0, 1, NULL,                                         \
	        "add the 2D position map to the scores (reference C.1)"},                                              \
	        {"m", OPTION_INT, offsetof(type, field.m), "10", 0, 4096, NULL,                                        \
	                "numbers of the 2D map (10 synthetic, 50 vision, 20 characters); pe has none for the key "     \
	                "below 3"},                                                                                    \
	        {"map_cut", OPTION_CHOICE, offsetof(type, field.cut), "pe", 0, 0, "pe|halves",                         \
	                "which m numbers: the papers' package, or m / 2 of row and column each"},                      \
	{                                                                                                              \
		"map_per_head", OPTION_BOOL, offsetof(type, field.is_per_head), "false", 0, 1, NULL,                   \
		        "a map for each head; otherwise one that all heads share"                                      \
	}
int attn_map_check(const struct attn_map *map, struct err *err);
// Two rows of params(), w_map and b_map, from `at` on; no rows without a map.
void attn_map_params(const struct attn_map *map, const struct attn_dims *dims, struct param_shape *table, int at);
// Multiplies *q by the map's gain and returns the key bias for all S positions (NULL without a map). at: index of
// w_map.
struct tensor *attn_map_apply(struct attn *a, const struct attn_map *map, int at, struct tensor **q);

// --- chains of maps --------------------------------------------------------------------------------------------

// x W_1 W_2 ... W_depth: the first matrix maps the input to n_head heads of d numbers, the others keep them. Matrices
// on all heads together have biases where the model has; those within heads have none.
enum { ATTN_CHAIN_MOST = 4, ATTN_CHAIN_REST = ATTN_CHAIN_MOST - 1 };
struct attn_chain {
	const char *w, *b; // "w_q": parameters are w_q, w_q2, w_q3, ... and b_q, b_q2, ...
	int w_at, b_at;    // rows of params() of the first matrix and its bias, beside those of other maps of the input
	int w_rest, b_rest; // first of the ATTN_CHAIN_REST rows each of the others
	int depth, n_head, d;
	int is_per_head; // further matrices act within each head (n_head of d x d); otherwise on all heads together
	int relu;        // a ReLU after each matrix but the last
	int d_latent;    // r > 0: the first matrix maps to r numbers, the second (of two) from there to the heads
};
#define ATTN_ROUTING_OPTION(type, late)                                                                                \
	{                                                                                                              \
		"routing", OPTION_CHOICE, offsetof(type, routing), "full", 0, 0, "full|per_head",                      \
		        "matrices after a chain's first: on all heads together, or one within each head", late         \
	}

// 0, or -1 when there is no place for a ReLU or a latent; `depth` is the option's name.
int attn_chain_check(const struct attn_chain *c, const struct attn_dims *dims, const char *depth, struct err *err);
// Fills all rows; those beyond depth are empty.
void attn_chain_params(const struct attn_chain *c, const struct attn_dims *dims, struct param_shape *table);
// The maps after the first, applied to its output y.
struct tensor *attn_chain_rest(struct attn *a, const struct attn_chain *c, struct tensor *y);
// A chain as one map: fills the parameters of `folded`, a chain of depth 1 in the same rows. One with ReLUs or a latent
// does not fold: nothing is written.
void attn_chain_fold(
        struct tape *tape, const struct attn_chain *c, struct tensor *const *param, struct tensor *const *folded);

#ifdef __cplusplus
}
#endif
#endif
