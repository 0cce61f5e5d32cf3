# SPDX-License-Identifier: MIT
# A new variant touches one file: a copy of the tree and of what was built gets a variant that nobody has heard of;
# make compiles that file and the registry alone, the program knows it, and the conformance loop holds it to the
# contract like any other.
. "$TOP/tests/lib.sh"

build=${BUILD#"$TOP"/}
mkdir tree
cp -a "$TOP"/{Makefile,tools,harness,variants,tests,experiments} tree
mkdir -p "tree/$build"
cp -a "$TOP"/build/deps-*.mk tree/build
# The double flavour and what else tests left there are not needed.
(cd "$BUILD" && find . -path ./double -prune -o -path ./trash -prune -o -path ./results -prune -o -type f -print0 |
	xargs -0 cp -a --parents -t "$OLDPWD/tree/$build")
cd tree || exit

cat >variants/one_key_head.c <<'C'
// SPDX-License-Identifier: MIT
// One key head serves every query head; values keep a head each. Cached: one key of d_head, n_head values of d_head.
// Only the test of the registry knows this variant.
#include <math.h>

#include "variants/variant.h"

enum { W_Q, W_K, W_V, W_O, N_PARAM };

static const struct option options[] = {{0}};

static int check(const struct attn_dims *dims, const void *config, struct err *err)
{
	(void)config;
	if (dims->n_kv_head != dims->n_head)
		return err_set(err, "one_key_head needs n_kv_head = n_head, not %d of %d", dims->n_kv_head, dims->n_head);
	return 0;
}

static int params(const struct attn_dims *dims, const void *config, struct param_shape *table)
{
	(void)config;
	const int d = dims->d_model, width = dims->n_head * dims->d_head;
	table[W_Q] = (struct param_shape){"w_q", width, d, INIT_WEIGHT, d};
	table[W_K] = (struct param_shape){"w_k", dims->d_head, d, INIT_WEIGHT, d};
	table[W_V] = (struct param_shape){"w_v", width, d, INIT_WEIGHT, d};
	table[W_O] = (struct param_shape){"w_o", d, width, INIT_WEIGHT, width};
	return N_PARAM;
}

static int streams(const struct attn_dims *dims, const void *config, struct stream_shape *table)
{
	(void)config;
	table[0] = (struct stream_shape){.name = "k", .elements = dims->d_head, .layers_sharing = 1};
	table[1] = (struct stream_shape){.name = "v", .elements = dims->n_head * dims->d_head, .layers_sharing = 1};
	return 2;
}

static struct tensor *forward(struct attn *a)
{
	const struct attn_dims *dims = a->dims;
	struct tensor *q = op_linear(a->tape, a->x_q, a->param[W_Q], NULL);
	struct tensor *k = attn_stream(a, 0, op_linear(a->tape, a->x, a->param[W_K], NULL));
	struct tensor *v = attn_stream(a, 1, op_linear(a->tape, a->x, a->param[W_V], NULL));
	struct attention_shape shape = {
		.n_head = dims->n_head,
		.n_k_head = 1,
		.n_v_head = dims->n_head,
		.d_qk = dims->d_head,
		.d_v = dims->d_head,
		.causal = dims->causal,
		.q_position = attn_q_position(a),
		.scale = 1 / sqrt(dims->d_head),
	};
	return op_linear(a->tape, op_attention(a->tape, q, k, v, shape), a->param[W_O], NULL);
}

const struct variant variant_one_key_head = {
	.name = "one_key_head",
	.summary = "one key head for all query heads, values per head",
	.options = options,
	.check = check,
	.params = params,
	.streams = streams,
	.forward = forward,
};
C

touch ../built
sleep 0.02
# shellcheck disable=SC2086
check "a dropped-in variant builds" make $MAKE_SWITCHES "$build/kvlab"
# build_info.o says which checkout this is: a new file may make it a dirty one.
compiled=$(find "$build" -name '*.o' -newer ../built | grep -v build_info | sort | tr '\n' ' ')
check "only it and the registry were compiled" \
	test "$compiled" = "$build/harness/registry.o $build/variants/one_key_head.o "
check "the program lists it" bash -c "'$build/kvlab' list variant | grep one_key_head"

# The conformance loop covers it untouched.
# shellcheck disable=SC2086
check "the conformance loop builds with it" make $MAKE_SWITCHES "$build/tests/variants/test_conformance"
check "it conforms: decode equals forward, causality, bytes, bits" "$build/tests/variants/test_conformance"

# And an experiment can name it: it learns, is stored and reproduced.
cat >one_head.yaml <<'SPEC'
experiment: one_head
question: can a variant that was dropped in be run?
procedure: train
model: {family: decoder, n_layer: 1, d_model: 32, n_head: 2, d_ff: 32}
variant: {name: one_key_head}
task: {name: copy_back, length: 16, n_symbol: 4, lag: 3}
train: {lr: 3e-3, batch: 32, steps: 300, eval_every: 50, n_validation: 64, n_test: 128, stop_at: 0.95}
seeds: [1]
SPEC
check "it is trained and stored" "$build/kvlab" run ./one_head.yaml --db results/one.db
accuracy=$(sqlite3 results/one.db "SELECT value FROM metric WHERE name = 'accuracy' AND split = 'test'")
echo "# test accuracy $accuracy, chance 0.25"
check "it has learned to copy" awk "BEGIN { exit !($accuracy > 0.9) }"
check "its run is reproduced bit for bit" "$build/kvlab" reproduce 1 --db results/one.db
