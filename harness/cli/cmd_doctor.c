// SPDX-License-Identifier: MIT
// kvlab doctor: what is here, what is missing, and what each missing piece would enable.
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/base/build.h"
#include "harness/base/hash.h"
#include "harness/base/json.h"
#include "harness/cli/command.h"
#include "harness/num/backend.h"
#include "harness/spec/node.h"
#include "harness/store/store.h"
#include "harness/text/corpus.h"
#include "harness/text/nfc.h"
#include "harness/text/split.h"
#include "harness/text/token_image.h"
#include "harness/text/unpack.h"

extern const struct command command_doctor;

static const struct cli_option options[] = {
        {"db", CLI_TEXT, "FILE", "database (default results/results.db)"},
        {"json", CLI_FLAG, NULL, "print one JSON list"},
        {0},
};

enum { TEXT = 1100 };
enum state { FOUND, MISSING, BROKEN };

// One thing to look for.
struct thing {
	const char *name;
	int is_needed; // exit 1 without it
	// Fills `what` with what was found, or with how to get it.
	enum state (*look)(char what[TEXT], const struct thing *thing, const struct cli_args *args);
	const char *how;     // for look: a command, a variable
	const char *enables; // what it is for
	const char *(*library)(void);
	int id;
};

// --- looking -------------------------------------------------------------------------------------------------------

static enum state look_build(char what[TEXT], const struct thing *thing, const struct cli_args *args)
{
	(void)thing, (void)args;
	snprintf(what, TEXT, "commit %.12s%s, %s", build_info.commit, build_info.dirty ? " and changes" : "",
	        build_info.compiler);
	return FOUND;
}

static enum state look_processor(char what[TEXT], const struct thing *thing, const struct cli_args *args)
{
	(void)thing, (void)args;
	size_t n = (size_t)snprintf(what, TEXT, "%ld online", sysconf(_SC_NPROCESSORS_ONLN));
#if defined(__x86_64__)
	static const char *const names[] = {"AVX2", "FMA", "AVX-512F"};
	const int has[] = {
	        __builtin_cpu_supports("avx2"), __builtin_cpu_supports("fma"), __builtin_cpu_supports("avx512f")};
	for (int i = 0; i < 3; i++)
		n += (size_t)snprintf(what + n, TEXT - n, ", %s %s", has[i] ? "with" : "without", names[i]);
#ifdef __AVX2__
	if (!has[0] || !has[1]) {
		snprintf(what + n, TEXT - n, ": the program was built for them (make MARCH=x86-64-v2)");
		return BROKEN;
	}
#endif
#endif
	(void)n;
	return FOUND;
}

static enum state look_library(char what[TEXT], const struct thing *thing, const struct cli_args *args)
{
	(void)args;
	snprintf(what, TEXT, "%s", thing->library());
	return FOUND;
}

// The first line that a command prints.
static enum state look_program(char what[TEXT], const struct thing *thing, const struct cli_args *args)
{
	(void)args;
	FILE *in = popen(thing->how, "r");
	char *line = in ? fgets(what, TEXT, in) : NULL;
	const int status = in ? pclose(in) : -1;
	if (!line || status)
		what[0] = '\0';
	what[strcspn(what, "\n")] = '\0';
	return line && !status ? FOUND : MISSING;
}

static enum state look_variable(char what[TEXT], const struct thing *thing, const struct cli_args *args)
{
	(void)args;
	const char *value = getenv(thing->how);
	snprintf(what, TEXT, "%s", value ? value : "");
	return value && *value ? FOUND : MISSING;
}

static enum state look_data(char what[TEXT], const struct thing *thing, const struct cli_args *args)
{
	if (look_variable(what, thing, args) == MISSING)
		return MISSING;
	if (access(what, R_OK | X_OK) == 0)
		return FOUND;
	snprintf(what, TEXT, "the variable DATA names '%.900s', which cannot be read", getenv(thing->how));
	return BROKEN;
}

