// SPDX-License-Identifier: MIT
// By LAPACK's own names: OpenBLAS holds LAPACK, while its C interface is another library, which would bring a second
// BLAS into the program.
#include "harness/num/spectral.h"

#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <string.h>

#include "harness/base/err.h"

// The last argument is the length of each text, as Fortran passes it.
void dsyevd_(const char *job, const char *triangle, const int *n, double *a, const int *lda, double *w, double *work,
        const int *lwork, int *iwork, const int *liwork, int *info, size_t job_length, size_t triangle_length);
void zheevd_(const char *job, const char *triangle, const int *n, double *a, const int *lda, double *w, double *work,
        const int *lwork, double *rwork, const int *lrwork, int *iwork, const int *liwork, int *info, size_t job_length,
        size_t triangle_length);

// Within a team of threads the library takes no more by itself, and must not be told so by several of them at once.
static void one_thread(void)
{
	if (!omp_in_parallel())
		openblas_set_num_threads(1);
}

void product(double *c, enum product_form form, int m, int n, int k, const double *a, const double *b)
{
	one_thread();
	cblas_dgemm(CblasRowMajor, form == PRODUCT_TN ? CblasTrans : CblasNoTrans,
	        form == PRODUCT_NT ? CblasTrans : CblasNoTrans, m, n, k, 1, a, form == PRODUCT_TN ? m : k, b,
	        form == PRODUCT_NT ? k : n, 0, c, n);
}

static void check(const char *name, int info, int n)
{
	if (info)
		BUG("%s of a matrix of %d: info %d", name, n, info);
}

// LAPACK counts upwards; `width` numbers make a row.
static void turn_round(double *value, double *vector, int n, int width)
{
	for (int i = 0; i < n / 2; i++) {
		double *a = vector + (ptrdiff_t)i * width, *b = vector + (ptrdiff_t)(n - 1 - i) * width;
		const double v = value[i];
		value[i] = value[n - 1 - i];
		value[n - 1 - i] = v;
		for (int j = 0; j < width; j++) {
			const double x = a[j];
			a[j] = b[j];
			b[j] = x;
		}
	}
}

// The first of the entries whose size is within rounding of the largest.
static int largest(const double *size, int n)
{
	double most = 0;
	int at = 0;
	for (int i = 0; i < n; i++)
		most = fmax(most, size[i]);
	while (size[at] < most * (1 - 1e-9))
		at++;
	return at;
}

void eigen_symmetric(double *value, double *vector, const double *a, int n, struct arena *scratch)
{
	const struct arena_mark mark = arena_mark(scratch);
	const int n_work = 1 + 6 * n + 2 * n * n, n_int = 3 + 5 * n;
	double *work = arena_alloc(scratch, (size_t)n_work * sizeof(*work)), *size = work;
	int *iwork = arena_alloc(scratch, (size_t)n_int * sizeof(*iwork)), info;
	one_thread();
	memcpy(vector, a, (size_t)n * (size_t)n * sizeof(*a));
	dsyevd_("V", "U", &n, vector, &n, value, work, &n_work, iwork, &n_int, &info, 1, 1);
	check("dsyevd", info, n);
	turn_round(value, vector, n, n);
	for (int i = 0; i < n; i++) {
		double *v = vector + (ptrdiff_t)i * n;
		for (int j = 0; j < n; j++)
			size[j] = fabs(v[j]);
		const double sign = v[largest(size, n)] < 0 ? -1 : 1;
		for (int j = 0; j < n; j++)
			v[j] *= sign;
	}
	arena_rewind(scratch, mark);
}

void eigen_hermitian(double *value, double *vector, const double *a, int n, struct arena *scratch)
{
	const struct arena_mark mark = arena_mark(scratch);
	const int n_work = 2 * n + n * n, n_real = 1 + 5 * n + 2 * n * n, n_int = 3 + 5 * n;
	double *work = arena_alloc(scratch, 2 * (size_t)n_work * sizeof(*work)), *size = work;
	double *rwork = arena_alloc(scratch, (size_t)n_real * sizeof(*rwork));
	int *iwork = arena_alloc(scratch, (size_t)n_int * sizeof(*iwork)), info;
	one_thread();
	// By columns a row-major matrix is its transpose, which is the conjugate of a Hermitian one.
	for (ptrdiff_t i = 0; i < (ptrdiff_t)n * n; i++) {
		vector[2 * i] = a[2 * i];
		vector[2 * i + 1] = -a[2 * i + 1];
	}
	zheevd_("V", "U", &n, vector, &n, value, work, &n_work, rwork, &n_real, iwork, &n_int, &info, 1, 1);
	check("zheevd", info, n);
	turn_round(value, vector, n, 2 * n);
	for (int i = 0; i < n; i++) {
		double *v = vector + (ptrdiff_t)i * 2 * n;
		for (int j = 0; j < n; j++)
			size[j] = hypot(v[2 * j], v[2 * j + 1]);
		const int at = largest(size, n);
		const double c = v[2 * at] / size[at], s = v[2 * at + 1] / size[at];
		for (int j = 0; j < n; j++) { // times the conjugate of (c, s)
			const double x = v[2 * j], y = v[2 * j + 1];
			v[2 * j] = x * c + y * s;
			v[2 * j + 1] = y * c - x * s;
		}
	}
	arena_rewind(scratch, mark);
}
