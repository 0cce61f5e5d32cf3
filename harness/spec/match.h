// SPDX-License-Identifier: MIT
// The `match:` section of a spec: variants at equal cost. One option of every point is freed and solved for, so that
// the point's cache bytes per token, parameters or FLOPs come as near as they can to a number, or to those of a
// reference point. The solved value becomes part of the point's setup, as if the spec had said it.
// Call order: match_read() for the spec and then for its scale, match_check() once every choice is known, then for
// each point match_target() of its reference and match_solve().
#ifndef KVLAB_SPEC_MATCH_H
#define KVLAB_SPEC_MATCH_H
#include "harness/spec/matrix.h"
#ifdef __cplusplus
extern "C" {
#endif

// Takes over the keys of a `match:` section; a later one's replace an earlier one's.
int match_read(struct matrix *m, const struct node *match);
// Looks everything up that the section names. Does nothing where the spec has no such section.
int match_check(struct matrix *m);

// "cache_bytes", "params" or "flops"; NULL where the spec has no such section.
const char *match_metric_name(const struct match *match);
// The metric of a setup from which nothing has been derived yet; the setup stays as it is. 0, or -1 with the sentence
// why that setup cannot be.
int match_measure(const struct match *match, const struct setup *setup, double *value, struct err *cause);

struct match_result {
	double target, reached;
	const struct option *option; // what was solved for, now set in the setup
	enum section_id section;
	int value;
};
// Sets the freed option of such a setup to the value whose metric is nearest to target (of two as near the one
// below; where the metric does not change with the option, any value that gives it). 0, or -1 with a message at the
// place in the spec; `label` names the point in it.
int match_solve(
        const struct matrix *m, struct setup *setup, const char *label, double target, struct match_result *result);

#ifdef __cplusplus
}
#endif
#endif
