// SPDX-License-Identifier: MIT
#include <math.h>
#include <string.h>

#include "harness/base/json.h"
#include "harness/base/number.h"
#include "harness/base/progress.h"
#include "harness/base/stats.h"
#include "harness/cli/compress.h"
#include "harness/run/engine.h"

// --- speed ---------------------------------------------------------------------------------------------------------

enum { DEPTH_MOST = 512, STEPS = 31, WARM_UP = 3 };

struct side {
	struct engine engine;
	struct cache cache;
	double s[STEPS];
};

static int init_side(
        struct side *side, const struct model *m, int depth, const int *tokens, int n_thread, struct err *err)
{
	engine_init_around(&side->engine, m, &backend_cpu, n_thread);
	if (engine_cache(&side->engine, &side->cache, NULL, 1, depth + 1, err)) {
		engine_release(&side->engine);
		return -1;
	}
	engine_prefill(&side->engine, &side->cache, tokens, depth);
	return 0;
}

int compress_measure_speed(struct decode_speed *speed, const struct model *before, const struct model *after,
        int n_thread, struct err *err)
{
	const int half = before->config.n_ctx / 2, depth = half < 1 ? 1 : half < DEPTH_MOST ? half : DEPTH_MOST;
	int tokens[DEPTH_MOST];
	struct side side[2];
	const struct model *const model[2] = {before, after};
	for (int i = 0; i < depth; i++)
		tokens[i] = i % before->config.n_vocab;
	for (int i = 0; i < 2; i++)
		if (init_side(&side[i], model[i], depth, tokens, n_thread, err)) {
			if (i)
				engine_release(&side[0].engine);
			return -1;
		}
	for (int step = -WARM_UP; step < STEPS; step++)
		for (int i = 0; i < 2; i++) {
			const double began_s = clock_s();
			engine_step(&side[i].engine, &side[i].cache, depth, tokens);
			if (step >= 0)
				side[i].s[step] = clock_s() - began_s;
		}
	*speed = (struct decode_speed){depth, 1 / median_of(side[0].s, STEPS), 1 / median_of(side[1].s, STEPS)};
	for (int i = 0; i < 2; i++)
		engine_release(&side[i].engine);
	return 0;
}

// --- what was measured ---------------------------------------------------------------------------------------------

// Of a whole run; NAN where there is none.
static double metric(const struct compress *c, const char *name, const char *split)
{
	for (long i = 0; i < c->log.n_metric; i++) {
		const struct metric *m = &c->log.metric[i];
		if (m->step == -1 && !strcmp(m->name, name) && !strcmp(m->split, split))
			return m->value;
	}
	return NAN;
}

static void print_member(FILE *out, const char *gap, const char *name, double value)
{
	char text[NUMBER_TEXT] = "null"; // NaN and infinity are no JSON
	if (isfinite(value))
		number_print(text, value);
	fprintf(out, "%s\"%s\": %s", gap, name, text);
}

static void print_text_member(FILE *out, const char *gap, const char *name, const char *value)
{
	fprintf(out, "%s\"%s\": ", gap, name);
	json_print_text(out, value, strlen(value));
}

static void print_stage(FILE *out, const struct compress *c, const char *split)
{
	static const char *const names[] = {
	        "perplexity", "loss", "loss_error", "excess", "excess_error", "kl", "kl_error", "agreement"};
	if (isnan(metric(c, "perplexity", split)))
		return;
	fprintf(out, ",\n  \"%s\": {", split);
	const char *gap = "";
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const double value = metric(c, names[i], split);
		if (isnan(value))
			continue;
		print_member(out, gap, names[i], value);
		gap = ", ";
	}
	fputs("}", out);
}

static void print_settings(
        FILE *out, const char *section, const char *name, const struct option *options, const void *config)
{
	fprintf(out, ",\n  \"%s\": {", section);
	const char *gap = "";
	if (name) {
		print_text_member(out, gap, "name", name);
		gap = ", ";
	}
	for (const struct option *o = options; o && o->key; o++, gap = ", ") {
		fprintf(out, "%s\"%s\": ", gap, o->key);
		option_print(out, o, config);
	}
	fputs("}", out);
}

