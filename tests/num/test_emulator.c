// SPDX-License-Identifier: MIT
// The emulated CUDA device (tests/emulate) keeps its promises: what passes on it is worth something only if it computes
// as a device does and notices what a device would not forgive.
#include <dlfcn.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/num/cuda_rig.h"
#include "tests/test.h"

static struct cuda_rig rig;
static void *plugin;
static struct rng rng;

// A function of the plugin; dlsym gives an object pointer, which C does not cast.
static void look_up(void *function, const char *name)
{
	void *symbol = dlsym(plugin, name);
	assert_non_null(symbol);
	memcpy(function, &symbol, sizeof(symbol));
}

static void test_tensor_cores(void **state UNUSED)
{
	void (*multiply)(float *d, const uint16_t *a, const uint16_t *b, int is_bf16);
	look_up(&multiply, "emulator_multiply");
	for (int round = 0; round < 8; round++) {
		const enum dtype dtype = round % 2 ? DTYPE_BF16 : DTYPE_F16;
		real x[384], read[384];
		uint16_t half[384];
		float d[128];
		for (int i = 0; i < 384; i++)
			x[i] = (real)rng_normal(&rng);
		dtype_write(dtype, half, x, 384);
		dtype_read(dtype, read, half, 384);
		multiply(d, half, half + 256, dtype == DTYPE_BF16);
		for (int i = 0; i < 16; i++)
			for (int j = 0; j < 8; j++) {
				double sum = 0;
				for (int k = 0; k < 16; k++)
					sum += (double)read[i * 16 + k] * (double)read[256 + k * 8 + j];
				assert_true(fabs((double)d[i * 8 + j] - sum) < 1e-5);
			}
	}
}

static void test_meetings(void **state UNUSED)
{
	float (*sum_of)(const float *x, int n);
	look_up(&sum_of, "emulator_sum");
	for (int n = 1; n <= 1024; n += n < 70 ? 1 : 53) {
		float x[1024], sum = 0;
		for (int i = 0; i < n; i++)
			sum += x[i] = (float)rig_int(&rng, -50, 50);
		assert_true(sum_of(x, n) == sum);
	}
}

static void test_late_copies(void **state UNUSED)
{
	void (*late_copy)(float *out, const float *x);
	const float x[8] = {1, 2, 3, 4, 5, 6, 7, 8};
	float out[3];
	look_up(&late_copy, "emulator_late_copy");
	late_copy(out, x);
	assert_true(out[0] == 1 && out[1] == 5 && out[2] == 0);
}

// How a child that calls with this argument ends: the signal; what it says goes to text.
static int ends_by(void (*call)(const char *), const char *argument, char *text, size_t size)
{
	int pipe_ends[2], status = 0;
	assert_int_equal(pipe(pipe_ends), 0);
	fflush(stdout);
	const pid_t child = fork();
	if (!child) {
		signal(SIGSEGV, SIG_DFL);
		signal(SIGABRT, SIG_DFL);
		dup2(pipe_ends[1], STDERR_FILENO);
		call(argument);
		_exit(0);
	}
	close(pipe_ends[1]);
	ssize_t n, used = 0;
	while ((n = read(pipe_ends[0], text + used, size - 1 - (size_t)used)) > 0)
		used += n;
	text[used] = '\0';
	close(pipe_ends[0]);
	waitpid(child, &status, 0);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void test_mistakes(void **state UNUSED)
{
	static const struct {
		const char *mistake;
		int signal;
		const char *said;
	} mistakes[] = {
	        {"skipped barrier", SIGABRT,
	                "kernel skipped_barrier, block (0, 0, 0): threads wait for some that never come"},
	        {"lonely shuffle", SIGABRT,
	                "kernel lonely_shuffle, block (0, 0, 0): threads wait for some that never come"},
	        {"two barriers", SIGABRT, "kernel two_barriers, block (0, 0, 0): threads are at different barriers"},
	        {"early look", SIGABRT, "reads shared memory that a copy is under way to"},
	        {"unwritten", SIGABRT, "reads shared memory that nobody wrote"},
	        {"no barrier", SIGABRT, "shared memory, with no barrier since it was"},
	        {"no second barrier", SIGABRT, "shared memory, with no barrier since it was"},
	        {"no warp barrier", SIGABRT, "shared memory, with no barrier since it was"},
	        {"all barriers", 0, ""}, // no mistake
	        {"two blocks", SIGABRT, "writes device memory that was written in this launch by block 0"},
	        {"neighbour", SIGABRT, "device memory that was read in this launch by block 0"},
	        {"beyond shared", SIGABRT, "writes shared memory beyond what the block has"},
	        {"unasked shared", SIGABRT, "49153 bytes of shared memory, which it was not allowed"},
	        {"host memory", SIGABRT, "writes memory that is not the device's"},
	        {"outside", SIGSEGV, ""},
	};
	void (*mistake)(const char *);
	char text[2000];
	look_up(&mistake, "emulator_mistake");
	for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
		const int signal = ends_by(mistake, mistakes[i].mistake, text, sizeof(text));
		if (signal != mistakes[i].signal || !strstr(text, mistakes[i].said))
			fail_msg("%s: signal %d, '%s'", mistakes[i].mistake, signal, text);
	}
}

static float (*peek)(void);

static void peek_once(const char *argument UNUSED)
{
	_exit(peek() == 0 ? 1 : 2);
}

static void test_the_host_cannot_look(void **state UNUSED)
{
	char text[200];
	look_up(&peek, "emulator_peek");
	assert_int_equal(ends_by(peek_once, NULL, text, sizeof(text)), SIGSEGV);
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_tensor_cores),
	        cmocka_unit_test(test_meetings),
	        cmocka_unit_test(test_late_copies),
	        cmocka_unit_test(test_mistakes),
	        cmocka_unit_test(test_the_host_cannot_look),
	};
	if (!rig.is_emulated) {
		printf("# a real device: nothing to show\n");
		return 0;
	}
	plugin = dlopen(rig.path, RTLD_NOW | RTLD_LOCAL);
	rng = rig_rng(&rig.host);
	return cmocka_run_group_tests_name("the emulated device", tests, NULL, NULL);
}

int main(void)
{
	return cuda_run_tests(&rig, run);
}
