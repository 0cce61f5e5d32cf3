// SPDX-License-Identifier: MIT
// Where and how a procedure trains: options that procedures which take steps of training share.
#ifndef KVLAB_RUN_PLACE_H
#define KVLAB_RUN_PLACE_H
#include "harness/num/device.h"
#ifdef __cplusplus
extern "C" {
#endif

enum precision { PRECISION_F32, PRECISION_BF16 };
enum recompute { RECOMPUTE_NO, RECOMPUTE_YES, RECOMPUTE_AUTO };

struct place {
	char device[DEVICE_TEXT];
	int precision; // enum precision
	int recompute; // enum recompute
};
// Bytes that a point takes of the memory where it trains: when blocks keep what they computed, and when they run again.
struct place_bytes {
	double kept, again;
};

// Rows of an option table; offset is that of the struct place in the config.
#define PLACE_OPTIONS(offset)                                                                                          \
	DEVICE_OPTION((offset) + offsetof(struct place, device)),                                                      \
	        {"precision", OPTION_CHOICE, (offset) + offsetof(struct place, precision), "f32", 0, 0, "f32|bf16",    \
	                "what products and attention multiply (bf16: on a device; sums, weights and moments are f32)", \
	                1},                                                                                            \
	{                                                                                                              \
		"recompute", OPTION_CHOICE, (offset) + offsetof(struct place, recompute), "false", 0, 0,               \
		        "false|true|auto",                                                                             \
		        "run each block again in backward instead of keeping what it computed: less memory, the same " \
		        "numbers (auto: where the device's memory would not do otherwise)",                            \
		        1                                                                                              \
	}

// Whether it has a memory of its own.
int place_is_apart(const struct place *place);
int place_check(const struct place *place, struct err *err);
// Whether blocks run again there as far as can be seen now. Looks at a device by a process of its own, once; where
// there is none, blocks keep what they computed.
int place_recomputes(const struct place *place, const struct place_bytes *need);
static inline double place_needs(const struct place_bytes *need, int recomputes)
{
	return recomputes ? need->again : need->kept;
}
// 0, or -1 with the figures and the remedy where the device's memory has not so many bytes free. Looks as above; where
// there is no device, a plan has its figures all the same, and opening it says why.
int place_admit(const struct place *place, const struct place_bytes *need, struct err *err);
// Its backend, after its memory has been looked at, and whether blocks run again; NULL with the cause.
const struct backend *place_open(
        const struct place *place, const struct place_bytes *need, int *recomputes, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
