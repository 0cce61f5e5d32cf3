// SPDX-License-Identifier: MIT
// Opening: which file a path means, and which reader it gets.
#include "harness/weights/weights.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "harness/base/option.h"
#include "harness/weights/internal.h"

static int ends_with(const char *text, const char *ending)
{
	const size_t n = strlen(text), m = strlen(ending);
	return n > m && !strcmp(text + n - m, ending);
}

static int begins_with(const struct weights_map *map, const char *magic, size_t n)
{
	return map->bytes >= n && !memcmp(map->data, magic, n);
}

static int is_gguf(const struct weights_map *map)
{
	return begins_with(map, "GGUF", 4);
}

static int is_index(const struct weights_map *map)
{
	return ends_with(map->path, ".index.json");
}

static int is_safetensors(const struct weights_map *map)
{
	return ends_with(map->path, ".safetensors") || (map->bytes > 8 && map->data[7] == 0 && map->data[8] == '{');
}

static int is_pickle(const struct weights_map *map)
{
	return begins_with(map, "PK\3\4", 4) || begins_with(map, "\x80\2", 2);
}

static int is_json(const struct weights_map *map)
{
	return ends_with(map->path, ".json");
}

static int is_llama2c(const struct weights_map *map)
{
	return ends_with(map->path, ".bin") || begins_with(map, "24ka", 4);
}

static int refuse_pickle(struct weights_set *set, const struct weights_map *map, struct err *err)
{
	(void)set;
	return err_set(err, "%s: pickled PyTorch weights are not read (save the model as safetensors)", map->path);
}

static int refuse_json(struct weights_set *set, const struct weights_map *map, struct err *err)
{
	(void)set;
	return err_set(err, "%s: is no file of weights (name the folder it lies in)", map->path);
}

// The first row that fits.
static const struct format {
	const char *name;
	int (*fits)(const struct weights_map *map);
	int (*read)(struct weights_set *set, const struct weights_map *map, struct err *err);
	int has_config; // config.json may lie beside it
} formats[] = {
        {"gguf", is_gguf, gguf_read, 0},
        {"safetensors", is_index, safetensors_read_index, 1},
        {"safetensors", is_safetensors, safetensors_read, 1},
        {"pickle", is_pickle, refuse_pickle, 0},
        {"json", is_json, refuse_json, 0},
        {"llama2c", is_llama2c, llama2c_read, 0},
};

// In a folder: the first row there counts. A row with a star stands for the only file that ends so.
static const char *const wanted[] = {
        "model.safetensors", "model.safetensors.index.json", "*.gguf", "*.safetensors", "*.bin"};
enum { N_FORMAT = sizeof(formats) / sizeof(formats[0]), N_WANTED = sizeof(wanted) / sizeof(wanted[0]) };

static int is_there(const char *path)
{
	struct stat info;
	return stat(path, &info) == 0;
}

// The one entry of the folder with that ending. NULL: none; more than one is an error.
static char *only_one(struct arena *arena, const char *folder, const char *ending, struct err *err)
{
	char *found = NULL;
	DIR *dir = opendir(folder);
	if (!dir) {
		err_system(err, errno, "%s: cannot be read: %s", folder, strerror(errno));
		return NULL;
	}
	for (struct dirent *entry; (entry = readdir(dir)) && !err->is_set;) {
		if (entry->d_name[0] == '.' || !ends_with(entry->d_name, ending))
			continue;
		if (found)
			err_set(err, "%s: has more than one %s file (name the one that is meant)", folder, ending);
		found = arena_printf(arena, "%s/%s", folder, entry->d_name);
	}
	closedir(dir);
	return err->is_set ? NULL : found;
}

static char *find_in_folder(struct arena *arena, const char *folder, struct err *err)
{
	for (int i = 0; i < N_WANTED && !err->is_set; i++) {
		char *path = wanted[i][0] == '*' ? only_one(arena, folder, wanted[i] + 1, err)
		                                 : arena_printf(arena, "%s/%s", folder, wanted[i]);
		if (path && is_there(path))
			return path;
	}
	err_set(err,
	        "%s: no weights in this folder (model.safetensors, model.safetensors.index.json, or one .gguf or .bin)",
	        folder);
	return NULL;
}

static int read_config(struct weights_set *set, const char *path, struct err *err)
{
	const char *slash = strrchr(path, '/');
	char *config = arena_printf(&set->arena, "%.*sconfig.json", slash ? (int)(slash + 1 - path) : 0, path);
	if (!is_there(config))
		return 0;
	const struct weights_map *map = set_map(set, config, err);
	set->seen.config = map ? json_read(set, config, map->data, map->bytes, err) : NULL;
	return set->seen.config ? 0 : -1;
}

