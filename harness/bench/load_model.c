// SPDX-License-Identifier: MIT
// Opening a model of 135M parameters, from a file that the bench writes and that lies in the file cache: how long until
// it can be used, and how much memory of its own that takes. A mapped f32 file must not be copied.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/base/progress.h"
#include "harness/base/stats.h"
#include "harness/bench/bench.h"
#include "harness/bench/memory.h"
#include "harness/bench/workload.h"
#include "harness/pretrained/pretrained.h"

enum { TRIES = 5, TOKENS = 8 };
static const double most_s = 1;

static const struct use {
	const char *name;
	enum pretrained_use use;
	double most_own; // memory of its own, of the file's size
} uses[] = {{"to read", PRETRAINED_TO_READ, 0.05}, {"to train", PRETRAINED_TO_TRAIN, 1.05}};

static struct model *make_model(struct bench *bench, const struct family **family, struct arena *arena, struct err *err)
{
	struct workload w;
	if (workload_init(&w, "smollm2", &(struct workload_variant){"gqa", "", ""}, &bench->arena, err))
		return NULL;
	struct model *m = arena_zalloc(arena, sizeof(*m));
	model_init(m, w.setup.model, w.setup.variant, w.setup.variant_config, arena);
	model_allocate(m, 0, arena);
	model_draw_weights(m, 1);
	*family = w.setup.family->of ? w.setup.family->of : w.setup.family;
	return m;
}

static int is_same(const struct model *a, const struct model *b)
{
	for (int p = 0; p < a->n_param; p++) {
		const struct tensor *x = &a->param[p].tensor, *y = &b->param[p].tensor;
		if (memcmp(x->x, y->x, (size_t)x->T * (size_t)x->C * sizeof(real)) != 0)
			return 0;
	}
	return 1;
}

// Logits of a few tokens: the model is used, so that what was put off is paid for.
static void use_model(struct model *m, int n_thread, struct arena *arena)
{
	int tokens[TOKENS];
	struct arena step;
	for (int i = 0; i < TOKENS; i++)
		tokens[i] = i;
	arena_init(&step, 16 << 20);
	struct tape tape = {.backend = &backend_cpu, .n_thread = n_thread, .step = &step, .scratch = arena};
	tape_begin(&tape, TAPE_RUN);
	model_forward(&tape, m, tokens, 1, TOKENS, TOKENS - 1, 1, NULL);
	arena_release(&step);
}

static int measure(
        const struct use *use, const struct model *written, const char *folder, int n_thread, struct err *err)
{
	double seconds[TRIES], first_s = 0;
	struct memory before, after, used;
	for (int i = 0; i < TRIES; i++) {
		struct pretrained p;
		struct arena arena;
		arena_init(&arena, 16 << 20);
		int is_known = !memory_now(&before);
		const double start = clock_s();
		if (model_load(&p, folder, use->use, &arena, err)) {
			arena_release(&arena);
			return -1;
		}
		seconds[i] = clock_s() - start;
		is_known &= !memory_now(&after);
		use_model(&p.model, n_thread, &arena);
		first_s = clock_s() - start;
		is_known &= !memory_now(&used);
		const int is_right = is_same(&p.model, written);
		pretrained_close(&p);
		arena_release(&arena);
		if (!is_right)
			return err_fault(err, "bench: a model that was written and read again is another one");
		if (i + 1 < TRIES)
			continue;
		const double bytes = (double)written->n_number * sizeof(real);
		const double most = median_of(seconds, TRIES);
		printf("  %-8s  %7.1f ms [%.1f, %.1f] n %d   target at most %g s: %s\n", use->name, most * 1e3,
		        seconds[0] * 1e3, seconds[TRIES - 1] * 1e3, TRIES, most_s, most <= most_s ? "met" : "missed");
		printf("            with the logits after %d tokens %.1f ms", TOKENS, first_s * 1e3);
		if (is_known)
			printf("; own memory +%.1f MB, after use +%.1f MB, of the file +%.1f MB   target at most %.1f "
			       "MB "
			       "own: %s",
			        (after.own - before.own) / 1e6, (used.own - before.own) / 1e6,
			        (used.mapped - before.mapped) / 1e6, use->most_own * bytes / 1e6,
			        after.own - before.own <= use->most_own * bytes ? "met" : "missed");
		printf("\n");
	}
	return 0;
}

int bench_load_model(struct bench *bench, struct err *err)
{
	const char *temp = getenv("TMPDIR"), *const files[] = {"model.safetensors", "config.json"};
	char folder[4096], path[4200];
	snprintf(folder, sizeof(folder), "%s/kvlab-bench-XXXXXX", temp && *temp ? temp : "/tmp");
	struct arena arena;
	const struct family *family;
	const struct arena_mark mark = arena_mark(&bench->arena);
	arena_init(&arena, 16 << 20);
	const struct model *m = make_model(bench, &family, &arena, err);
	int rc = m ? 0 : -1;
	if (!rc && !mkdtemp(folder))
		rc = err_fault(err, "bench: no folder can be made in '%s' (set TMPDIR)", temp && *temp ? temp : "/tmp");
	else if (!rc) {
		rc = model_save(m, family, folder, err);
		if (!rc)
			printf("\nloading a model of %ld parameters, %.1f MB of f32 in the file cache\n", m->n_number,
			        (double)m->n_number * sizeof(real) / 1e6);
		for (size_t i = 0; !rc && i < sizeof(uses) / sizeof(*uses); i++)
			rc = measure(&uses[i], m, folder, bench->n_thread, err);
		for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
			snprintf(path, sizeof(path), "%s/%s", folder, files[i]);
			unlink(path);
		}
		rmdir(folder);
	}
	arena_release(&arena);
	arena_rewind(&bench->arena, mark);
	return rc;
}
