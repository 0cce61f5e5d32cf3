// SPDX-License-Identifier: MIT
#include "harness/cli/subject.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/num/device.h"

enum { CHUNK = 1 << 20, WORD = 64, THREADS_MOST = 256 };

// "k=q8,v=q8,scales=channel"; the options' own names will do as well.
static int parse_cache(struct cache_config *config, const char *text, const char *command, struct err *err)
{
	static const char *const names[][2] = {{"k", "k_dtype"}, {"v", "v_dtype"}, {"scales", "k_scales"}};
	options_init(cache_options, config);
	while (*text) {
		char key[WORD], value[WORD];
		const size_t n = strcspn(text, ","), n_key = strcspn(text, "=,");
		if (n_key == 0 || n_key + 1 >= n || n >= WORD)
			return err_set(err, "%s: option '--cache': '%.*s' is no setting (say --cache k=q8,v=q8)",
			        command, (int)(n < WORD ? n : WORD), text);
		snprintf(key, sizeof(key), "%.*s", (int)n_key, text);
		snprintf(value, sizeof(value), "%.*s", (int)(n - n_key - 1), text + n_key + 1);
		const char *name = key;
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			name = strcmp(key, names[i][0]) ? name : names[i][1];
		if (option_set(cache_options, config, name, value, err))
			return -1;
		text += n + (text[n] == ',');
	}
	return cache_check(config, err);
}

const char *subject_tokenizer_place(const char *path, struct arena *arena)
{
	struct stat info;
	const char *slash = strrchr(path, '/');
	if (stat(path, &info) || S_ISDIR(info.st_mode))
		return path;
	return slash ? arena_printf(arena, "%.*s", (int)(slash - path + (slash == path)), path) : ".";
}

static int open_tokenizer(struct subject *s, const char *path, struct err *err)
{
	const int n_model = s->p.model.config.n_vocab;
	struct err cause = {0};
	if (tokenizer_open(&s->tokenizer, path, NULL, &cause)) {
		const int is_gguf = strcmp(s->p.weights->format, "gguf") == 0;
		return (cause.is_fault ? err_fault : err_set)(err, "%s%s", cause.message,
		        is_gguf ? "; 'kvlab unpack' makes a folder with the tokenizer that is in a GGUF file" : "");
	}
	const int n = tokenizer_n_vocab(s->tokenizer);
	if (n > n_model)
		return err_set(err,
		        "%s: a tokenizer of %d ids, and a model with a vocabulary of %d: not the model's own", path, n,
		        n_model);
	return 0;
}

const struct backend *subject_device(const struct cli_args *args, struct err *err)
{
	return device_open(cli_text(args, "device", "cpu"), 1, err);
}

int subject_place(struct model *placed, const struct model *model, const struct backend *backend, struct arena *arena,
        struct arena *memory, struct err *err)
{
	*placed = *model;
	if (!backend->memory)
		return 0;
	if (device_check_memory(backend, (double)model->n_number * sizeof(real), err))
		return -1;
	model_upload(placed, model, backend, 0, arena, memory);
	return 0;
}

int subject_open(struct subject *s, const char *path, const struct cli_args *args, struct err *err)
{
	memset(s, 0, sizeof(*s));
	if (parse_cache(&s->cache, cli_text(args, "cache", ""), args->command->name, err))
		return -1;
	s->n_thread = cli_int(args, "threads", (int)sysconf(_SC_NPROCESSORS_ONLN));
	if (s->n_thread < 1 || s->n_thread > THREADS_MOST)
		return err_set(err, "%s: option '--threads' takes 1 to %d", args->command->name, THREADS_MOST);
	s->backend = subject_device(args, err);
	if (!s->backend)
		return -1;
	arena_init(&s->arena, CHUNK);
	arena_init_from(&s->memory, CHUNK, s->backend->memory);
	if (model_load(&s->p, path, PRETRAINED_TO_READ, &s->arena, err) == 0) {
		s->tokenizer_path = cli_text(args, "tokenizer", subject_tokenizer_place(path, &s->arena));
		if (open_tokenizer(s, s->tokenizer_path, err) == 0 &&
		        subject_place(&s->model, &s->p.model, s->backend, &s->arena, &s->memory, err) == 0)
			return 0;
		subject_close(s);
		return -1;
	}
	arena_release(&s->arena);
	return -1;
}

void subject_close(struct subject *s)
{
	tokenizer_free(s->tokenizer);
	pretrained_close(&s->p);
	arena_release(&s->memory);
	arena_release(&s->arena);
}
