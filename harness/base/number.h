// SPDX-License-Identifier: MIT
// Numbers as text, one spelling for one value: keys of points are hashes of such text.
#ifndef KVLAB_BASE_NUMBER_H
#define KVLAB_BASE_NUMBER_H
#ifdef __cplusplus
extern "C" {
#endif

enum { NUMBER_TEXT = 32 }; // the longest text and its terminator

// Reads a decimal number (-1, .5, 1e-3; no hexadecimal, no "inf", nothing around it). 0, or -1 when it is none.
// The value may be infinite where the text is beyond a double.
int number_parse(double *value, const char *text);
// The shortest decimal text that reads back to the same double: 0.001, 3000, 1e+30.
void number_print(char text[NUMBER_TEXT], double value);

#ifdef __cplusplus
}
#endif
#endif
