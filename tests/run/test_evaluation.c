// SPDX-License-Identifier: MIT
// What a run reports: accuracy through the cache that is stored, slice by slice, on data split and repeated as asked.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness/run/run.h"
#include "harness/run/trainer.h"
#include "tests/model/build.h"
#include "tests/num/rig.h"
#include "tests/task/made_corpus.h"
#include "tests/test.h"

static struct rig rig;
static const struct optimizer_config adam = {.lr = 0.003, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .clip = 1};

static const struct setup *make(const char *model, const char *variant, const char *task, const char *train)
{
	return build_setup(model, variant, task, train, &rig.memory);
}

// --- through the cache
// -------------------------------------------------------------------------------------------------

// Loss over sequences 0..n-1 of the test stream, one at a time and `step` tokens at a time through a cache of `config`.
static struct loss by_hand(
        struct trainer *t, const struct setup *setup, const struct cache_config *config, int n, int step)
{
	struct loss all = {0, 0, 0};
	const int T = t->shape.T, from = t->shape.target_from, n_target = t->shape.n_target;
	for (int i = 0; i < n; i++) {
		const struct arena_mark mark = arena_mark(&rig.memory);
		struct cache cache;
		struct err err = {0};
		int *tokens = arena_alloc(&rig.memory, (size_t)T * sizeof(int));
		int *targets = arena_alloc(&rig.memory, (size_t)n_target * sizeof(int));
		setup->task->draw(setup->task_config, t->seed, RNG_TEST, (uint64_t)i, tokens, targets);
		if (cache_init(&cache, config, setup->variant, &t->model.dims, setup->variant_config, 1, T, &rig.memory,
		            &err))
			fail_msg("%s", err.message);
		for (int at = 0; at < T; at += step) {
			const int size = at + step < T ? step : T - at;
			rig_begin(&rig, TAPE_RUN);
			struct tensor *logits =
			        model_forward(&rig.tape, &t->model, tokens + at, 1, size, 0, size, &cache);
			int *asked = arena_alloc(&rig.memory, (size_t)size * sizeof(int));
			for (int j = 0; j < size; j++)
				asked[j] = at + j < from || at + j >= from + n_target ? -1 : targets[at + j - from];
			const struct loss part = op_cross_entropy(&rig.tape, logits, asked, NULL);
			all.mean += part.mean * (double)part.n;
			all.n += part.n;
			all.hits += part.hits;
		}
		arena_rewind(&rig.memory, mark);
	}
	all.mean /= (double)all.n;
	return all;
}

static void assert_same_loss(struct loss a, struct loss b)
{
	assert_int_equal(a.n, b.n);
	assert_int_equal(a.hits, b.hits);
	assert_true(fabs(a.mean - b.mean) < 1e-5 * fabs(a.mean));
}

// Trained a little, so that logits say something; then evaluated in each type, and by hand: token by token where the
// model can be decoded, in one piece where it sees the future.
static void through_types(const char *model, const char *variant, const char *task, int step)
{
	static const struct cache_config types[] = {
	        {DTYPE_F16, DTYPE_BF16, 0}, {DTYPE_Q8, DTYPE_Q8, 0}, {DTYPE_Q4, DTYPE_Q4, 0}, {DTYPE_F32, DTYPE_Q4, 0}};
	enum { N = 50 };
	struct setup setup = *make(model, variant, task, "");
	struct trainer t, typed;
	setup.cache = NULL;
	trainer_init(&t, &setup, &adam, 16, 1, 1);
	assert_null(t.cache);
	for (int s = 1; s <= 60; s++)
		trainer_step(&t, s);
	const struct loss plain = trainer_evaluate(&t, RNG_TEST, N, NULL).loss;
	const struct cache_config f32 = {DTYPE_F32, DTYPE_F32, 0};
	assert_same_loss(plain, by_hand(&t, &setup, &f32, N, step));
	double off[4];
	for (int i = 0; i < 4; i++) {
		struct cache_config config = types[i];
		setup.cache = &config;
		trainer_init(&typed, &setup, &adam, i % 2 ? 7 : 16, 1, 1 + i % 2); // last batches of 1 and of 2
		memcpy(typed.model.x, t.model.x, (size_t)t.model.n_padded * sizeof(real));
		assert_non_null(typed.cache);
		const struct loss got = trainer_evaluate(&typed, RNG_TEST, N, NULL).loss;
		assert_same_loss(got, by_hand(&typed, &setup, &config, N, step));
		off[i] = fabs(got.mean - plain.mean);
		assert_true(off[i] > 0);
		trainer_release(&typed);
	}
	assert_true(off[0] < 0.01 * plain.mean && off[1] < 0.01 * plain.mean);
	assert_true(off[2] > off[0] && off[2] > off[1]);
	trainer_release(&t);
}

static void accuracy_is_measured_through_what_is_stored(void **state UNUSED)
{
	through_types(
	        "decoder n_layer=2 d_model=32 n_head=2 d_ff=64", "mha", "copy_back length=17 n_symbol=4 lag=3", 1);
	through_types("decoder n_layer=2 d_model=32 n_head=2 d_ff=64", "thin_keys d_select=8", "retrieval n_key=4", 5);
	through_types("encoder n_layer=2 d_model=32 n_head=2 d_ff=64", "mha", "digits length=10 map=sub", 10);
}

