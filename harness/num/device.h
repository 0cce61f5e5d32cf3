// SPDX-License-Identifier: MIT
// Where a model computes: "cpu", "cuda" (kvlab_cuda.so beside this program), or the path of such a plugin. A plugin
// exports `const struct backend *kvlab_cuda_open(int is_exact, struct err *err)`; is_exact: nothing is rounded below
// f32, otherwise products may round what they multiply to bf16. It is loaded once and stays.
#ifndef KVLAB_NUM_DEVICE_H
#define KVLAB_NUM_DEVICE_H
#include "harness/base/option.h"
#include "harness/num/backend.h"
#ifdef __cplusplus
extern "C" {
#endif

enum { DEVICE_TEXT = 256 };
// A row for the options of a procedure that runs on devices; its field is char[DEVICE_TEXT]. Where a point is not of
// the CPU its device is part of what it is: its numbers and times are others.
#define DEVICE_OPTION(offset)                                                                                          \
	{                                                                                                              \
		"device", OPTION_TEXT, offset, "cpu", 0, DEVICE_TEXT, NULL,                                            \
		        "where it runs: cpu, cuda or the path of a plugin (--device says it for all points)", 1        \
	}

// NULL with the sentence why it is not to be had. A program that forks afterwards must not have opened another device
// than the CPU: see device_look.
const struct backend *device_open(const char *name, int is_exact, struct err *err);

// What is there, seen by a process of its own.
struct device_look {
	char library[400]; // what results depend on: device, driver, libraries; "" for the CPU
	double available;  // bytes of its memory that are free; -1: the process's own memory
};
int device_look(struct device_look *look, const char *name, struct err *err);

// 0, or -1 with the figures where the memory of the backend (not NULL) has less than that free.
int device_check_memory(const struct backend *backend, double bytes, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