void compress_print_json(
        FILE *out, const struct compress *c, const struct model *result, const struct decode_speed *speed)
{
	const double cache[2] = {metric(c, "cache_bytes_per_token", "base"),
	        metric(c, "cache_bytes_per_token", "count")},
	             key[2] = {metric(c, "key_bytes_per_token", "base"), metric(c, "key_bytes_per_token", "count")};
	print_text_member(out, "{\n  ", "model", c->model_path);
	if (c->text)
		print_text_member(out, ",\n  ", "text", c->text);
	print_settings(out, "variant", result->variant->name, result->variant->options, result->variant_config);
	print_settings(out, "recover", NULL, c->setup.procedure->options, c->setup.procedure_config);
	print_member(out, ",\n  \"parameters\": {", "before", metric(c, "n_param", "base"));
	print_member(out, ", ", "after", metric(c, "n_param", "count"));
	print_member(out, "},\n  \"cache_bytes_per_token\": {", "before", cache[0]);
	print_member(out, ", ", "after", cache[1]);
	print_member(out, ", ", "share", cache[1] / cache[0]);
	print_member(out, "},\n  \"key_bytes_per_token\": {", "before", key[0]);
	print_member(out, ", ", "after", key[1]);
	print_member(out, ", ", "share", key[1] / key[0]);
	print_member(out, "},\n  \"decode\": {", "depth", speed->depth);
	print_member(out, ", ", "before_tok_s", speed->before);
	print_member(out, ", ", "after_tok_s", speed->after);
	fputs("}", out);
	print_stage(out, c, "base");
	print_stage(out, c, "converted");
	print_stage(out, c, "dense");
	print_stage(out, c, "tuned");
	fputs(",\n  \"validation_loss\": [", out);
	const char *gap = "{";
	for (long i = 0; i < c->log.n_metric; i++) {
		const struct metric *m = &c->log.metric[i];
		if (m->step < 0 || strcmp(m->name, "loss") || strcmp(m->split, "validation"))
			continue;
		print_member(out, gap, "step", (double)m->step);
		print_member(out, ", ", "loss", m->value);
		fputc('}', out);
		gap = ", {";
	}
	fputs("]\n}\n", out);
}

static void print_row(FILE *out, const struct compress *c, const char *title, const char *split)
{
	const double perplexity = metric(c, "perplexity", split), excess = metric(c, "excess", split),
	             error = metric(c, "excess_error", split);
	if (isnan(perplexity))
		return;
	fprintf(out, "| perplexity, %s | %.4f |", title, perplexity);
	if (!isnan(excess))
		fprintf(out, " %+.2f %% |", 100 * expm1(excess));
	else
		fputs(" |", out);
	if (!isnan(error))
		fprintf(out, " +- %.2f %% (a standard error, on the same tokens) |", 100 * exp(excess) * error);
	else
		fputs(" |", out);
	fputc('\n', out);
}

static void print_change(FILE *out, const char *title, double before, double after, const char *what)
{
	fprintf(out, "| %s | %.6g | %.1f %% | %s %.6g |\n", title, after, 100 * after / before, what, before);
}

void compress_print_markdown(
        FILE *out, const struct compress *c, const struct model *result, const struct decode_speed *speed)
{
	fprintf(out, "# %s\n\nMade of %s: %s", c->folder, c->model_path, result->variant->name);
	for (const struct option *o = result->variant->options; o && o->key; o++) {
		if (option_is_initial(o, result->variant_config))
			continue;
		fprintf(out, ", %s ", o->key);
		option_print(out, o, result->variant_config);
	}
	fputs(".\n\n| | | against before | |\n|---|---|---|---|\n", out);
	print_change(out, "key cache, bytes a token", metric(c, "key_bytes_per_token", "base"),
	        metric(c, "key_bytes_per_token", "count"), "of");
	print_change(out, "whole cache, bytes a token", metric(c, "cache_bytes_per_token", "base"),
	        metric(c, "cache_bytes_per_token", "count"), "of");
	print_change(out, "parameters", metric(c, "n_param", "base"), metric(c, "n_param", "count"), "of");
	fprintf(out, "| decode, tokens/s after %d | %.4g | %.0f %% | of %.4g; one sequence, %d threads, f32 |\n",
	        speed->depth, speed->after, 100 * speed->after / speed->before, speed->before, c->n_thread);
	print_row(out, c, "before", "base");
	print_row(out, c, "compressed", "converted");
	print_row(out, c, "tuned, keys whole", "dense");
	print_row(out, c, "tuned", "tuned");
	if (c->text)
		fprintf(out, "\nPerplexity per token of the held-out part of %s, windows of %d tokens.\n", c->text,
		        c->setup.task->shape(c->setup.task_config).T);
}
