// SPDX-License-Identifier: MIT
// Reading a database that may not be written. In WAL mode a reader, too, wants to make files beside it: the -wal, which
// holds rows that are not yet in the database, and the -shm, the index of the -wal that processes share.
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/store/internal.h"

int store_is_writable(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	if (!folder)
		die_no_memory(strlen(path));
	int is_writable = !access(path, W_OK) && !access(folder, W_OK);
	free(folder);
	return is_writable;
}

// Bytes of the file beside the database, -1 when there is none.
static long long bytes_beside(const struct store *store, const char *ending)
{
	struct stat info;
	char *path = sqlite3_mprintf("%s%s", store->path, ending);
	if (!path)
		die_no_memory(strlen(store->path));
	long long bytes = stat(path, &info) ? -1 : (long long)info.st_size;
	sqlite3_free(path);
	return bytes;
}

// Nobody has a -wal: the file is all there is, and SQLite is told that it will stay as it is.
static char *immutable_uri(const char *path)
{
	char *uri = sqlite3_mprintf("file:");
	for (; uri && *path; path++)
		uri = strchr("%?#", *path) ? sqlite3_mprintf("%z%%%02x", uri, *path)
		                           : sqlite3_mprintf("%z%c", uri, *path);
	uri = uri ? sqlite3_mprintf("%z?immutable=1", uri) : NULL;
	if (!uri)
		die_no_memory(0);
	return uri;
}

// Opens and reads a page, which is when a file that cannot be opened is found out.
static int try_open(struct store *store, const char *name, int flags, const char *vfs, const char *first)
{
	sqlite3_close(store->db);
	store->db = NULL;
	int code = sqlite3_open_v2(name, &store->db, SQLITE_OPEN_READONLY | flags, vfs);
	if (code != SQLITE_OK)
		return code;
	sqlite3_extended_result_codes(store->db, 0);
	sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	code = sqlite3_exec(store->db, first, NULL, NULL, NULL);
	return code == SQLITE_OK ? sqlite3_exec(store->db, "SELECT count(*) FROM sqlite_master", NULL, NULL, NULL)
	                         : code;
}

int store_open_read_only(struct store *store, struct err *err)
{
	int code = try_open(store, store->path, 0, NULL, "");
	// With a -shm there may be a process that writes: only the way above respects its locks.
	if ((code == SQLITE_CANTOPEN || code == SQLITE_READONLY) && bytes_beside(store, "-shm") < 0) {
		if (bytes_beside(store, "-wal") > 0) {
			// A -wal that was left or copied without its -shm: its index is made in memory, for which
			// SQLite wants the file for itself. No lock is taken, since none can be on what may not be
			// written.
			code = try_open(store, store->path, 0, "unix-none", "PRAGMA locking_mode = EXCLUSIVE");
		} else {
			char *uri = immutable_uri(store->path);
			code = try_open(store, uri, SQLITE_OPEN_URI, NULL, "");
			sqlite3_free(uri);
		}
	}
	return code == SQLITE_OK ? 0 : store_fail(store, "read", err);
}
