// SPDX-License-Identifier: MIT
#include "harness/base/number.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Length of the run of digits at text.
static size_t digits(const char *text)
{
	return strspn(text, "0123456789");
}

int number_parse(double *value, const char *text)
{
	const char *at = text + (*text == '-' || *text == '+');
	size_t whole = digits(at), part = 0;
	at += whole;
	if (*at == '.') {
		part = digits(at + 1);
		at += 1 + part;
	}
	if (whole + part == 0)
		return -1;
	if (*at == 'e' || *at == 'E') {
		at += 1 + (at[1] == '-' || at[1] == '+');
		if (digits(at) == 0)
			return -1;
		at += digits(at);
	}
	if (*at)
		return -1;
	*value = strtod(text, NULL);
	return 0;
}

void number_print(char text[NUMBER_TEXT], double value)
{
	// 17 significant digits always read back; most settings do with three.
	for (int n = 1; n <= 17; n++) {
		snprintf(text, NUMBER_TEXT, "%.*g", n, value);
		if (strtod(text, NULL) == value)
			break;
	}
	// %g writes 3000 as 3e+03 when one digit would do, a spelling nobody uses.
	double magnitude = value < 0 ? -value : value;
	if (strchr(text, 'e') && magnitude >= 1 && magnitude < 1e15 && value == (double)(long long)value)
		snprintf(text, NUMBER_TEXT, "%.0f", value);
}
