// SPDX-License-Identifier: MIT
// Fuzzes the readers of tokenizer files, and encodes and decodes with what they accept, in a process of its own: a
// crash or a hang is reported with the seed and the number of the case, and is run again alone by naming both.
//     KVLAB_FUZZ_S=600      seconds for each reader (1 where it is not said)
//     KVLAB_TEST_SEED=7     other cases
//     KVLAB_FUZZ_CASE=1234  that case only
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/base/progress.h"
#include "harness/base/utf8.h"
#include "harness/text/file.h"
#include "harness/text/internal.h"
#include "tests/num/rig.h"
#include "tests/test.h"
#include "tests/text/golden.h"

enum { CORPUS_MOST = 6, HANG_S = 20, TEXT_ROOM = 600 };

struct input {
	char *data;
	size_t n;
};

struct target {
	const char *name, *corpus[CORPUS_MOST];
	// Reads the input; beside it lies what is good.
	int (*read)(struct tokenizer *t, const char *text, size_t n, struct err *err);
};

static struct input good_vocabulary, good_merges;

static int read_vocabulary(struct tokenizer *t, const char *text, size_t n, struct err *err)
{
	return tokenizer_set_family(t, "qwen2") || tokenizer_read_vocabulary(t, text, n, err) ||
	       tokenizer_read_merges(t, good_merges.data, good_merges.n, err);
}

static int read_merges(struct tokenizer *t, const char *text, size_t n, struct err *err)
{
	return tokenizer_set_family(t, "qwen2") ||
	       tokenizer_read_vocabulary(t, good_vocabulary.data, good_vocabulary.n, err) ||
	       tokenizer_read_merges(t, text, n, err);
}

static const struct target targets[] = {
        {"json", {"gpt2.json", "gpt_neox.json", "llama3.json", "smollm.json", "options.json"}, tokenizer_read_json},
        {"vocabulary", {"qwen2/vocab.json"}, read_vocabulary},
        {"merges", {"qwen2/merges.txt"}, read_merges},
        {"llama2c", {"scored.bin"}, tokenizer_read_llama2c},
};
enum { TARGETS = sizeof(targets) / sizeof(targets[0]) };

// What breaks readers: the words of the format, and numbers at the ends of types.
static const char *const words[] = {"null", "true", "false", "{}", "[]", "\"\"", "-1", "0", "1", "255", "65536",
        "2097151", "2097152", "2147483647", "2147483648", "4294967295", "9223372036854775807", "1e308", "0.5", "\"a\"",
        "[\"a\",\"b\"]", "\"type\"", "\"Sequence\"", "\"ByteLevel\"", "\"Split\"", "\"Digits\"", "\"NFC\"",
        "\"Isolated\"", "\"Removed\"", "{\"Regex\":\"", "(", ")", "[", "]", "*", "+", "?", "(?!\\\\S)", "\\\\p{L}",
        "\\\\s", "\\\\K", "(a|b)*", "(?:)", "(?R)", "\"lstrip\":true", "\"rstrip\":true", "\"single_word\":true",
        "\"special\":true", "\"special\":false", "\"ignore_merges\":true", "\"\\u0120\"", "\"\\u0000\"", "\xc4\xa0",
        "\xff", "\xed\xa0\x80", " ", "\n", "\"", ",", ":", "#version", "\x7f\xff\xff\xff", "\xff\xff\xff\x7f",
        "\xff\xff\xff\xff"};
enum { WORDS = sizeof(words) / sizeof(words[0]) };

// Replaces n bytes at `at` by others.
static void splice(struct input *b, size_t at, size_t n, const char *other, size_t n_other)
{
	char *data = malloc(b->n - n + n_other + 1);
	memcpy(data, b->data, at);
	memcpy(data + at, other, n_other);
	memcpy(data + at + n_other, b->data + at + n, b->n - at - n);
	free(b->data);
	b->data = data;
	b->n = b->n - n + n_other;
}

// The first JSON value at or after `at`: its place, and its length in *n. A list or object ends at its closing bracket.
static size_t value_at_or_after(const struct input *b, size_t at, size_t *n)
{
	while (at < b->n && !strchr("\"0123456789-tfn[{", b->data[at]))
		at++;
	size_t end = at, depth = 0;
	int is_text = 0;
	do {
		if (end == b->n)
			break;
		const char c = b->data[end++];
		if (is_text && c == '\\' && end < b->n)
			end++;
		else if (c == '"')
			is_text = !is_text;
		else if (!is_text)
			depth += (size_t)((c == '[' || c == '{') - (depth && (c == ']' || c == '}')));
	} while (is_text || depth || (end < b->n && !strchr(",:]} \n\"", b->data[end])));
	*n = end - at;
	return at;
}

