// SPDX-License-Identifier: MIT
// Tensors and the tape: reverse-mode differentiation over coarse ops (DESIGN section 3).
//
// Legal call order of a training step:
//     tape_begin(tape, TAPE_RECORD);  y = op(tape, x, ...);  ...;  tape_backward(tape);
// An op runs at once. In TAPE_RECORD it also pushes one record; tape_backward walks the records in reverse.
// In TAPE_RUN nothing is recorded and no gradient exists. In TAPE_COUNT no data is touched (values are NULL) and
// only shapes are followed: FLOPs and bytes add up in tape->forward and tape->backward for any size.
#ifndef KVLAB_NUM_TAPE_H
#define KVLAB_NUM_TAPE_H
#include <stddef.h>

#include "harness/base/arena.h"
#include "harness/num/real.h"
#ifdef __cplusplus
extern "C" {
#endif

// B sequences of T rows of C numbers: element (b, t, c) is at x[b * b_stride + t * t_stride + c].
// A weight matrix (out, in) is B = 1, T = out, C = in; a vector is B = T = 1.
// A view shares the memory of another tensor; values and gradients have the same layout.
struct stored;
struct tensor {
	int B, T, C;
	ptrdiff_t b_stride, t_stride;
	real *x;     // values; NULL when counting
	real *dx;    // gradient of the loss; NULL where none is wanted (a frozen parameter, and what is made of such
	             // alone)
	int is_own;  // made by tensor_new: nobody else looks at the memory of its gradient
	int is_live; // the gradient holds a value: add to it. Otherwise it is undefined: write it
	const struct stored *stored; // rows that are kept in another type (stored.h): x is NULL then. NULL: reals
};

// FLOPs count a multiply-add as two; macs are the multiply-adds of matrix products alone (what papers call MACs).
// Bytes are what must be read and written once if every operand is touched once.
struct tally {
	double flops, read_bytes, write_bytes, macs;
};

enum tape_mode { TAPE_RUN, TAPE_RECORD, TAPE_COUNT };

struct backend;
struct record;

struct tape {
	enum tape_mode mode;
	const struct backend *backend;
	int n_thread;          // never changes a result
	struct arena *step;    // tensors and records; the owner resets it between steps
	struct arena *values;  // what tensors hold, in the backend's memory; NULL: on step, where that is the host's
	struct arena *scratch; // inside one op, in the backend's memory
	struct record *last;
	struct tally forward, backward;
	double tensor_bytes;             // values of all tensors made since tape_begin (gradients take as much again)
	double saved_bytes;              // what ops keep for backward beside tensors
	double again_bytes, again_saved; // of both, counting: the largest piece that is run again (op_recompute)
	double scratch_bytes; // counting: the most that a product needs beside its operands (op_count_scratch)
	// Dropout is keyed by (seed, step, site); site counts the dropout ops since tape_begin.
	unsigned long long dropout_seed, dropout_step;
	int dropout_site;
	long n_target; // that the loss is the mean of, where others compute its other rows; 0: those it is given
	// A few new rows are computed through a cache: ops take the kernels for few rows, which read weights and cached
	// rows once, as they lie, and add up in another order than training's. tape_begin clears it.
	int is_decoding;
	int n_token; // that op_embed was given since tape_begin: the model's, then those of tables with one row
	int is_read; // since tape_begin the host has read what a slot wrote: such a step cannot be played again
};

// The arenas of a tape of its own: an owner has one of these beside it.
struct tape_memory {
	struct arena step, values, scratch; // values: nothing is in it where tensors lie on step
};
// A tape on memory of that backend; chunks of tensors are of step_chunk bytes.
void tape_open(
        struct tape *tape, struct tape_memory *memory, const struct backend *backend, int n_thread, size_t step_chunk);
void tape_close(struct tape_memory *memory);
// Empties the tape and sets the mode. Does not touch the arenas.
void tape_begin(struct tape *tape, enum tape_mode mode);
// The same after its arenas have been emptied: the start of a step.
void tape_restart(struct tape *tape, enum tape_mode mode);
// Where values and gradients come from.
static inline struct arena *tape_values(const struct tape *tape)
{
	return tape->values ? tape->values : tape->step;
}
// What has been made since then is forgotten.
struct tape_mark {
	struct arena_mark step, values;
};
struct tape_mark tape_mark(const struct tape *tape);
void tape_rewind(struct tape *tape, struct tape_mark mark);
// Runs every record's backward, last first. The loss op has set its own input's gradient.
void tape_backward(struct tape *tape);

// A new tensor on the step arena; values (and, when recording, the gradient) uninitialised.
struct tensor *tensor_new(struct tape *tape, int B, int T, int C);
// What an op makes of operands: it has a gradient if any of them has one. Where nothing below is trained, nothing is
// recorded and backward stops.
struct tensor *tensor_new_if(struct tape *tape, int B, int T, int C, int has_gradient);
// Columns from..from+n-1 of every row, sharing memory. Gradients written there appear in the whole.
struct tensor *tensor_columns(struct tape *tape, struct tensor *whole, int from, int n);
// Rows from..from+n-1 of every sequence, sharing memory.
struct tensor *tensor_rows(struct tape *tape, struct tensor *whole, int from, int n);
// Writes zeros to its gradient, live or not.
void tensor_clear_gradient(const struct tape *tape, struct tensor *t);
// Everything that slots were asked for has been done when it returns: for timings.
void tape_wait(const struct tape *tape);
// Its values where the host can read them, with the same strides, until the step arena is reset.
const real *tensor_on_host(struct tape *tape, const struct tensor *t);
// True when the B*T rows are evenly spaced (one matrix with leading dimension t_stride).
int tensor_is_matrix(const struct tensor *t);
static inline long tensor_n_row(const struct tensor *t)
{
	return (long)t->B * t->T;
}

// For ops. An op's arguments live on the step arena; `backward` gets them back.
// Returns zeroed memory of the size given, or NULL when the tape is not recording.
void *tape_record(struct tape *tape, void (*backward)(struct tape *, void *), size_t bytes);
void tape_count(struct tape *tape, struct tally forward, struct tally backward);

#ifdef __cplusplus
}
#endif
#endif