static enum state look_corpus(char what[TEXT], const struct thing *thing, const struct cli_args *args)
{
	(void)args;
	char path[PATH_TEXT * 2];
	const char *remedy, *found = corpus_find(path, (enum corpus_id)thing->id, &remedy);
	snprintf(what, TEXT, "%s", found ? found : remedy);
	return found ? FOUND : MISSING;
}

static enum state look_cache(char what[TEXT], const struct thing *thing, const struct cli_args *args)
{
	(void)thing, (void)args;
	char folder[CACHE_PATH];
	if (!token_image_folder(folder)) {
		snprintf(what, TEXT, "set KVLAB_CACHE or HOME to a folder");
		return MISSING;
	}
	const int is_there = access(folder, F_OK) == 0, may_write = access(folder, W_OK) == 0;
	snprintf(what, TEXT, "%.900s%s", folder, !is_there ? " (not made yet)" : may_write ? "" : " cannot be written");
	return is_there && !may_write ? BROKEN : FOUND;
}

static enum state look_results(char what[TEXT], const struct thing *thing, const struct cli_args *args)
{
	(void)thing;
	const char *path = cli_text(args, "db", "results/results.db");
	struct store *store;
	struct err err = {0};
	struct arena arena;
	struct table table;
	if (access(path, F_OK)) {
		snprintf(what, TEXT, "%s is not there yet: 'kvlab run' or 'kvlab import' makes it", path);
		return MISSING;
	}
	if (store_open(&store, path, STORE_READ, &err)) {
		snprintf(what, TEXT, "%s", err.message);
		return BROKEN;
	}
	arena_init(&arena, 1 << 16);
	int rc = store_query(store,
	        "SELECT (SELECT user_version FROM pragma_user_version), count(*), coalesce(sum(state = 'done'), 0), "
	        "(SELECT count(*) FROM experiment) FROM run",
	        (const char *const[]){NULL}, &table, &arena, &err);
	if (rc)
		snprintf(what, TEXT, "%s", err.message);
	else
		snprintf(what, TEXT, "%s, schema %s: %s runs (%s done) of %s experiments", path, table.cell[0],
		        table.cell[1], table.cell[2], table.cell[3]);
	store_close(store);
	arena_release(&arena);
	return rc ? BROKEN : FOUND;
}

static int is_model(const struct dirent *entry)
{
	char path[TEXT];
	return entry->d_name[0] != '.' && snprintf(path, sizeof(path), "models/%s/config.json", entry->d_name) < TEXT &&
	       access(path, R_OK) == 0;
}

static enum state look_models(char what[TEXT], const struct thing *thing, const struct cli_args *args)
{
	(void)thing, (void)args;
	struct dirent **entry = NULL;
	const int n = scandir("models", &entry, is_model, alphasort);
	size_t at = 0;
	what[0] = '\0';
	for (int i = 0; i < n; i++) {
		if (at < TEXT)
			at += (size_t)snprintf(what + at, TEXT - at, "%s%s", i ? ", " : "", entry[i]->d_name);
		free(entry[i]);
	}
	free(entry);
	if (n > 0)
		return FOUND;
	snprintf(what, TEXT, "make model M=smollm2-135m");
	return MISSING;
}

static const char *blas_library(void)
{
	return backend_cpu.library();
}

// --- what is looked for --------------------------------------------------------------------------------------------

