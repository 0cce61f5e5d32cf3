// SPDX-License-Identifier: MIT
// cublasLt is column-major: our row-major c (m, n) is its (n, m), made of b first and a second.
// An algorithm is asked for once a shape and kept. Sums of split products go through the workspace in a fixed order
// (never in place, which may add atomically), so a shape has the same bits every time.
#include <cublasLt.h>
#include <stdio.h>
#include <string.h>

#include "harness/num/cuda/cuda.cuh"
#include "harness/num/cuda/matmul.cuh"

// Arenas align to 64 bytes and no further, by chance. What a plan is told of an address is at most that: it is then a
// matter of shapes and of where in a row an operand begins, and the same product has the same algorithm in every run.
enum { WORKSPACE_BYTES = 32 << 20, PLANS = 512, MOST_ALIGNMENT = 64 };

// What a plan depends on. Zeroed before it is filled: keys are compared as bytes.
struct key {
	int is_bf16, a_is_transposed, b_is_transposed, accumulate, has_bias, m, n, k, n_batch;
	int a_alignment, b_alignment, c_alignment;
	long lda, ldb, ldc, a_batch, b_batch, c_batch;
};

struct plan {
	int is_made;
	struct key key;
	cublasLtMatmulDesc_t product;
	cublasLtMatrixLayout_t first, second, result;
	cublasLtMatmulAlgo_t algorithm;
};

static cublasLtHandle_t handle;
static void *workspace;
static struct plan plans[PLANS];

static void check(cublasStatus_t status, const char *what)
{
	if (status != CUBLAS_STATUS_SUCCESS)
		cuda_fault(what, cublasLtGetStatusString(status));
}

int cuda_matmul_start(struct err *err)
{
	const cublasStatus_t status = cublasLtCreate(&handle);
	if (status != CUBLAS_STATUS_SUCCESS)
		return err_fault(err, "cublasLt does not start: %s", cublasLtGetStatusString(status));
	const cudaError_t error = cudaMalloc(&workspace, WORKSPACE_BYTES);
	if (error != cudaSuccess)
		return err_fault(err, "memory of the CUDA device: %s", cudaGetErrorString(error));
	return 0;
}

const char *cuda_matmul_library(void)
{
	static char name[64];
	const size_t version = cublasLtGetVersion();
	snprintf(name, sizeof(name), "cublasLt %zu.%zu.%zu", version / 10000, version / 100 % 100, version % 100);
	return name;
}

static int alignment_of(const void *at)
{
	const uintptr_t bits = (uintptr_t)at | MOST_ALIGNMENT;
	return (int)(bits & -bits);
}

static cublasLtMatrixLayout_t layout(cudaDataType_t type, int rows, int columns, long ld, int n_batch, long batch)
{
	cublasLtMatrixLayout_t l;
	const int64_t stride = batch;
	check(cublasLtMatrixLayoutCreate(&l, type, (uint64_t)rows, (uint64_t)columns, ld), "a matrix");
	check(cublasLtMatrixLayoutSetAttribute(l, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &n_batch, sizeof(n_batch)),
	        "a matrix");
	check(cublasLtMatrixLayoutSetAttribute(l, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride, sizeof(stride)),
	        "a matrix");
	return l;
}

template <typename T> static void set(cublasLtMatmulDesc_t product, cublasLtMatmulDescAttributes_t what, T value)
{
	check(cublasLtMatmulDescSetAttribute(product, what, &value, sizeof(value)), "a product");
}

static void choose_algorithm(struct plan *plan)
{
	cublasLtMatmulPreference_t wish;
	cublasLtMatmulHeuristicResult_t found;
	const size_t bytes = WORKSPACE_BYTES;
	const uint32_t reduction = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE; // none, or through the workspace in f32
	const uint32_t a = (uint32_t)plan->key.b_alignment, b = (uint32_t)plan->key.a_alignment,
	               c = (uint32_t)plan->key.c_alignment;
	int n = 0;
	const struct {
		cublasLtMatmulPreferenceAttributes_t what;
		const void *value;
		size_t bytes;
	} wishes[] = {
	        {CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof(bytes)},
	        {CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reduction, sizeof(reduction)},
	        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &a, sizeof(a)},
	        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &b, sizeof(b)},
	        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &c, sizeof(c)},
	        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &c, sizeof(c)},
	};
	check(cublasLtMatmulPreferenceCreate(&wish), "a product");
	for (size_t i = 0; i < sizeof(wishes) / sizeof(wishes[0]); i++)
		check(cublasLtMatmulPreferenceSetAttribute(wish, wishes[i].what, wishes[i].value, wishes[i].bytes),
		        "a product");
	const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
	        handle, plan->product, plan->first, plan->second, plan->result, plan->result, wish, 1, &found, &n);
	if (status != CUBLAS_STATUS_SUCCESS || n < 1) {
		char what[160];
		snprintf(what, sizeof(what), "the choice of a %s product (%d, %d, %d)",
		        plan->key.is_bf16 ? "bf16" : "f32", plan->key.m, plan->key.n, plan->key.k);
		cuda_fault(what, n < 1 ? "cublasLt has no kernel for it" : cublasLtGetStatusString(status));
	}
	plan->algorithm = found.algo;
	cublasLtMatmulPreferenceDestroy(wish);
}

