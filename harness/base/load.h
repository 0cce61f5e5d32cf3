// SPDX-License-Identifier: MIT
// How much of the processors others used while something was timed: a number taken beside a neighbour is no number.
#ifndef KVLAB_BASE_LOAD_H
#define KVLAB_BASE_LOAD_H
#ifdef __cplusplus
extern "C" {
#endif

struct load {
	double busy_s, own_s, wall_s;
};

// Since boot: CPU seconds of everybody and of this process with its finished children. busy_s < 0: not known here.
struct load load_now(void);
// Processors' worth that others used since `from`; -1: not known here. Beyond LOAD_TOLERATED a timing is not to be
// trusted.
double load_others(const struct load *from);
#define LOAD_TOLERATED 0.1
// What the first processor says its clock is now, in MHz; -1: not known here.
double load_clock_mhz(void);
// Prints a line when others took more than a tenth of one processor since `from`.
void load_print(const struct load *from);

#ifdef __cplusplus
}
#endif
#endif