static const struct thing things[] = {
        {"program", 1, look_build},
        {"processor", 1, look_processor},
        {"BLAS", 1, look_library, .library = blas_library},
        {"database", 1, look_library, .library = store_library},
        {"YAML", 1, look_library, .library = node_library},
        {"JSON", 1, look_library, .library = json_library},
        {"patterns", 1, look_library, .library = split_library},
        {"normal forms", 1, look_library, .library = nfc_library},
        {"compression", 1, look_library, .library = unpack_library},
        {"hashes", 1, look_library, .library = hash_library},
        {"gnuplot", 1, look_program, "gnuplot --version 2>/dev/null", "plots (apt-get install gnuplot-nox)"},
        {"results", 0, look_results, .enables = "tables and plots without running anything"},
        {"token cache", 0, look_cache, .enables = "texts are tokenised once, not at each start"},
        {"DATA", 0, look_data, "DATA", "corpora below a folder of yours, set with export DATA=FOLDER"},
        {"gcide", 1, look_corpus, .enables = "the default text of text tasks", .id = CORPUS_GCIDE},
        {"tinyshakespeare", 0, look_corpus, .enables = "char_lm", .id = CORPUS_TINYSHAKESPEARE},
        {"wikitext-2", 0, look_corpus, .enables = "language models as papers A and B train them",
                .id = CORPUS_WIKITEXT_2},
        {"wikitext-103", 0, look_corpus, .enables = "the same at paper scale", .id = CORPUS_WIKITEXT_103},
        {"tinystories", 0, look_corpus, .enables = "text that tiny models can learn", .id = CORPUS_TINYSTORIES},
        {"models", 0, look_models, .enables = "eval, generate and conversions of published models"},
        {"curl", 0, look_program, "curl --version 2>/dev/null", "make model from a hub (apt-get install curl)"},
        {"HF_ENDPOINT", 0, look_variable, "HF_ENDPOINT", "make model from the hub that it gives the address of"},
        {"pip", 0, look_program, "python3 -m pip --version 2>/dev/null",
                "make model M=smollm2-135m (apt-get install python3-pip)"},
        {"sqlite3", 0, look_program, "sqlite3 --version 2>/dev/null",
                "questions of your own to results.db (apt-get install sqlite3)"},
        {"nvcc", 0, look_program, "nvcc --version 2>/dev/null | grep release",
                "GPU kernels: the plugin of --device cuda"},
        {"GPU", 0, look_program, "nvidia-smi -L 2>/dev/null", "--device cuda"},
        {"cmocka", 0, look_program, "pkg-config --modversion cmocka 2>/dev/null", "make test (make deps installs it)"},
        {"clang-format", 0, look_program, "clang-format --version 2>/dev/null", "make format (make deps installs it)"},
        {NULL},
};

static const char *const state_names[] = {"found", "missing", "broken"};

static void print_member(const char *name, const char *text)
{
	printf("\"%s\": ", name);
	json_print_text(stdout, text ? text : "", text ? strlen(text) : 0);
}

static void print(const struct thing *thing, enum state state, const char *what, int is_json)
{
	if (is_json) {
		printf(thing == things ? "[{" : ",\n {");
		print_member("name", thing->name);
		printf(", \"needed\": %s, ", thing->is_needed ? "true" : "false");
		print_member("state", state_names[state]);
		printf(", ");
		print_member("what", what);
		printf(", ");
		print_member("enables", thing->enables);
		putchar('}');
		return;
	}
	printf("%-8s %-16s %s", state_names[state], thing->name, what);
	if (state != FOUND && thing->enables)
		printf("%sfor %s", *what ? "; " : "", thing->enables);
	printf("%s\n", state != FOUND && thing->is_needed ? " (needed)" : "");
}

static int run(int argc, char **argv, struct err *err)
{
	struct cli_args args;
	if (cli_parse(&args, &command_doctor, argc, argv, 0, 0, err))
		return COMMAND_ERROR;
	const int is_json = cli_flag(&args, "json");
	int n_bad = 0;
	for (const struct thing *t = things; t->name; t++) {
		char what[TEXT] = "";
		const enum state state = t->look(what, t, &args);
		print(t, state, what, is_json);
		n_bad += state == BROKEN || (state == MISSING && t->is_needed);
	}
	if (is_json)
		puts("]");
	else if (n_bad)
		printf("\n%d thing%s to see to\n", n_bad, n_bad > 1 ? "s" : "");
	else
		printf("\nall that is needed is here\n");
	return n_bad ? COMMAND_FAILED : COMMAND_DONE;
}

const struct command command_doctor = {
        .name = "doctor",
        .summary = "Say what is here, what is missing, and what each missing piece would enable",
        .usage = "[--db FILE] [--json]",
        .options = options,
        .run = run,
};