static void a_typed_evaluation_allocates_nothing_more(void **state UNUSED)
{
	struct cache_config q8 = {DTYPE_Q8, DTYPE_Q8, 0};
	struct setup setup = *make("decoder n_layer=1 d_model=16 n_head=2 d_ff=16", "mha", "retrieval n_key=4", "");
	struct trainer t;
	setup.cache = &q8;
	trainer_init(&t, &setup, &adam, 16, 1, 1);
	trainer_step(&t, 1);
	trainer_evaluate(&t, RNG_TEST, 50, NULL);
	const unsigned long step = t.work.step.n_grow, run = t.run.n_grow;
	const size_t run_bytes = t.run.used_bytes;
	for (int i = 0; i < 3; i++)
		trainer_evaluate(&t, RNG_TEST, 50, NULL);
	assert_true(t.work.step.n_grow == step && t.run.n_grow == run && t.run.used_bytes == run_bytes);
	assert_int_equal(t.work.scratch.used_bytes, 0);
	trainer_release(&t);
}

// --- slices
// ------------------------------------------------------------------------------------------------------------
static const char sliced[] = "mqar n_vocab=32 n_pair=4 n_pair_least=1 length=16";
static const char small_model[] = "decoder n_layer=1 d_model=16 n_head=2 d_ff=16";

static void slices_add_up_to_the_whole(void **state UNUSED)
{
	enum { N = 50, SLICES = 3 };
	const struct setup *setup = make(small_model, "mha", sliced, "");
	struct trainer t;
	struct evaluation slice[SLICES];
	struct loss sum = {0, 0, 0};
	trainer_init(&t, setup, &adam, 8, 1, 1);
	assert_int_equal(t.shape.n_slice, SLICES);
	for (int s = 1; s <= 20; s++)
		trainer_step(&t, s);
	const struct loss whole = trainer_evaluate(&t, RNG_TEST, N, NULL).loss;
	const struct loss by_slice = trainer_evaluate(&t, RNG_TEST, N, slice).loss;
	for (int s = 0; s < SLICES; s++) {
		const long n_sequence = (N - s + SLICES - 1) / SLICES;
		assert_int_equal(slice[s].loss.n, n_sequence << s); // 1, 2 and 4 pairs
		sum.n += slice[s].loss.n;
		sum.hits += slice[s].loss.hits;
		sum.mean += slice[s].loss.mean * (double)slice[s].loss.n;
		// Each is what its sequences alone give.
		struct loss alone = {0, 0, 0};
		double nats2 = 0;
		const size_t T = (size_t)t.shape.T, n_target = (size_t)t.shape.n_target;
		for (uint64_t i = (uint64_t)s; i < N; i += SLICES) {
			int *tokens = arena_alloc(&rig.memory, T * sizeof(int));
			int *targets = arena_alloc(&rig.memory, n_target * sizeof(int));
			setup->task->draw(setup->task_config, 1, RNG_TEST, i, tokens, targets);
			rig_begin(&rig, TAPE_RUN);
			const struct loss one = op_cross_entropy(&rig.tape,
			        model_forward(&rig.tape, &t.model, tokens, 1, (int)T, t.shape.target_from,
			                (int)n_target, NULL),
			        targets, NULL);
			alone.n += one.n;
			alone.hits += one.hits;
			alone.mean += one.mean * (double)one.n;
			nats2 += one.mean * one.mean * (double)(one.n * one.n);
		}
		// Sequences of a slice have as many targets each: the error of a plain mean.
		const double k = (double)n_sequence, mean = alone.mean / k;
		const double error = sqrt((nats2 - k * mean * mean) / (k - 1) / k) / (double)(1 << s);
		assert_true(error > 0 && fabs(slice[s].error - error) < 1e-5 * error);
		assert_int_equal(alone.hits, slice[s].loss.hits);
		assert_true(fabs(alone.mean / (double)alone.n - slice[s].loss.mean) < 1e-6);
	}
	assert_true(sum.n == whole.n && sum.n == by_slice.n && sum.hits == whole.hits && sum.hits == by_slice.hits);
	assert_true(fabs(sum.mean / (double)sum.n - whole.mean) < 1e-6);
	assert_true(fabs(by_slice.mean - whole.mean) < 1e-6);
	trainer_release(&t);
}

static const struct metric *find(const struct run_log *log, const char *name, const char *split)
{
	for (long i = log->n_metric; i-- > 0;)
		if (!strcmp(log->metric[i].name, name) && !strcmp(log->metric[i].split, split))
			return &log->metric[i];
	return NULL;
}

static void run(struct run_log *log, const struct setup *setup)
{
	struct err err = {0};
	run_log_init(log);
	if (setup->procedure->run(setup, 1, 1, log, &err))
		fail_msg("%s", err.message);
}

