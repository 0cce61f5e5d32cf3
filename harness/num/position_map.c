// SPDX-License-Identifier: MIT
#include "harness/num/position_map.h"

#include <math.h>

struct map_keys map_keys_of(enum map_cut cut, int m)
{
	if (cut == MAP_CUT_HALVES)
		return (struct map_keys){m - m / 2, m / 2, m - m / 2};
	const int width = 2 * ((m + 3) / 4);
	return (struct map_keys){width, width < m ? width : m, width < m ? m - width : 0};
}

void map_keys_fill(real *to, const struct map_keys *keys, int S)
{
	for (int k = 0; k < keys->n; k++) {
		const double frequency = pow(10000, -2.0 * (k / 2) / keys->width);
		for (int j = 0; j < S; j++)
			to[(ptrdiff_t)j * keys->n + k] = (real)(k % 2 ? cos(j * frequency) : sin(j * frequency));
	}
}
