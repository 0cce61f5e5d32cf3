// SPDX-License-Identifier: MIT
// How much of the processors others used while something was timed: a number taken beside a neighbour is no number.
#ifndef KVLAB_BENCH_LOAD_H
#define KVLAB_BENCH_LOAD_H
#ifdef __cplusplus
extern "C" {
#endif

struct load {
	double busy_s, own_s, wall_s;
};

// Since boot: CPU seconds of everybody and of this process with its finished children. busy_s < 0: not known here.
struct load load_now(void);
// Prints a line when others took more than a tenth of one processor since `from`.
void load_print(const struct load *from);

#ifdef __cplusplus
}
#endif
#endif
