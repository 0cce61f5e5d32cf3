// SPDX-License-Identifier: MIT
// Opening results.db: whose file it is, whether it can be written, which schema it has.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "harness/base/folders.h"
#include "harness/store/internal.h"

enum { BUSY_MS = 60000 };
// Pages are taken as needed, up to 64 MiB: tables over 100,000 runs jump about in the file.
static const char CACHE[] = "PRAGMA cache_size = -65536";

static int make_folder(const char *path, struct err *err)
{
	char failed[FOLDERS_TEXT];
	if (!folders_make_for(path, failed))
		return 0;
	if (errno == ENAMETOOLONG && strlen(path) >= FOLDERS_TEXT)
		return err_set(err, "%s: path is too long: name a shorter one with --db", path);
	return err_system(err, errno, "%s: folder '%s' cannot be made: %s: make it or name another database with --db",
	        path, failed, strerror(errno));
}

// Looks at the file before SQLite does: its own messages do not say what to do.
static int check_file(const char *path, enum store_mode mode, struct err *err)
{
	struct stat info;
	if (stat(path, &info)) {
		if (errno == ENOENT && mode == STORE_CREATE)
			return make_folder(path, err);
		if (errno == ENOENT)
			return err_set(
			        err, "%s: no such database: run an experiment first or name another with --db", path);
		return err_system(
		        err, errno, "%s: cannot be opened: %s: name another database with --db", path, strerror(errno));
	}
	if (S_ISDIR(info.st_mode))
		return err_set(err, "%s: is a folder, not a database: name a file in it with --db", path);
	int fd = open(path, O_RDONLY);
	char magic[16] = "";
	ssize_t n = fd < 0 ? -1 : read(fd, magic, sizeof(magic));
	int fault = errno;
	if (fd >= 0)
		close(fd);
	if (n < 0)
		return err_system(err, fault,
		        "%s: cannot be read: %s: make it readable or name another database with --db", path,
		        strerror(fault));
	if (n > 0 && (n < (ssize_t)sizeof(magic) || memcmp(magic, "SQLite format 3", sizeof(magic))))
		return err_set(err, "%s: not a SQLite database: move it away or name another with --db", path);
	return 0;
}

struct ownership {
	int64_t id, version, n_object;
};

// In one transaction: another process may make the schema between two reads, and half of it looks like nobody's.
static int read_owner(struct store *store, struct ownership *owner, struct err *err)
{
	if (store_exec(store, "BEGIN", err))
		return -1;
	int rc = store_get(store, err, &owner->id, 0, "PRAGMA application_id", "") ||
	                         store_get(store, err, &owner->version, 0, "PRAGMA user_version", "") ||
	                         store_get(store, err, &owner->n_object, 0, "SELECT count(*) FROM sqlite_master", "")
	                 ? -1
	                 : 0;
	return store_end(store, rc, err);
}

static int check_owner(struct store *store, struct err *err)
{
	struct ownership owner;
	if (read_owner(store, &owner, err))
		return -1;
	int newest = store_migrations[store_n_migration - 1].to;
	if (owner.id != STORE_APPLICATION_ID && (owner.id || owner.version || owner.n_object))
		return err_set(err,
		        "%s: SQLite file of another program (application_id 0x%08llx): name another with --db",
		        store->path, (unsigned long long)owner.id & 0xffffffff);
	if (owner.version > newest)
		return err_set(err,
		        "%s: written by a newer kvlab (schema %lld, this one knows %d): build that kvlab or name "
		        "another "
		        "database with --db",
		        store->path, (long long)owner.version, newest);
	return 0;
}

// Two processes that make the file at once may both find the other's lock here, where SQLite does not wait.
static int set_wal(struct store *store, struct err *err)
{
	for (int tries = 0;; tries++) {
		if (sqlite3_exec(store->db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL) == SQLITE_OK)
			return 0;
		if (sqlite3_errcode(store->db) != SQLITE_BUSY || tries >= BUSY_MS / 20)
			return store_fail(store, "set the journal mode", err);
		nanosleep(&(struct timespec){0, 20000000}, NULL);
	}
}

static int open_writable(struct store *store, enum store_mode mode, struct err *err)
{
	int flags = SQLITE_OPEN_READWRITE | (mode == STORE_CREATE ? SQLITE_OPEN_CREATE : 0);
	if (sqlite3_open_v2(store->path, &store->db, flags, NULL) != SQLITE_OK)
		return store_fail(store, "open", err);
	sqlite3_extended_result_codes(store->db, 0);
	sqlite3_busy_timeout(store->db, BUSY_MS);
	if (check_owner(store, err) || store_exec(store, CACHE, err))
		return -1;
	if (sqlite3_db_readonly(store->db, "main") == 1)
		return err_set(
		        err, "%s: cannot be written: make it writable or name another database with --db", store->path);
	// Heartbeats and claims need not survive a power cut; store_finish raises `synchronous` for itself.
	if (set_wal(store, err) || store_exec(store, "PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON", err))
		return -1;
	return store_migrate(store, store_migrations, store_n_migration, err);
}

static int open_read_only(struct store *store, struct err *err)
{
	int64_t version;
	if (store_open_read_only(store, err) || check_owner(store, err) ||
	        store_get(store, err, &version, 0, "PRAGMA user_version", ""))
		return -1;
	sqlite3_busy_timeout(store->db, BUSY_MS);
	if (store_exec(store, CACHE, err))
		return -1;
	if (version < store_migrations[store_n_migration - 1].to)
		return err_set(err,
		        "%s: written by an older kvlab (schema %lld) and read-only, so that it cannot be brought up to "
		        "date: "
		        "make it writable or copy it and name the copy with --db",
		        store->path, (long long)version);
	return 0;
}

int store_open(struct store **out, const char *path, enum store_mode mode, struct err *err)
{
	*out = NULL;
	if (check_file(path, mode, err))
		return -1;
	struct store *store = calloc(1, sizeof(*store));
	if (!store)
		die_no_memory(sizeof(*store));
	store->path = strdup(path);
	if (!store->path)
		die_no_memory(strlen(path) + 1);
	int is_read_only = mode == STORE_READ && !store_is_writable(path);
	if (is_read_only ? open_read_only(store, err) : open_writable(store, mode, err)) {
		store_close(store);
		return -1;
	}
	*out = store;
	return 0;
}

void store_close(struct store *store)
{
	if (!store)
		return;
	sqlite3_close(store->db);
	free(store->path);
	free(store);
}

int64_t store_machine_id(const struct store *store)
{
	return store->machine_id;
}

int64_t store_build_id(const struct store *store)
{
	return store->build_id;
}

const char *store_library(void)
{
	static char text[32];
	snprintf(text, sizeof(text), "SQLite %s", sqlite3_libversion());
	return text;
}
