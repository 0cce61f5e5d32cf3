// SPDX-License-Identifier: MIT
#include "harness/base/json_string.h"

#include <string.h>

void json_print_string(FILE *out, const char *text)
{
	static const char escaped[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt";
	fputc('"', out);
	for (; *text; text++) {
		const char *found = strchr(escaped, *text);
		if (found)
			fprintf(out, "\\%c", letter[found - escaped]);
		else if ((unsigned char)*text < 0x20)
			fprintf(out, "\\u%04x", (unsigned)*text);
		else
			fputc(*text, out);
	}
	fputc('"', out);
}
