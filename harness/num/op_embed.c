// SPDX-License-Identifier: MIT
// out[b, t] = table[token[b, t]] + position[first + t]; the gradient is added back row by row, in order.
#include "harness/base/err.h"
#include "harness/num/op.h"

struct embed {
	const int *tokens;
	struct tensor *table, *position, *out;
	int first;
};

static void embed_backward(struct tape *tape, void *args)
{
	const struct embed *e = args;
	if (!e->out->is_live)
		return;
	const struct exec exec = op_exec(tape);
	real *dposition = e->position ? e->position->dx : NULL;
	int accumulate_table = e->table->dx ? op_gradient_take(e->table) : 0;
	int accumulate_position = dposition ? op_gradient_take(e->position) : 0;
	tape->backend->embed_backward(&exec, e->table->dx, e->table->T, accumulate_table, dposition,
	        e->position ? e->position->T : 0, accumulate_position, e->out->dx, e->tokens, e->out->B, e->out->T,
	        e->out->C, e->first);
}

struct tensor *op_embed(
        struct tape *tape, const int *tokens, int B, int T, struct tensor *table, struct tensor *position, int first)
{
	if (position && (position->C != table->C || first + T > position->T))
		BUG("embed: positions %d..%d of a table of %d", first, first + T, position->T);
	struct tensor *out = tensor_new_if(tape, B, T, table->C, op_has_gradient(table) || op_has_gradient(position));
	double n = (double)B * T * table->C;
	if (tape->mode == TAPE_COUNT) {
		const double read = op_row_bytes(table, (double)B * T) + (position ? op_bytes(n) : 0);
		tape_count(tape, (struct tally){position ? n : 0, read, op_bytes(n)},
		        (struct tally){position ? 2 * n : n, op_bytes(n), op_bytes(position ? 2 * n : n)});
		return out;
	}
	const struct exec exec = op_exec(tape);
	tape->n_token += B * T;
	const real *added = position ? position->x : NULL;
	if (table->stored) {
		tape->backend->embed_stored(&exec, out->x, table->stored, added, tokens, B, T, table->C, first);
		return out;
	}
	tape->backend->embed(&exec, out->x, table->x, added, tokens, B, T, table->C, first);
	struct embed *e = op_record(tape, out, embed_backward, sizeof(*e));
	if (e)
		*e = (struct embed){tokens, table, position, out, first};
	return out;
}