static void make_plan(struct plan *plan, const struct matmul *p, const struct key *key)
{
	const cudaDataType_t type = p->is_bf16 ? CUDA_R_16BF : CUDA_R_32F;
	if (plan->is_made) { // another shape's place
		cublasLtMatmulDescDestroy(plan->product);
		cublasLtMatrixLayoutDestroy(plan->first);
		cublasLtMatrixLayoutDestroy(plan->second);
		cublasLtMatrixLayoutDestroy(plan->result);
	}
	plan->is_made = 1;
	plan->key = *key;
	check(cublasLtMatmulDescCreate(&plan->product, CUBLAS_COMPUTE_32F, CUDA_R_32F), "a product");
	set(plan->product, CUBLASLT_MATMUL_DESC_TRANSA, p->b_is_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
	set(plan->product, CUBLASLT_MATMUL_DESC_TRANSB, p->a_is_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
	if (p->bias) {
		set(plan->product, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
		set(plan->product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, p->bias);
	}
	plan->first = p->b_is_transposed ? layout(type, p->k, p->n, p->ldb, p->n_batch, p->b_batch)
	                                 : layout(type, p->n, p->k, p->ldb, p->n_batch, p->b_batch);
	plan->second = p->a_is_transposed ? layout(type, p->m, p->k, p->lda, p->n_batch, p->a_batch)
	                                  : layout(type, p->k, p->m, p->lda, p->n_batch, p->a_batch);
	plan->result = layout(CUDA_R_32F, p->n, p->m, p->ldc, p->n_batch, p->c_batch);
	choose_algorithm(plan);
}

static struct plan *plan_of(const struct matmul *p)
{
	struct key key;
	memset(&key, 0, sizeof(key));
	key.is_bf16 = p->is_bf16, key.a_is_transposed = p->a_is_transposed, key.b_is_transposed = p->b_is_transposed;
	key.accumulate = p->accumulate, key.has_bias = p->bias != NULL;
	key.m = p->m, key.n = p->n, key.k = p->k, key.n_batch = p->n_batch;
	key.a_alignment = alignment_of(p->a), key.b_alignment = alignment_of(p->b),
	key.c_alignment = alignment_of(p->c);
	key.lda = p->lda, key.ldb = p->ldb, key.ldc = p->ldc;
	key.a_batch = p->a_batch, key.b_batch = p->b_batch, key.c_batch = p->c_batch;
	uint64_t hash = 14695981039346656037ULL;
	for (size_t i = 0; i < sizeof(key); i++)
		hash = (hash ^ ((const unsigned char *)&key)[i]) * 1099511628211ULL;
	struct plan *first = &plans[hash % PLANS];
	for (int i = 0; i < 8; i++) {
		struct plan *plan = &plans[(hash + (uint64_t)i) % PLANS];
		if (plan->is_made && !memcmp(&plan->key, &key, sizeof(key)))
			return plan;
		if (!plan->is_made) {
			first = plan;
			break;
		}
	}
	make_plan(first, p, &key);
	return first;
}

void cuda_matmul(const struct matmul *p)
{
	const float one = 1, add = p->accumulate ? 1.0F : 0.0F;
	struct plan *plan = plan_of(p);
	if (p->bias)
		set(plan->product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, p->bias);
	check(cublasLtMatmul(handle, plan->product, &one, p->b, plan->first, p->a, plan->second, &add, p->c,
	              plan->result, p->c, plan->result, &plan->algorithm, workspace, WORKSPACE_BYTES, cuda.stream),
	        "a product");
}
