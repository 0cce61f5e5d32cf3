// SPDX-License-Identifier: MIT
// Where and by what numbers are made: rows of machine and build.
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "harness/store/internal.h"

// The value of the first "key ... <separator> value" line of a file, or "" without one.
static void read_field(char *out, size_t size, const char *path, const char *key, char separator)
{
	char line[512];
	out[0] = '\0';
	FILE *file = fopen(path, "r");
	if (!file)
		return;
	while (!out[0] && fgets(line, sizeof(line), file)) {
		char *at = strchr(line, separator);
		if (strncmp(line, key, strlen(key)) || !at)
			continue;
		at += 1 + strspn(at + 1, " \t\"");
		at[strcspn(at, "\"\n")] = '\0';
		snprintf(out, size, "%s", at);
	}
	fclose(file);
}

static int add_machine(struct store *store, struct err *err)
{
	char cpu[256], distribution[256], os[640];
	struct utsname kernel = {.sysname = "unknown"};
	uname(&kernel);
	read_field(cpu, sizeof(cpu), "/proc/cpuinfo", "model name", ':');
	if (!cpu[0])
		snprintf(cpu, sizeof(cpu), "unknown %s", kernel.machine);
	read_field(distribution, sizeof(distribution), "/etc/os-release", "PRETTY_NAME", '=');
	snprintf(os, sizeof(os), "%s, %s %s", distribution[0] ? distribution : "unknown", kernel.sysname,
	        kernel.machine);
	int64_t n_core = sysconf(_SC_NPROCESSORS_ONLN);
	// Whole GiB: the kernel's own share moves by a little from boot to boot.
	double bytes = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGE_SIZE);
	int64_t memory_gib = (int64_t)(bytes / (1 << 30) + 0.5);
	if (store_do(store, err,
	            "INSERT INTO machine (cpu, n_core, memory_gib, os) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
	            "tiit", cpu, n_core, memory_gib, os))
		return -1;
	return store_get(store, err, &store->machine_id, 0,
	        "SELECT id FROM machine WHERE cpu = ? AND n_core = ? AND memory_gib = ? AND os = ?", "tiit", cpu,
	        n_core, memory_gib, os);
}

static const char *text_or(const char *text, const char *otherwise)
{
	return text && *text ? text : otherwise;
}

static int add_build(struct store *store, const struct store_build *build, struct err *err)
{
	const char *commit = text_or(build->git_commit, "unknown"), *compiler = text_or(build->compiler, "unknown");
	const char *flags = text_or(build->flags, ""), *blas = text_or(build->blas, "unknown");
	const char *cuda = text_or(build->cuda, "none"), *hash = text_or(build->binary_hash, "unknown");
	int64_t dirty = build->dirty != 0;
	if (store_do(store, err,
	            "INSERT INTO build (git_commit, dirty, compiler, flags, blas, cuda, binary_hash) "
	            "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
	            "tittttt", commit, dirty, compiler, flags, blas, cuda, hash))
		return -1;
	return store_get(store, err, &store->build_id, 0,
	        "SELECT id FROM build WHERE git_commit = ? AND dirty = ? AND compiler = ? AND flags = ? AND blas = ? "
	        "AND cuda = ? AND binary_hash = ?",
	        "tittttt", commit, dirty, compiler, flags, blas, cuda, hash);
}

int store_identify(struct store *store, const struct store_build *build, struct err *err)
{
	if (store_begin(store, err))
		return -1;
	int rc = add_machine(store, err) || add_build(store, build, err) ? -1 : 0;
	return store_end(store, rc, err);
}
