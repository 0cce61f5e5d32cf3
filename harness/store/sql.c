// SPDX-License-Identifier: MIT
// The few ways in which this folder talks to SQLite, and what its errors are called.
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness/store/internal.h"

double store_now(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int store_fail(struct store *store, const char *doing, struct err *err)
{
	int code = sqlite3_errcode(store->db), extended = sqlite3_extended_errcode(store->db);
	int system = sqlite3_system_errno(store->db);
	const char *path = store->path;
	switch (code) {
	case SQLITE_FULL:
		return err_fault(err,
		        "%s: disk full: free some space and run the same command again (what is stored is kept)", path);
	case SQLITE_READONLY:
		return err_set(err,
		        "%s: cannot be written, file or folder is read-only: make both writable or name another "
		        "database with --db",
		        path);
	case SQLITE_CANTOPEN:
		return err_system(err, system,
		        "%s: cannot be opened: %s: make file and folder readable and writable or name another "
		        "database with --db",
		        path, system ? strerror(system) : "file or folder is not accessible");
	case SQLITE_NOTADB:
		return err_set(err, "%s: not a SQLite database: move it away or name another with --db", path);
	case SQLITE_CORRUPT:
		return err_fault(err,
		        "%s: database is damaged (%s): restore it, or move it away and import results/published", path,
		        sqlite3_errmsg(store->db));
	case SQLITE_BUSY:
		return err_fault(
		        err, "%s: locked by another process for over a minute: end that process and try again", path);
	case SQLITE_IOERR:
		// SQLite knows ENOSPC as a full disk when it writes, not when it makes room beside the file (the -shm).
		if (system == ENOSPC || system == EDQUOT)
			return err_fault(err, "%s: disk full: free some space and run the same command again", path);
		// A quota or a limit on file size comes here, its errno often lost.
		if (extended == SQLITE_IOERR_WRITE)
			return err_fault(err,
			        "%s: cannot grow (quota or limit on file size?): free some space or raise the limit, "
			        "then run "
			        "the same command again (what is stored is kept)",
			        path);
		return err_fault(err, "%s: input or output error: %s: check the disk and run the same command again",
		        path, system ? strerror(system) : sqlite3_errmsg(store->db));
	case SQLITE_ERROR: // SQL of a spec, rows of a dump: what does not fit was given
	case SQLITE_CONSTRAINT:
	case SQLITE_MISMATCH:
		return err_set(err, "%s: cannot %s: %s", path, doing, sqlite3_errmsg(store->db));
	default:
		return err_fault(err, "%s: cannot %s: %s", path, doing, sqlite3_errmsg(store->db));
	}
}

int store_exec(struct store *store, const char *sql, struct err *err)
{
	return sqlite3_exec(store->db, sql, NULL, NULL, NULL) == SQLITE_OK
	               ? 0
	               : store_fail(store, "change the schema", err);
}

int store_prepare(struct store *store, sqlite3_stmt **stmt, const char *sql, struct err *err)
{
	return sqlite3_prepare_v2(store->db, sql, -1, stmt, NULL) == SQLITE_OK
	               ? 0
	               : store_fail(store, "read or write", err);
}

static void bind_list(sqlite3_stmt *stmt, const char *types, va_list args)
{
	sqlite3_reset(stmt);
	for (int i = 1; *types; types++, i++) {
		if (*types == 't')
			sqlite3_bind_text(stmt, i, va_arg(args, const char *), -1, SQLITE_STATIC);
		else if (*types == 'i')
			sqlite3_bind_int64(stmt, i, va_arg(args, int64_t));
		else if (*types == 'd')
			sqlite3_bind_double(stmt, i, va_arg(args, double));
		else
			BUG("bind type '%c'", *types);
	}
}

void store_bind(sqlite3_stmt *stmt, const char *types, ...)
{
	va_list args;
	va_start(args, types);
	bind_list(stmt, types, args);
	va_end(args);
}

int store_step(struct store *store, sqlite3_stmt *stmt, struct err *err)
{
	int code = sqlite3_step(stmt);
	return code == SQLITE_ROW ? 1 : code == SQLITE_DONE ? 0 : store_fail(store, "read or write", err);
}

int store_do(struct store *store, struct err *err, const char *sql, const char *types, ...)
{
	sqlite3_stmt *stmt;
	if (store_prepare(store, &stmt, sql, err))
		return -1;
	va_list args;
	va_start(args, types);
	bind_list(stmt, types, args);
	va_end(args);
	int rc;
	while ((rc = store_step(store, stmt, err)) > 0)
		;
	sqlite3_finalize(stmt);
	return rc;
}

int store_get(
        struct store *store, struct err *err, int64_t *value, int64_t none, const char *sql, const char *types, ...)
{
	sqlite3_stmt *stmt;
	if (store_prepare(store, &stmt, sql, err))
		return -1;
	va_list args;
	va_start(args, types);
	bind_list(stmt, types, args);
	va_end(args);
	int rc = store_step(store, stmt, err);
	*value = rc > 0 ? sqlite3_column_int64(stmt, 0) : none;
	sqlite3_finalize(stmt);
	return rc < 0 ? -1 : 0;
}

int store_begin(struct store *store, struct err *err)
{
	return store_exec(store, "BEGIN IMMEDIATE", err);
}

int store_commit(struct store *store, struct err *err)
{
	if (!store_exec(store, "COMMIT", err))
		return 0;
	store_rollback(store);
	return -1;
}

void store_rollback(struct store *store)
{
	// A full disk may have rolled back already; a second time is no error worth telling.
	if (!sqlite3_get_autocommit(store->db))
		sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
}

int store_end(struct store *store, int rc, struct err *err)
{
	if (rc < 0) {
		store_rollback(store);
		return rc;
	}
	return store_commit(store, err) ? -1 : rc;
}

void store_bind_real(sqlite3_stmt *stmt, int value_at, int special_at, double value)
{
	uint64_t bits;
	char hex[17];
	sqlite3_bind_double(stmt, value_at, value); // a NaN becomes NULL
	if (!isnan(value) && !(value == 0 && signbit(value))) {
		sqlite3_bind_null(stmt, special_at);
		return;
	}
	memcpy(&bits, &value, sizeof(bits));
	snprintf(hex, sizeof(hex), "%016llx", (unsigned long long)bits);
	sqlite3_bind_text(stmt, special_at, hex, -1, SQLITE_TRANSIENT);
}

double store_column_real(sqlite3_stmt *stmt, int value_at, int special_at)
{
	const char *hex = (const char *)sqlite3_column_text(stmt, special_at);
	if (!hex)
		return sqlite3_column_double(stmt, value_at);
	uint64_t bits = strtoull(hex, NULL, 16);
	double value;
	memcpy(&value, &bits, sizeof(value));
	return value;
}

char *store_column_text(sqlite3_stmt *stmt, int at, struct arena *arena)
{
	const char *text = (const char *)sqlite3_column_text(stmt, at);
	return text ? arena_strdup(arena, text) : NULL;
}