static void slices_are_metrics_of_their_own_split(void **state UNUSED)
{
	struct run_log log;
	run(&log, make(small_model, "mha", sliced, "steps=10 eval_every=5 n_validation=30 n_test=60 batch=8"));
	double hits = 0, n = 0;
	for (int i = 0; i < 3; i++) {
		char split[64];
		snprintf(split, sizeof(split), "test n_pair=%d length=16", 1 << i);
		const struct metric *m = find(&log, "accuracy", split);
		assert_non_null(m);
		assert_true(m->step == -1 && find(&log, "loss", split));
		hits += m->value * 20 * (1 << i);
		n += 20 * (1 << i);
		snprintf(split, sizeof(split), "validation n_pair=%d length=16", 1 << i);
		assert_non_null(find(&log, "accuracy", split));
	}
	assert_true(fabs(hits / n - find(&log, "accuracy", "test")->value) < 1e-12);
	run_log_release(&log);
	run(&log, make(small_model, "mha", "retrieval n_key=4", "steps=2 n_validation=8 n_test=8 batch=4"));
	for (long i = 0; i < log.n_metric; i++) // a task without slices has none
		assert_null(strchr(log.metric[i].split, ' '));
	assert_null(find(&log, "corpus_hash", "count"));
	run_log_release(&log);
}

// --- data
// --------------------------------------------------------------------------------------------------------------

// Batches of the trainer over an epoch: every sequence of the set once.
static void an_epoch_visits_every_sequence_once(void **state UNUSED)
{
	enum { N = 24, BATCH = 6 };
	const struct setup *setup = make(small_model, "mha", "retrieval", "");
	struct trainer t;
	trainer_init(&t, setup, &adam, BATCH, 3, 1);
	t.data.n_train = N;
	int set[N][18], target;
	for (int i = 0; i < N; i++)
		setup->task->draw(setup->task_config, 3, RNG_TRAIN, (uint64_t)i, set[i], &target);
	for (int epoch = 0; epoch < 3; epoch++) {
		int seen[N] = {0};
		for (int step = 1; step <= N / BATCH; step++) {
			trainer_step(&t, epoch * N / BATCH + step);
			for (int b = 0; b < BATCH; b++)
				for (int i = 0; i < N; i++)
					seen[i] += !memcmp(t.tokens + b * 18, set[i], sizeof(set[i]));
		}
		for (int i = 0; i < N; i++)
			assert_int_equal(seen[i], 1);
	}
	trainer_release(&t);
}

static void a_text_is_trained_on_and_named_by_its_hash(void **state UNUSED)
{
	struct run_log log;
	const struct setup *setup = make(small_model, "mha", "text corpus=tinyshakespeare length=32",
	        "steps=60 eval_every=30 n_validation=20 n_test=30 batch=8 lr=0.01");
	run(&log, setup);
	const uint64_t hash = setup->task->shape(setup->task_config).content_hash;
	const double stored = find(&log, "corpus_hash", "count")->value;
	assert_true(stored == (double)(hash & ((1ULL << 52) - 1)) && stored != 0);
	assert_true(find(&log, "accuracy", "test")->value > 0.1); // the most common byte at least
	assert_true(find(&log, "loss", "test")->value < 4);       // below log 256 = 5.5
	run_log_release(&log);
}

static void assert_refused(const char *task, const char *train, const char *part)
{
	struct setup *setup = (struct setup *)make(small_model, "mha", task, "n_validation=1 n_test=1");
	struct err err = {0};
	build_options(setup->procedure->options, setup->procedure_config, train);
	assert_int_equal(setup->procedure->check(setup, &err), -1);
	if (!strstr(err.message, part))
		fail_msg("'%s' does not say '%s'", err.message, part);
}

static void what_the_task_does_not_have_is_refused(void **state UNUSED)
{
	assert_refused("retrieval", "n_train=10", "do not fill a batch of 64");
	assert_refused("associative_recall n_symbol=2 n_pair=1", "split=content", "too few distinct sequences");
	static const char text[] = "text corpus=tinyshakespeare length=10";
	assert_refused(text, "n_test=1000", "n_test 1000 is more than the 499 test sequences");
	assert_refused(
	        text, "n_test=10 n_validation=500", "n_validation 500 is more than the 499 validation sequences");
	assert_refused(text, "n_test=10 n_validation=10 n_train=9000", "n_train 9000 is more than the 8999 training");
}

static int setup(void **state UNUSED)
{
	rig_init(&rig);
	made_corpus(100000);
	return 0;
}

static int teardown(void **state UNUSED)
{
	rig_release(&rig);
	made_corpus_remove();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(accuracy_is_measured_through_what_is_stored),
	        cmocka_unit_test(a_typed_evaluation_allocates_nothing_more),
	        cmocka_unit_test(slices_add_up_to_the_whole),
	        cmocka_unit_test(slices_are_metrics_of_their_own_split),
	        cmocka_unit_test(an_epoch_visits_every_sequence_once),
	        cmocka_unit_test(a_text_is_trained_on_and_named_by_its_hash),
	        cmocka_unit_test(what_the_task_does_not_have_is_refused),
	};
	return cmocka_run_group_tests_name("evaluation", tests, setup, teardown);
}
