// SPDX-License-Identifier: MIT
// Ranks through NCCL. The environment says which this process is: KVLAB_RANKS=RANK/N:FILE. Rank 0 writes the
// communicator's id to FILE, which must not be there yet, and the others wait for it; that happens at the first slot,
// since a process may only look at the device. Rings add in one order for a number of ranks, so a run has the same bits
// again.
#include <fcntl.h>
#include <limits.h>
#include <nccl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "harness/num/cuda/cuda.cuh"

enum { MOST_NUMBERS = 8, WAIT_S = 60, MOST_RANKS = 16 };

static struct rank_slots slots;
static ncclComm_t comm;
static char id_path[PATH_MAX];
static double *sums; // (n_rank, MOST_NUMBERS) on the device

static void check(ncclResult_t result, const char *what)
{
	if (result != ncclSuccess)
		cuda_fault(what, ncclGetErrorString(result));
}

static void tell_id(const ncclUniqueId *id)
{
	char beside[PATH_MAX + 8];
	snprintf(beside, sizeof(beside), "%s.tmp", id_path);
	const int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	const int is_written = fd >= 0 && write(fd, id, sizeof(*id)) == (ssize_t)sizeof(*id);
	if (fd >= 0)
		close(fd);
	if (!is_written || link(beside, id_path)) // not over one that is there: another run's ranks may have read it
		cuda_fault(id_path, "KVLAB_RANKS: this file must not be there, and its folder be writable");
	unlink(beside);
}

static void wait_for_id(ncclUniqueId *id)
{
	const struct timespec pause = {0, 100000000};
	for (int i = 0; i < 10 * WAIT_S; i++) {
		const int fd = open(id_path, O_RDONLY | O_CLOEXEC);
		const int is_read = fd >= 0 && read(fd, id, sizeof(*id)) == (ssize_t)sizeof(*id);
		if (fd >= 0)
			close(fd);
		if (is_read)
			return;
		nanosleep(&pause, NULL);
	}
	cuda_fault(id_path, "KVLAB_RANKS: rank 0 did not write this file within a minute");
}

static void join(void)
{
	ncclUniqueId id;
	if (comm)
		return;
	if (slots.rank == 0) {
		check(ncclGetUniqueId(&id), "NCCL");
		tell_id(&id);
	} else {
		wait_for_id(&id);
	}
	check(ncclCommInitRank(&comm, slots.n_rank, id, slots.rank), "NCCL: joining the other ranks");
	cuda_check(
	        cudaMalloc(&sums, (size_t)slots.n_rank * MOST_NUMBERS * sizeof(*sums)), "memory for sums over ranks");
}

static void reduce(const struct exec *, real *x, long n)
{
	join();
	check(ncclReduceScatter(x, x + slots.rank * n, (size_t)n, ncclFloat, ncclSum, comm, cuda.stream), "reduce");
}

static void gather(const struct exec *, real *x, long n)
{
	join();
	check(ncclAllGather(x + slots.rank * n, x, (size_t)n, ncclFloat, comm, cuda.stream), "gather");
}

static void sum(const struct exec *exec, double *x, int n)
{
	double here[MOST_RANKS * MOST_NUMBERS];
	if (n > MOST_NUMBERS)
		BUG("a sum of %d numbers over ranks", n);
	join();
	cuda_upload(exec, sums + slots.rank * n, x, (size_t)n * sizeof(*x));
	check(ncclAllGather(sums + slots.rank * n, sums, (size_t)n, ncclDouble, comm, cuda.stream), "sum");
	cuda_download(exec, here, sums, (size_t)slots.n_rank * (size_t)n * sizeof(*x));
	for (int i = 0; i < n; i++) {
		x[i] = 0;
		for (int rank = 0; rank < slots.n_rank; rank++)
			x[i] += here[rank * n + i];
	}
}

int cuda_ranks_start(const struct rank_slots **ranks, struct err *err)
{
	const char *said = getenv("KVLAB_RANKS");
	int rank, n_rank, at = 0;
	*ranks = NULL;
	if (!said)
		return 0;
	if (sscanf(said, "%d/%d:%n", &rank, &n_rank, &at) != 2 || !at || !said[at] || rank < 0 || rank >= n_rank ||
	        n_rank > MOST_RANKS || strlen(said + at) >= sizeof(id_path))
		return err_set(err, "KVLAB_RANKS='%s' is not RANK/N:FILE with RANK below N, and N at most %d", said,
		        MOST_RANKS);
	snprintf(id_path, sizeof(id_path), "%s", said + at);
	setenv("NCCL_ALGO", "Ring", 0);
	slots.rank = rank;
	slots.n_rank = n_rank;
	slots.reduce = reduce;
	slots.gather = gather;
	slots.sum = sum;
	*ranks = &slots;
	return 0;
}

// One device a rank, in their order on a machine.
int cuda_ranks_device(int n_device)
{
	return slots.n_rank ? slots.rank % n_device : 0;
}
