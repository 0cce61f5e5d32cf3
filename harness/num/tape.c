// SPDX-License-Identifier: MIT
#include "harness/num/tape.h"

#include "harness/base/err.h"
#include "harness/num/backend.h"
#include "harness/num/stored.h"

struct record {
	struct record *previous;
	void (*backward)(struct tape *, void *);
	void *args;
};

enum { SCRATCH_CHUNK = 4 << 20, STEP_CHUNK = 1 << 20 };

void tape_open(
        struct tape *tape, struct tape_memory *memory, const struct backend *backend, int n_thread, size_t step_chunk)
{
	const int is_apart = backend->memory != NULL;
	arena_init(&memory->step, is_apart ? STEP_CHUNK : step_chunk);
	arena_init_from(&memory->values, step_chunk, backend->memory);
	arena_init_from(&memory->scratch, SCRATCH_CHUNK, backend->memory);
	*tape = (struct tape){.backend = backend,
	        .n_thread = n_thread,
	        .step = &memory->step,
	        .values = is_apart ? &memory->values : NULL,
	        .scratch = &memory->scratch};
}

void tape_close(struct tape_memory *memory)
{
	arena_release(&memory->step);
	arena_release(&memory->values);
	arena_release(&memory->scratch);
}

void tape_begin(struct tape *tape, enum tape_mode mode)
{
	tape->mode = mode;
	tape->last = NULL;
	tape->dropout_site = tape->is_decoding = tape->is_read = tape->n_token = 0;
	tape->forward = tape->backward = (struct tally){0, 0, 0};
	tape->tensor_bytes = tape->saved_bytes = tape->scratch_bytes = 0;
	tape->again_bytes = tape->again_saved = 0;
}

void tape_restart(struct tape *tape, enum tape_mode mode)
{
	arena_reset(tape->step);
	if (tape->values)
		arena_reset(tape->values);
	tape_begin(tape, mode);
}

struct tape_mark tape_mark(const struct tape *tape)
{
	return (struct tape_mark){arena_mark(tape->step), arena_mark(tape_values(tape))};
}

void tape_rewind(struct tape *tape, struct tape_mark mark)
{
	arena_rewind(tape_values(tape), mark.values);
	arena_rewind(tape->step, mark.step);
}

void tape_backward(struct tape *tape)
{
	if (tape->mode != TAPE_RECORD)
		BUG("tape_backward on a tape that does not record");
	for (struct record *r = tape->last; r; r = r->previous)
		r->backward(tape, r->args);
	tape->last = NULL;
}

void *tape_record(struct tape *tape, void (*backward)(struct tape *, void *), size_t bytes)
{
	if (tape->mode != TAPE_RECORD)
		return NULL;
	struct record *r = arena_alloc(tape->step, sizeof(*r));
	*r = (struct record){tape->last, backward, arena_zalloc(tape->step, bytes)};
	tape->last = r;
	return r->args;
}

void tape_count(struct tape *tape, struct tally forward, struct tally backward)
{
	tape->forward.flops += forward.flops;
	tape->forward.macs += forward.macs;
	tape->forward.read_bytes += forward.read_bytes;
	tape->forward.write_bytes += forward.write_bytes;
	tape->backward.flops += backward.flops;
	tape->backward.macs += backward.macs;
	tape->backward.read_bytes += backward.read_bytes;
	tape->backward.write_bytes += backward.write_bytes;
}

struct tensor *tensor_new_if(struct tape *tape, int B, int T, int C, int has_gradient)
{
	struct tensor *t = arena_zalloc(tape->step, sizeof(*t));
	*t = (struct tensor){.B = B, .T = T, .C = C, .b_stride = (ptrdiff_t)T * C, .t_stride = C};
	size_t bytes = (size_t)B * (size_t)T * (size_t)C * sizeof(real);
	tape->tensor_bytes += (double)bytes;
	if (tape->mode != TAPE_COUNT)
		t->x = arena_alloc(tape_values(tape), bytes);
	if (tape->mode == TAPE_RECORD && has_gradient)
		t->dx = arena_alloc(tape_values(tape), bytes);
	t->is_own = 1;
	return t;
}

