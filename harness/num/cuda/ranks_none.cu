// SPDX-License-Identifier: MIT
// In place of ranks_nccl.cu where NCCL is not found.
#include <stdlib.h>

#include "harness/num/cuda/cuda.cuh"

int cuda_ranks_start(const struct rank_slots **ranks, struct err *err)
{
	*ranks = NULL;
	if (getenv("KVLAB_RANKS"))
		return err_set(err, "KVLAB_RANKS is set, but this plugin was built without NCCL (nccl.h beside nvcc)");
	return 0;
}

int cuda_ranks_device(int)
{
	return 0;
}
