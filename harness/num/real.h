// SPDX-License-Identifier: MIT
// The number type of all arithmetic: float in the program, double in the gradient checks (make builds the same
// sources with -DKVLAB_DOUBLE into build/<config>/double).
#ifndef KVLAB_NUM_REAL_H
#define KVLAB_NUM_REAL_H

#ifdef KVLAB_DOUBLE
typedef double real;
#else
typedef float real;
#endif

#endif
