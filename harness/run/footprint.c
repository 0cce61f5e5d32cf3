// SPDX-License-Identifier: MIT
#include "harness/run/footprint.h"

#include "harness/model/model.h"
#include "harness/spec/setup.h"

struct footprint footprint_count(const struct setup *setup, enum dtype weight_dtype, int context)
{
	struct arena memory;
	struct model model;
	arena_init(&memory, 1 << 20);
	model_init(&model, setup->model, setup->variant, setup->variant_config, &memory);
	struct footprint f = {
	        .n_param = (double)model.n_number,
	        .cache = cache_count(setup->cache, setup->variant, &model.dims, setup->variant_config),
	        .cache_bytes = context * cache_bytes_per_token(setup->cache, setup->variant, &model.dims,
	                                         setup->variant_config, context),
	};
	for (int i = 0; i < model.n_param; i++) {
		const struct tensor *w = &model.param[i].tensor;
		const enum dtype kept = model_is_quantized(&model, &model.param[i]) ? weight_dtype : DTYPE_F32;
		const double row_bytes = (double)dtype_row_bytes(kept, w->C), bytes = row_bytes * w->T;
		f.weight_bytes += bytes;
		if (w == model.position || (w == model.token && w != model.head))
			f.lookup_bytes += row_bytes;
		else
			f.weight_read_bytes += bytes;
	}
	arena_release(&memory);
	return f;
}