static int open_file(struct weights_set *set, const char *path, struct err *err)
{
	const struct weights_map *map = set_map(set, path, err);
	const struct format *format = formats;
	if (!map)
		return -1;
	while (format < formats + N_FORMAT && !format->fits(map))
		format++;
	if (format == formats + N_FORMAT)
		return err_set(err, "%s: is neither a safetensors nor a GGUF nor a llama2.c file", path);
	set->seen.format = format->name;
	if (format->read(set, map, err) || (format->has_config && read_config(set, path, err)))
		return -1;
	return set_finish(set, err);
}

// "models/x/" is "models/x" in messages.
static char *without_slashes(struct arena *arena, const char *path)
{
	size_t n = strlen(path);
	while (n > 1 && path[n - 1] == '/')
		n--;
	return arena_printf(arena, "%.*s", (int)n, path);
}

int weights_open(struct weights **weights, const char *path, struct err *err)
{
	struct weights_set *set = set_new(path);
	struct stat info;
	const char *file = set->seen.path;
	*weights = NULL;
	if (stat(path, &info))
		err_system(err, errno, "%s: cannot be opened: %s", path, strerror(errno));
	else if (S_ISDIR(info.st_mode))
		file = find_in_folder(&set->arena, without_slashes(&set->arena, path), err);
	if (err->is_set || open_file(set, file, err)) {
		set_free(set);
		return -1;
	}
	*weights = &set->seen;
	return 0;
}

void weights_close(struct weights *weights)
{
	if (weights)
		set_free((struct weights_set *)weights);
}

static int compare_to_name(const void *key, const void *element)
{
	return strcmp(key, (*(const struct weights_tensor *const *)element)->name);
}

const struct weights_tensor *weights_find(const struct weights *weights, const char *name)
{
	const struct weights_set *set = (const struct weights_set *)weights;
	const struct weights_tensor **found =
	        bsearch(name, set->by_name, (size_t)weights->n_tensor, sizeof(*set->by_name), compare_to_name);
	return found ? *found : NULL;
}

char *weights_shape(char text[WEIGHTS_SHAPE_TEXT], int n_dim, const long *dim)
{
	int at = snprintf(text, WEIGHTS_SHAPE_TEXT, "(");
	for (int i = 0; i < n_dim; i++)
		at += snprintf(text + at, WEIGHTS_SHAPE_TEXT - (size_t)at, "%s%ld", i ? ", " : "", dim[i]);
	snprintf(text + at, WEIGHTS_SHAPE_TEXT - (size_t)at, ")");
	return text;
}

static void say_missing(const struct weights *weights, const char *name, struct err *err)
{
	const char **names = malloc(((size_t)weights->n_tensor + 1) * sizeof(*names));
	if (!names)
		die_no_memory((size_t)weights->n_tensor * sizeof(*names));
	for (long i = 0; i < weights->n_tensor; i++)
		names[i] = weights->tensor[i].name;
	names[weights->n_tensor] = NULL;
	const char *near = word_nearest(names, name);
	err_set(err, "%s: tensor '%s' is missing%s%s%s", weights->path, name, near ? " (did you mean '" : "",
	        near ? near : "", near ? "'?)" : "");
	free(names);
}

const struct weights_tensor *weights_expect(
        const struct weights *weights, const char *name, int n_dim, const long *dim, struct err *err)
{
	const struct weights_tensor *t = weights_find(weights, name);
	char found[WEIGHTS_SHAPE_TEXT], asked[WEIGHTS_SHAPE_TEXT];
	if (n_dim < 0 || n_dim > WEIGHTS_DIMS)
		BUG("tensor '%s' of %d dimensions", name, n_dim);
	if (!t) {
		say_missing(weights, name, err);
		return NULL;
	}
	if (t->n_dim != n_dim || (n_dim && memcmp(t->dim, dim, (size_t)n_dim * sizeof(*dim)))) {
		err_set(err, "%s: tensor '%s' is %s, should be %s", t->path, name,
		        weights_shape(found, t->n_dim, t->dim), weights_shape(asked, n_dim, dim));
		return NULL;
	}
	if (!t->type->read) {
		err_set(err, "%s: tensor '%s' is in %s, which is not read (F32, F16, BF16, Q8_0, Q4_0 and Q4_1 are)",
		        t->path, name, t->type->name);
		return NULL;
	}
	return t;
}
