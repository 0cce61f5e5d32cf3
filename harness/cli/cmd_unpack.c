// SPDX-License-Identifier: MIT
// kvlab unpack: a model of any format that is read becomes a folder as Hugging Face has them, with f32 numbers: the
// form that needs no copy in memory. A GGUF file's tokenizer comes along.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/cli/command.h"
#include "harness/pretrained/pretrained.h"
#include "harness/text/tokenizer_save.h"

extern const struct command command_unpack;

enum { CHUNK = 1 << 20, KIND_CONTROL = 3, KIND_USER = 4 }; // token_type of GGUF

static const char *const files[] = {"model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"};
enum { N_FILE = sizeof(files) / sizeof(files[0]) };

// --- a GGUF file's tokenizer ---------------------------------------------------------------------------------------

// The texts of a list; NULL with a message where it is none.
static const char **texts_of(
        const struct value *metadata, const char *key, int *n, struct arena *arena, struct err *err)
{
	const struct value *list = value_find(metadata, key);
	if (!list || list->kind != VALUE_ARRAY) {
		err_set(err, "%s: '%s' is missing: a tokenizer without it cannot be read", metadata->place, key);
		return NULL;
	}
	const char **text = arena_alloc(arena, (list->n + 1) * sizeof(*text));
	*n = (int)list->n;
	for (size_t i = 0; i < list->n; i++) {
		const struct value *item = &list->item[i];
		if (item->kind != VALUE_TEXT || strlen(item->text) != item->n) {
			err_set(err, "%s: '%s': item %zu is no text", metadata->place, key, i);
			return NULL;
		}
		text[i] = item->text;
	}
	return text;
}

static void read_kinds(struct tokenizer_parts *parts, const struct value *metadata, struct arena *arena)
{
	const struct value *kinds = value_find(metadata, "tokenizer.ggml.token_type");
	unsigned char *added = arena_zalloc(arena, (size_t)parts->n_token + 1),
	              *special = arena_zalloc(arena, (size_t)parts->n_token + 1);
	for (size_t i = 0; kinds && kinds->kind == VALUE_ARRAY && i < kinds->n && i < (size_t)parts->n_token; i++) {
		const struct value *kind = &kinds->item[i];
		special[i] = kind->kind == VALUE_INT && kind->integer == KIND_CONTROL;
		added[i] = special[i] || (kind->kind == VALUE_INT && kind->integer == KIND_USER);
	}
	parts->is_added = added;
	parts->is_special = special;
}

// 0, 1 where the file has none, -1 with a message.
static int read_parts(
        struct tokenizer_parts *parts, const struct weights *weights, struct arena *arena, struct err *err)
{
	const struct value *m = weights->metadata;
	const char *model = NULL;
	*parts = (struct tokenizer_parts){.family = "default", .bos = -1, .eos = -1};
	if (strcmp(weights->format, "gguf") || !value_find(m, "tokenizer.ggml.model"))
		return 1;
	if (value_text(m, "tokenizer.ggml.model", VALUE_REQUIRED, &model, err) ||
	        value_text(m, "tokenizer.ggml.pre", VALUE_OPTIONAL, &parts->family, err))
		return -1;
	if (strcmp(model, "gpt2"))
		return err_set(err, "%s: a tokenizer of kind '%s' is not read here (byte-level BPE, 'gpt2', is)",
		        m->place, model);
	parts->token = texts_of(m, "tokenizer.ggml.tokens", &parts->n_token, arena, err);
	if (!parts->token)
		return -1;
	parts->merge = texts_of(m, "tokenizer.ggml.merges", &parts->n_merge, arena, err);
	if (!parts->merge)
		return -1;
	read_kinds(parts, m, arena);
	const int most = parts->n_token - 1;
	return value_int(m, "tokenizer.ggml.bos_token_id", VALUE_OPTIONAL, 0, most, &parts->bos, err) ||
	                       value_int(m, "tokenizer.ggml.eos_token_id", VALUE_OPTIONAL, 0, most, &parts->eos, err) ||
	                       value_bool(m, "tokenizer.ggml.add_bos_token", VALUE_OPTIONAL, &parts->puts_bos, err)
	               ? -1
	               : 0;
}

static int save_tokenizer(const struct tokenizer_parts *parts, const char *folder, struct arena *arena, struct err *err)
{
	char *text[2] = {NULL, NULL};
	size_t n[2];
	FILE *out[2] = {open_memstream(&text[0], &n[0]), open_memstream(&text[1], &n[1])};
	if (!out[0] || !out[1])
		die_no_memory(BUFSIZ);
	int rc = tokenizer_print(out[0], parts, err);
	tokenizer_print_config(out[1], parts);
	for (int i = 0; i < 2; i++) {
		if (fclose(out[i]))
			die_no_memory(n[i]);
		rc = rc || weights_save_text(arena_printf(arena, "%s/%s", folder, files[2 + i]), text[i], err);
		free(text[i]);
	}
	return rc ? -1 : 0;
}

// --- the folder ----------------------------------------------------------------------------------------------------

static void remove_folder(const char *folder, struct arena *arena)
{
	for (int i = 0; i < N_FILE; i++)
		unlink(arena_printf(arena, "%s/%s", folder, files[i]));
	rmdir(folder);
}

static int save_all(const struct pretrained *p, const struct tokenizer_parts *parts, const char *folder,
        struct arena *arena, struct err *err)
{
	if (model_save(&p->model, p->family, folder, err))
		return -1;
	return parts ? save_tokenizer(parts, folder, arena, err) : 0;
}

// Beside the folder, and renamed when it is whole.
static int unpack(const struct pretrained *p, const char *folder, struct arena *arena, struct err *err)
{
	struct tokenizer_parts parts;
	const int found = read_parts(&parts, p->weights, arena, err);
	const char *beside = arena_printf(arena, "%s.%ld.tmp", folder, (long)getpid());
	if (found < 0)
		return -1;
	if (mkdir(beside, 0777))
		return err_system(err, errno, "%s: cannot be made: %s", beside, strerror(errno));
	if (save_all(p, found == 0 ? &parts : NULL, beside, arena, err) == 0) {
		if (rename(beside, folder) == 0) {
			printf("%s: %ld parameters%s\n", folder, p->model.n_number,
			        found == 0 ? ", and the tokenizer" : "; no tokenizer in the file");
			return 0;
		}
		err_system(err, errno, "%s: cannot be made: %s", folder, strerror(errno));
	}
	remove_folder(beside, arena);
	return -1;
}

static int run(int argc, char **argv, struct err *err)
{
	struct cli_args args;
	struct pretrained p;
	struct arena arena;
	struct stat info;
	if (cli_parse(&args, &command_unpack, argc, argv, 2, 2, err))
		return COMMAND_ERROR;
	const char *folder = args.positional[1];
	if (stat(folder, &info) == 0)
		return err_set(err, "%s: is there already (remove it, or name another folder)", folder);
	arena_init(&arena, CHUNK);
	int rc = model_load(&p, args.positional[0], PRETRAINED_TO_READ, &arena, err);
	if (rc == 0) {
		rc = unpack(&p, folder, &arena, err);
		pretrained_close(&p);
	}
	arena_release(&arena);
	return rc ? COMMAND_ERROR : COMMAND_DONE;
}

const struct command command_unpack = {
        .name = "unpack",
        .summary = "Write a model of any format as a folder of safetensors, config.json and its tokenizer",
        .usage = "FILE|FOLDER NEW_FOLDER",
        .run = run,
};
