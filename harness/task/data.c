// SPDX-License-Identifier: MIT
// How a run's sequences are taken from a task: orders of a fixed training set, and splits by content.
#include <stdlib.h>

#include "harness/base/hash.h"
#include "harness/task/task.h"

// Attempts at a sequence of the right class before a run gives up, and what the check before it allows itself.
enum { DRAW_ATTEMPTS = 1 << 16, CHECK_ATTEMPTS = 1 << 12 };
// Of so many draws of a class so many must differ, or accuracy would be that of a handful of sequences.
enum { CHECK_DRAWS = 64, CHECK_DISTINCT = 32 };

enum rng_purpose task_content_purpose(const int *tokens, int T)
{
	const uint64_t class = hash_u64(tokens, (size_t)T * sizeof(*tokens)) % 16;
	return class == 0 ? RNG_VALIDATION : class == 1 ? RNG_TEST : RNG_TRAIN;
}

// 0, or -1 when none of `most` attempts is of the class asked for. Attempts are far beyond any index of a run, and keep
// a sequence's slice.
static int draw_of_class(const struct task_data *data, const struct task_shape *shape, uint64_t seed,
        enum rng_purpose purpose, uint64_t index, int most, int *tokens, int *targets)
{
	const uint64_t stride = (uint64_t)(shape->n_slice ? shape->n_slice : 1) << 40;
	for (int attempt = 0; attempt < most; attempt++) {
		data->task->draw(data->config, seed, purpose, index + (uint64_t)attempt * stride, tokens, targets);
		if (task_content_purpose(tokens, shape->T) == purpose)
			return 0;
	}
	return -1;
}

static long train_size(const struct task_data *data, const struct task_shape *shape)
{
	return data->n_train ? data->n_train : shape->n_train;
}

void task_draw(const struct task_data *data, uint64_t seed, enum rng_purpose purpose, uint64_t index, int *tokens,
        int *targets)
{
	const struct task_shape shape = data->task->shape(data->config);
	const uint64_t n = (uint64_t)train_size(data, &shape), batch = (uint64_t)data->batch;
	if (purpose == RNG_TRAIN && n) {
		const uint64_t n_used = n / batch * batch;
		index = rng_permute(seed, RNG_ORDER, index / n_used, index % n_used, n);
	}
	if (data->split == TASK_SPLIT_STREAM)
		data->task->draw(data->config, seed, purpose, index, tokens, targets);
	else if (draw_of_class(data, &shape, seed, purpose, index, DRAW_ATTEMPTS, tokens, targets))
		BUG("task '%s' has no sequence of purpose %d", data->task->name, (int)purpose);
}

// Whether each class has many distinct members, told by the hashes of some draws.
static int check_classes(const struct task_data *data, const struct task_shape *shape, struct err *err)
{
	static const enum rng_purpose purpose[] = {RNG_TRAIN, RNG_VALIDATION, RNG_TEST};
	int *tokens = malloc((size_t)(shape->T + shape->n_target) * sizeof(*tokens)), status = 0;
	if (!tokens)
		die_no_memory((unsigned long long)(shape->T + shape->n_target) * sizeof(*tokens));
	for (int p = 0; p < 3 && !status; p++) {
		uint64_t seen[CHECK_DRAWS];
		int n_seen = 0;
		for (int i = 0; i < CHECK_DRAWS && !status; i++) {
			status = draw_of_class(
			        data, shape, 1, purpose[p], (uint64_t)i, CHECK_ATTEMPTS, tokens, tokens + shape->T);
			const uint64_t hash = hash_u64(tokens, (size_t)shape->T * sizeof(*tokens));
			int at = 0;
			while (at < n_seen && seen[at] != hash)
				at++;
			if (at == n_seen)
				seen[n_seen++] = hash;
		}
		status = status || n_seen < CHECK_DISTINCT;
	}
	free(tokens);
	return status ? err_set(err,
	                        "task '%s' has too few distinct sequences here to be split by content (make it "
	                        "larger, or leave split at stream)",
	                        data->task->name)
	              : 0;
}

int task_data_check(const struct task_data *data, struct err *err)
{
	const struct task_shape shape = data->task->shape(data->config);
	const long n = train_size(data, &shape);
	if (shape.n_train && data->n_train > shape.n_train)
		return err_set(err, "n_train %ld is more than the %ld training sequences of task '%s'", data->n_train,
		        shape.n_train, data->task->name);
	if (n && n < data->batch)
		return err_set(err, "%ld training sequences do not fill a batch of %d", n, data->batch);
	if (data->split == TASK_SPLIT_STREAM)
		return 0;
	if (shape.is_partitioned)
		return err_set(err, "task '%s' has parts of its own that share nothing: leave split at stream",
		        data->task->name);
	return check_classes(data, &shape, err);
}
