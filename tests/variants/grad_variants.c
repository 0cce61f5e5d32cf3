// SPDX-License-Identifier: MIT
// The gradient of every variant's attention by its parameters and its input, in each case and shape, against central
// differences of a random projection of the output.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/num/gradient.h"
#include "tests/test.h"
#include "tests/variants/cases.h"

#define MOST_ERROR 1e-6
// A difference may step over the kink of a ReLU, then the next draw counts: a wrong gradient is wrong in all of them.
enum { B = 1, T = 5, RELU_DRAWS = 5 };

RIG_FIXTURE;
static double worst_of_all;

struct subject {
	const struct model *model;
	struct tensor *x, *spoiled;
	int q_from;
};

static double projection(struct tape *tape, void *context)
{
	const struct subject *s = context;
	if (s->spoiled)
		gradient_spoil(tape, s->spoiled, 0, 1, 1.002);
	struct attn a = {.tape = tape,
	        .dims = &s->model->dims,
	        .config = s->model->variant_config,
	        .param = s->model->layer[0].attn,
	        .x = s->x,
	        .x_q = op_rows(tape, s->x, s->q_from, T - s->q_from),
	        .q_from = s->q_from};
	return gradient_project(tape, s->model->variant->forward(&a), 1);
}

static double error_of(struct subject *s, int q_from)
{
	struct tensor *input[VARIANT_PARAMS + 1];
	int n = 0;
	s->q_from = q_from;
	input[n++] = s->x = rig_tensor(&rig, B, T, s->model->dims.d_model);
	for (int p = 0; p < VARIANT_PARAMS; p++)
		if (s->model->layer[0].attn[p])
			input[n++] = s->model->layer[0].attn[p];
	const struct gradient_check check = {.value = projection, .context = s, .input = input, .n_input = n};
	return gradient_error(&rig, &check);
}

static void gradients_of_every_variant(void **state UNUSED)
{
	int n = 0;
	for (const struct variant_case *c = variant_cases; c->variant; c++)
		for (const char *const *shape = variant_case_shapes; *shape; shape++) {
			const struct arena_mark mark = arena_mark(&rig.memory);
			struct err err = {0};
			struct subject s = {variant_case_model(c, *shape, T, test_seed(), &rig.memory, &err)};
			// null hands its input on, with nothing of its own to differentiate.
			for (int q_from = 0; s.model && strcmp(c->variant, "null") && q_from < T; q_from += T - 1) {
				double error = INFINITY;
				for (int i = strstr(c->settings, "relu") ? RELU_DRAWS : 1; i > 0 && error >= MOST_ERROR;
				        i--)
					error = error_of(&s, q_from);
				worst_of_all = fmax(worst_of_all, error);
				n++;
				if (!(error < MOST_ERROR))
					fail_msg("%s, rows from %d on: relative error %.3g",
					        variant_case_name(c, *shape, &rig.memory), q_from, error);
			}
			arena_rewind(&rig.memory, mark);
		}
	printf("# %d gradients: worst relative error %.2e\n", n, worst_of_all);
}

static void a_planted_error_is_caught(void **state UNUSED)
{
	struct err err = {0};
	const struct variant_case c = {"keyless", "m1=2"};
	struct subject s = {variant_case_model(&c, variant_case_shapes[0], T, test_seed(), &rig.memory, &err)};
	s.spoiled = s.model->layer[0].attn[2]; // w_q2
	assert_true(error_of(&s, 0) > MOST_ERROR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(gradients_of_every_variant),
	        cmocka_unit_test(a_planted_error_is_caught),
	};
	return cmocka_run_group_tests_name("gradients of variants", tests, setup, teardown);
}
