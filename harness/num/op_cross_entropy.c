// SPDX-License-Identifier: MIT
// Mean softmax cross-entropy over scored targets; dlogits = (softmax - one hot) / n.
#include "harness/base/err.h"
#include "harness/num/op.h"

struct loss loss_of_rows(const double *loss, const int *hit, const int *targets, long m)
{
	struct loss result = {0, 0, 0};
	for (long i = 0; i < m; i++) {
		if (targets[i] < 0)
			continue;
		result.n++;
		result.mean += loss[i];
		result.hits += hit[i];
	}
	result.mean /= result.n ? (double)result.n : 1;
	return result;
}

struct loss op_cross_entropy(struct tape *tape, struct tensor *logits, const int *targets, double *row_loss)
{
	long m = tensor_n_row(logits);
	double n = (double)m * logits->C;
	if (tape->mode == TAPE_COUNT) {
		// max, exponential, sum, division, difference.
		tape_count(
		        tape, (struct tally){5 * n, op_bytes(n), 0}, (struct tally){2 * n, op_bytes(n), op_bytes(n)});
		return (struct loss){0, 0, 0};
	}
	if (logits->t_stride != logits->C || !tensor_is_matrix(logits))
		BUG("cross-entropy on logits that are not packed");
	long n_target = 0;
	for (long i = 0; i < m; i++)
		n_target += targets[i] >= 0;
	n_target = tape->n_target ? tape->n_target : n_target;
	struct arena_mark mark = arena_mark(tape->step);
	double *loss = row_loss ? row_loss : arena_alloc(tape->step, (size_t)m * sizeof(*loss));
	int *hit = arena_alloc(tape->step, (size_t)m * sizeof(*hit));
	const struct exec exec = op_exec(tape);
	real *dlogits = tape->mode == TAPE_RECORD ? logits->dx : NULL;
	if (dlogits && op_gradient_take(logits))
		BUG("cross-entropy must be the only use of its logits");
	tape->backend->cross_entropy(&exec, loss, hit, dlogits, logits->x, targets, (int)m, logits->C,
	        n_target ? 1.0 / (double)n_target : 0);
	const struct loss result = loss_of_rows(loss, hit, targets, m);
	arena_rewind(tape->step, mark);
	return result;
}