// Files of some kilobytes are mostly vocabulary: half of the places are in what comes before and after it.
static size_t place_in(const struct input *b, struct rng *rng)
{
	enum { EDGE = 700 };
	if (b->n < 2 * EDGE || rng_below(rng, 2))
		return rng_below(rng, (uint32_t)b->n + 1);
	return rng_below(rng, 2) ? rng_below(rng, EDGE) : b->n - rng_below(rng, EDGE);
}

static void mutate(struct input *b, const struct input *others, int n_other, struct rng *rng)
{
	for (uint32_t n = 1 + rng_below(rng, 3); n > 0; n--) {
		const size_t at = place_in(b, rng), left = b->n - at;
		const uint32_t kind = rng_below(rng, 14), some = rng_below(rng, 12), many = rng_below(rng, 400);
		const size_t cut = kind == 2 ? many : some, take = cut < left ? cut : left;
		const struct input *other = &others[rng_below(rng, (uint32_t)n_other)];
		const size_t from = rng_below(rng, (uint32_t)other->n), rest = other->n - from;
		const char *word = words[rng_below(rng, WORDS)];
		const char byte = (char)rng_below(rng, 256);
		if (kind == 0 && left)
			b->data[at] = (char)(b->data[at] ^ (1 << rng_below(rng, 8)));
		else if (kind == 1)
			splice(b, at, 0, &byte, 1);
		else if (kind == 2)
			splice(b, at, take, "", 0);
		else if (kind == 3)
			splice(b, at, take, word, strlen(word));
		else if (kind == 4)
			splice(b, at, 0, word, strlen(word));
		else if (kind == 5)
			splice(b, at, 0, other->data + from, many < rest ? many : rest);
		else if (kind == 6 && rng_below(rng, 4) == 0)
			splice(b, at, left, "", 0);
		else if (kind > 6) {
			// Whole values for values: what comes out is JSON still, and gets further.
			size_t n_value, n_taken;
			const size_t value = value_at_or_after(b, at, &n_value),
			             taken = value_at_or_after(other, from, &n_taken);
			if (rng_below(rng, 2))
				splice(b, value, n_value, word, strlen(word));
			else
				splice(b, value, n_value, other->data + taken, n_taken);
		}
	}
}

static void check_message(const struct err *err)
{
	const size_t n = strlen(err->message);
	if (!err->is_set || err->is_fault || n < 10 || !strstr(err->message, "fuzzed"))
		BUG("refused with '%s'", err->message);
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)err->message[i] < 0x20 || err->message[i] == 0x7f)
			BUG("a message with byte 0x%02x", (unsigned char)err->message[i]);
	if (err->message[n - 1] == '.' && (n < 3 || err->message[n - 2] != '.'))
		BUG("a full stop: %s", err->message);
}

static void use(const struct tokenizer *t, struct rng *rng)
{
	char text[TEXT_ROOM], *at_once, *streamed = NULL;
	struct encoder *e = encoder_new(t);
	struct decoder d;
	decoder_init(&d, t, 0);
	for (int round = 0; round < 3; round++) {
		const size_t n = random_text(text, rng_below(rng, 300), rng);
		struct token_ids ids = {0};
		struct err err = {0};
		const char *piece;
		size_t n_once = 0, n_streamed = 0, length;
		if (encoder_run(e, text, n, (int)rng_below(rng, 8), &ids, &err)) {
			if (ids.n || (!strstr(err.message, "no token for byte") && !strstr(err.message, "gives up")))
				BUG("%s", err.message);
			free(ids.id);
			continue;
		}
		if (tokenizer_decode(t, ids.id, ids.n, 0, &at_once, &n_once, &err))
			BUG("%s", err.message);
		streamed = malloc(n_once + 1);
		for (size_t i = 0; i <= ids.n; i++, n_streamed += length) {
			if (i == ids.n)
				piece = decoder_end(&d, &length);
			else if (decoder_next(&d, ids.id[i], &piece, &length, &err))
				BUG("%s", err.message);
			if (n_streamed + length > n_once)
				BUG("a stream longer than the text");
			memcpy(streamed + n_streamed, piece, length);
		}
		if (n_streamed != n_once || memcmp(streamed, at_once, n_once) != 0)
			BUG("a stream other than the text");
		free(streamed);
		free(at_once);
		free(ids.id);
	}
	decoder_release(&d);
	encoder_free(e);
}

