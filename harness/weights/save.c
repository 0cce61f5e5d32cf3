// SPDX-License-Identifier: MIT
// Writing safetensors (harness/weights/safetensors.c has the format), and files that appear whole or not at all.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/base/json.h"
#include "harness/weights/internal.h"

enum { DATA_ALIGNMENT = 64 };

// A file in the making, beside the one that it will replace.
struct draft {
	const char *path;
	char beside[4096];
	FILE *out;
	int code; // errno of the first write that failed
};

static int draft_open(struct draft *draft, const char *path, struct err *err)
{
	draft->path = path;
	draft->code = 0;
	// Two processes that save at a time do not write into one draft.
	int n = snprintf(draft->beside, sizeof(draft->beside), "%s.%ld.tmp", path, (long)getpid());
	if (n >= (int)sizeof(draft->beside))
		return err_set(err, "%s: the path is too long", path);
	int fd = open(draft->beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
	draft->out = fd < 0 ? NULL : fdopen(fd, "w");
	if (!draft->out) {
		err_system(err, errno, "%s: cannot be written: %s", path, strerror(errno));
		if (fd >= 0) {
			close(fd);
			unlink(draft->beside);
		}
		return -1;
	}
	return 0;
}

// The name must be on disk too, or a power cut brings the old file back; not every file system can say so.
static void sync_folder(const char *path)
{
	char folder[4096];
	const char *slash = strrchr(path, '/');
	snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - path + 1) : 2, slash ? path : "./");
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0) {
		(void)fsync(fd);
		close(fd);
	}
}

static void draft_write(struct draft *draft, const void *data, size_t n)
{
	if (n && !draft->code && fwrite(data, 1, n, draft->out) != n)
		draft->code = errno;
}

static int draft_finish(struct draft *draft, struct err *err)
{
	if (!draft->code && (fflush(draft->out) || fsync(fileno(draft->out))))
		draft->code = errno;
	if (fclose(draft->out) && !draft->code)
		draft->code = errno;
	if (!draft->code && rename(draft->beside, draft->path))
		draft->code = errno;
	if (draft->code) {
		unlink(draft->beside);
		return err_system(err, draft->code, "%s: cannot be written: %s", draft->path, strerror(draft->code));
	}
	sync_folder(draft->path);
	return 0;
}

struct weights_tensor weights_describe(
        const char *name, const struct weights_type *type, int n_dim, const long *dim, const void *data)
{
	struct weights_tensor t = {
	        .name = name, .type = type, .n_dim = n_dim, .rows = 1, .columns = 1, .data = data, .path = ""};
	if (n_dim < 0 || n_dim > WEIGHTS_DIMS)
		BUG("tensor '%s' of %d dimensions", name, n_dim);
	for (int i = 0; i < n_dim; i++) {
		t.dim[i] = t.columns = dim[i];
		t.rows *= i < n_dim - 1 ? dim[i] : 1;
	}
	t.bytes = (size_t)t.rows * (size_t)(t.columns / type->block) * (size_t)type->block_bytes;
	return t;
}

// Wide types first: as no bytes may lie between tensors, this keeps each aligned.
static int compare_saved(const void *a, const void *b)
{
	const struct weights_tensor *s = *(const struct weights_tensor *const *)a;
	const struct weights_tensor *t = *(const struct weights_tensor *const *)b;
	return s->type->block_bytes != t->type->block_bytes ? t->type->block_bytes - s->type->block_bytes
	                                                    : strcmp(s->name, t->name);
}

static int compare_note(const void *a, const void *b)
{
	return strcmp((*(const struct weights_note *const *)a)->key, (*(const struct weights_note *const *)b)->key);
}

static int compare_name(const void *a, const void *b)
{
	return strcmp(
	        (*(const struct weights_tensor *const *)a)->name, (*(const struct weights_tensor *const *)b)->name);
}

static int check_saved(const char *path, const struct weights_tensor **list, long n, struct err *err)
{
	for (long i = 0; i < n; i++) {
		const struct weights_tensor *t = list[i];
		const size_t length = strlen(t->name);
		if (!t->type->in_safetensors)
			return err_set(err,
			        "%s: tensor '%s' is in %s, which safetensors has not (read it into F32 first)", path,
			        t->name, t->type->name);
		if (!length || length > WEIGHTS_NAME || !text_is_plain(t->name, length) ||
		        !strcmp(t->name, "__metadata__"))
			return err_set(err,
			        "%s: a tensor's name should be plain text of 1 to %d bytes other than __metadata__",
			        path, WEIGHTS_NAME);
	}
	qsort(list, (size_t)n, sizeof(*list), compare_name);
	for (long i = 1; i < n; i++)
		if (!strcmp(list[i]->name, list[i - 1]->name))
			return err_set(err, "%s: tensor '%s' is there twice", path, list[i]->name);
	return 0;
}