struct tensor *tensor_new(struct tape *tape, int B, int T, int C)
{
	return tensor_new_if(tape, B, T, C, 1);
}

void tensor_clear_gradient(const struct tape *tape, struct tensor *t)
{
	const struct exec exec = {tape->n_thread, tape->scratch};
	const size_t row_bytes = (size_t)t->C * sizeof(real);
	if (t->t_stride == t->C && tensor_is_matrix(t)) {
		tape->backend->clear(&exec, t->dx, (size_t)tensor_n_row(t) * row_bytes);
		return;
	}
	for (int b = 0; b < t->B; b++)
		for (int i = 0; i < t->T; i++)
			tape->backend->clear(&exec, t->dx + b * t->b_stride + i * t->t_stride, row_bytes);
}

void tape_wait(const struct tape *tape)
{
	const struct exec exec = {tape->n_thread, tape->scratch};
	tape->backend->download(&exec, NULL, NULL, 0);
}

const real *tensor_on_host(struct tape *tape, const struct tensor *t)
{
	tape->is_read = 1;
	if (!tape->backend->memory)
		return t->x;
	const struct exec exec = {tape->n_thread, tape->scratch};
	const ptrdiff_t n = (t->B - 1) * t->b_stride + (t->T - 1) * t->t_stride + t->C;
	real *here = arena_alloc(tape->step, (size_t)n * sizeof(*here));
	tape->backend->download(&exec, here, t->x, (size_t)n * sizeof(*here));
	return here;
}

// A view shares its whole's gradient memory, so both must agree on whether it holds a value yet: the whole's
// gradient is set to zero when the view is made, and from then on everybody adds.
static struct tensor *view_of(struct tape *tape, struct tensor *whole, ptrdiff_t offset)
{
	struct tensor *view = arena_alloc(tape->step, sizeof(*view));
	if (whole->dx && !whole->is_live) {
		tensor_clear_gradient(tape, whole);
		whole->is_live = 1;
	}
	*view = *whole;
	view->is_own = 0;
	if (whole->stored && !whole->x)
		BUG("a view of rows that are kept in another type");
	view->stored = NULL;
	view->x = whole->x ? whole->x + offset : NULL;
	view->dx = whole->dx ? whole->dx + offset : NULL;
	return view;
}

static struct tensor *stored_columns(struct tape *tape, const struct tensor *whole, int from, int n)
{
	struct tensor *view = arena_alloc(tape->step, sizeof(*view));
	struct stored *stored = arena_alloc(tape->step, sizeof(*stored));
	if (whole->stored->turn)
		BUG("columns of rows that are turned when read");
	*stored = *whole->stored;
	stored->from += from;
	*view = *whole;
	view->C = n;
	view->x = whole->x ? whole->x + from : NULL;
	view->stored = stored;
	return view;
}

struct tensor *tensor_columns(struct tape *tape, struct tensor *whole, int from, int n)
{
	if (from < 0 || n < 0 || from + n > whole->C)
		BUG("columns %d..%d of a tensor of %d", from, from + n, whole->C);
	if (whole->stored)
		return stored_columns(tape, whole, from, n);
	struct tensor *view = view_of(tape, whole, from);
	view->C = n;
	return view;
}

struct tensor *tensor_rows(struct tape *tape, struct tensor *whole, int from, int n)
{
	if (from < 0 || n < 0 || from + n > whole->T)
		BUG("rows %d..%d of a tensor of %d", from, from + n, whole->T);
	struct tensor *view = view_of(tape, whole, from * whole->t_stride);
	view->T = n;
	return view;
}

int tensor_is_matrix(const struct tensor *t)
{
	return t->B == 1 || t->b_stride == t->T * t->t_stride;
}