// A hang is told by the processor's time: others may have the machine.
static void watch(int seconds)
{
	const struct itimerval limit = {.it_value = {.tv_sec = seconds}};
	setitimer(ITIMER_PROF, &limit, NULL);
}

static int run_case(const struct target *target, const struct input *corpus, int n_corpus, long n)
{
	struct rng rng = rng_make(test_seed(), RNG_CHECK, (uint64_t)n * TARGETS + (uint64_t)(target - targets));
	const struct input *start = &corpus[n < n_corpus ? n : (long)rng_below(&rng, (uint32_t)n_corpus)];
	struct input b = {malloc(start->n), start->n};
	struct err err = {0};
	memcpy(b.data, start->data, start->n);
	if (n >= n_corpus)
		mutate(&b, corpus, n_corpus, &rng);
	// Exactly as long as it is, so that a sanitizer sees each byte read beyond it.
	char *exact = malloc(b.n ? b.n : 1);
	memcpy(exact, b.data, b.n);
	watch(HANG_S);
	struct tokenizer *t = tokenizer_new("fuzzed");
	const int is_accepted = target->read(t, exact, b.n, &err) == 0 && tokenizer_finish(t, &err) == 0;
	free(exact);
	if (is_accepted)
		use(t, &rng);
	else
		check_message(&err);
	tokenizer_free(t);
	watch(0);
	free(b.data);
	return is_accepted;
}

struct progress_of {
	long n_case, n_accepted;
};

static void work(const struct target *target, const struct input *corpus, int n_corpus, struct progress_of *done)
{
	const char *seconds = getenv("KVLAB_FUZZ_S"), *only = getenv("KVLAB_FUZZ_CASE");
	const double end = clock_s() + (seconds ? atof(seconds) : 1);
	if (only) {
		done->n_case = atol(only);
		done->n_accepted = run_case(target, corpus, n_corpus, done->n_case);
		return;
	}
	for (; done->n_case < n_corpus || clock_s() < end; done->n_case++)
		done->n_accepted += run_case(target, corpus, n_corpus, done->n_case);
}

static struct input read_input(const char *name)
{
	char path[200];
	struct input input;
	struct err err = {0};
	snprintf(path, sizeof(path), TOKENIZERS "%s", name);
	if (file_read(&input.data, &input.n, path, &err))
		fail_msg("%s (run from the project's folder)", err.message);
	return input;
}

static void fuzz(const struct target *target)
{
	struct input corpus[CORPUS_MOST];
	int n_corpus = 0, status;
	for (; n_corpus < CORPUS_MOST && target->corpus[n_corpus]; n_corpus++)
		corpus[n_corpus] = read_input(target->corpus[n_corpus]);
	good_vocabulary = read_input("qwen2/vocab.json");
	good_merges = read_input("qwen2/merges.txt");
	struct progress_of *done = mmap(NULL, sizeof(*done), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(done, MAP_FAILED);
	test_seed();
	fflush(NULL);
	const pid_t pid = fork();
	if (pid == 0)
		work(target, corpus, n_corpus, done);
	for (int i = 0; i < n_corpus; i++)
		free(corpus[i].data);
	free(good_vocabulary.data);
	free(good_merges.data);
	if (pid == 0)
		exit(0); // a leak fails here under AddressSanitizer
	assert_int_equal(waitpid(pid, &status, 0), pid);
	print_message("%s: %ld cases, %ld accepted\n", target->name, done->n_case, done->n_accepted);
	const long at = done->n_case, n_accepted = done->n_accepted;
	munmap(done, sizeof(*done));
	if (status)
		fail_msg(
		        "%s: %s (wait status 0x%x) in case %ld: KVLAB_TEST_SEED=%llu KVLAB_FUZZ_CASE=%ld runs it again",
		        target->name, WIFSIGNALED(status) && WTERMSIG(status) == SIGPROF ? "a hang" : "a crash",
		        (unsigned)status, at, (unsigned long long)test_seed(), at);
	assert_true(getenv("KVLAB_FUZZ_CASE") || n_accepted > 0);
}

#define FUZZ_TARGET(name, number)                                                                                      \
	static void name(UNUSED void **state)                                                                          \
	{                                                                                                              \
		fuzz(&targets[number]);                                                                                \
	}
FUZZ_TARGET(json, 0)
FUZZ_TARGET(vocabulary, 1)
FUZZ_TARGET(merges, 2)
FUZZ_TARGET(llama2c, 3)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(json),
	        cmocka_unit_test(vocabulary),
	        cmocka_unit_test(merges),
	        cmocka_unit_test(llama2c),
	};
	return cmocka_run_group_tests_name("fuzzed tokenizers", tests, NULL, NULL);
}