static int check_notes(const char *path, const struct weights_note **list, int n, struct err *err)
{
	qsort(list, (size_t)n, sizeof(*list), compare_note);
	for (int i = 0; i < n; i++) {
		if (!text_is_utf8(list[i]->key, strlen(list[i]->key)) ||
		        !text_is_utf8(list[i]->text, strlen(list[i]->text)))
			return err_set(err, "%s: a note is not UTF-8", path);
		if (i && !compare_note(&list[i], &list[i - 1]))
			return err_set(err, "%s: note '%s' is there twice", path, list[i]->key);
	}
	return 0;
}

static void print_header(
        FILE *out, const struct weights_tensor **list, long n, const struct weights_note **note, int n_note)
{
	size_t offset = 0;
	putc('{', out);
	for (int i = 0; i < n_note; i++) {
		fputs(i ? "," : "\"__metadata__\":{", out);
		json_print_text(out, note[i]->key, strlen(note[i]->key));
		putc(':', out);
		json_print_text(out, note[i]->text, strlen(note[i]->text));
	}
	if (n_note)
		putc('}', out);
	for (long i = 0; i < n; i++) {
		const struct weights_tensor *t = list[i];
		if (i || n_note)
			putc(',', out);
		json_print_text(out, t->name, strlen(t->name));
		fprintf(out, ":{\"dtype\":\"%s\",\"shape\":[", t->type->name);
		for (int k = 0; k < t->n_dim; k++)
			fprintf(out, "%s%ld", k ? "," : "", t->dim[k]);
		fprintf(out, "],\"data_offsets\":[%zu,%zu]}", offset, offset + t->bytes);
		offset += t->bytes;
	}
	putc('}', out);
}

static void write_all(
        struct draft *draft, const struct weights_tensor **list, long n, const struct weights_note **note, int n_note)
{
	unsigned char length_bytes[8];
	char *header;
	size_t length;
	FILE *text = open_memstream(&header, &length);
	if (!text)
		die_no_memory(BUFSIZ);
	print_header(text, list, n, note, n_note);
	while ((sizeof(length_bytes) + (size_t)ftell(text)) % DATA_ALIGNMENT)
		putc(' ', text);
	if (fclose(text))
		die_no_memory(length);
	for (int i = 0; i < 8; i++)
		length_bytes[i] = (unsigned char)((uint64_t)length >> 8 * i);
	draft_write(draft, length_bytes, sizeof(length_bytes));
	draft_write(draft, header, length);
	for (long i = 0; i < n; i++)
		draft_write(draft, list[i]->data, list[i]->bytes);
	free(header);
}

int weights_save(const char *path, const struct weights_tensor *tensor, long n_tensor, const struct weights_note *note,
        int n_note, struct err *err)
{
	struct arena arena;
	struct draft draft;
	arena_init(&arena, 1 << 16);
	const struct weights_tensor **list = arena_alloc(&arena, (size_t)n_tensor * sizeof(*list));
	const struct weights_note **notes = arena_alloc(&arena, (size_t)n_note * sizeof(*notes));
	for (long i = 0; i < n_tensor; i++)
		list[i] = &tensor[i];
	for (int i = 0; i < n_note; i++)
		notes[i] = &note[i];
	int status = check_saved(path, list, n_tensor, err) || check_notes(path, notes, n_note, err) ||
	                             draft_open(&draft, path, err)
	                     ? -1
	                     : 0;
	if (!status) {
		qsort(list, (size_t)n_tensor, sizeof(*list), compare_saved);
		write_all(&draft, list, n_tensor, notes, n_note);
		status = draft_finish(&draft, err);
	}
	arena_release(&arena);
	return status;
}

int weights_save_text(const char *path, const char *text, struct err *err)
{
	struct draft draft;
	if (draft_open(&draft, path, err))
		return -1;
	draft_write(&draft, text, strlen(text));
	return draft_finish(&draft, err);
}
