// SPDX-License-Identifier: MIT
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/cli/compress.h"

// What a tokenizer and generation read from a model's folder, beside config.json.
static const char *const tokenizer_files[] = {"tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt",
        "encoder.json", "vocab.bpe", "tokenizer.bin", "special_tokens_map.json", "added_tokens.json",
        "generation_config.json"};

static int copy_file(const char *from, const char *to, struct err *err)
{
	char buffer[1 << 16];
	FILE *in = fopen(from, "rb");
	FILE *out = in ? fopen(to, "wb") : NULL;
	if (!out) {
		if (in)
			fclose(in);
		return err_system(err, errno, "%s: cannot be copied to %s: %s", from, to, strerror(errno));
	}
	size_t n;
	int failed = 0;
	while ((n = fread(buffer, 1, sizeof(buffer), in)) > 0)
		failed |= fwrite(buffer, 1, n, out) != n;
	failed |= ferror(in);
	fclose(in);
	failed |= fclose(out) != 0;
	return failed ? err_system(err, errno, "%s: cannot be copied to %s: %s", from, to, strerror(errno)) : 0;
}

// A folder's files by their names, a file alone by what it is.
static int copy_tokenizer(const char *from, const char *folder, struct arena *arena, struct err *err)
{
	struct stat info;
	if (stat(from, &info))
		return 0;
	if (!S_ISDIR(info.st_mode)) {
		const char *dot = strrchr(from, '.');
		const int is_scored = dot && !strcmp(dot, ".bin");
		return copy_file(from,
		        arena_printf(arena, "%s/%s", folder, is_scored ? "tokenizer.bin" : "tokenizer.json"), err);
	}
	for (size_t i = 0; i < sizeof(tokenizer_files) / sizeof(tokenizer_files[0]); i++) {
		const char *file = arena_printf(arena, "%s/%s", from, tokenizer_files[i]);
		if (stat(file, &info) == 0 && S_ISREG(info.st_mode) &&
		        copy_file(file, arena_printf(arena, "%s/%s", folder, tokenizer_files[i]), err))
			return -1;
	}
	return 0;
}

static void remove_folder(const char *folder, struct arena *arena)
{
	DIR *files = opendir(folder);
	for (struct dirent *file; files && (file = readdir(files));)
		if (file->d_name[0] != '.')
			unlink(arena_printf(arena, "%s/%s", folder, file->d_name));
	if (files)
		closedir(files);
	rmdir(folder);
}

static int save_report(const struct compress *c, const struct model *result, const char *path,
        const struct decode_speed *speed,
        void (*print)(FILE *, const struct compress *, const struct model *, const struct decode_speed *),
        struct err *err)
{
	char *text = NULL;
	size_t n;
	FILE *out = open_memstream(&text, &n);
	if (!out)
		die_no_memory(BUFSIZ);
	print(out, c, result, speed);
	if (fclose(out))
		die_no_memory(n);
	const int rc = weights_save_text(path, text, err);
	free(text);
	return rc;
}

int compress_save(const struct compress *c, const struct model *result, struct err *err)
{
	struct arena arena;
	struct decode_speed speed;
	if (compress_measure_speed(&speed, &c->base.model, result, c->n_thread, err))
		return -1;
	arena_init(&arena, 1 << 16);
	const char *beside = arena_printf(&arena, "%s.tmp", c->folder);
	remove_folder(beside, &arena);
	int rc = 0;
	if (mkdir(beside, 0777))
		rc = err_system(err, errno, "%s: cannot be made: %s", beside, strerror(errno));
	if (!rc && (model_save(result, c->base.family, beside, err) ||
	                   copy_tokenizer(c->tokenizer_path, beside, &arena, err) ||
	                   save_report(c, result, arena_printf(&arena, "%s/report.json", beside), &speed,
	                           compress_print_json, err) ||
	                   save_report(c, result, arena_printf(&arena, "%s/report.md", beside), &speed,
	                           compress_print_markdown, err)))
		rc = -1;
	if (!rc && rename(beside, c->folder))
		rc = err_system(err, errno, "%s: cannot be made: %s", c->folder, strerror(errno));
	if (rc)
		remove_folder(beside, &arena);
	else
		compress_print_markdown(stdout, c, result, &speed);
	arena_release(&arena);
	return rc;
}
