// SPDX-License-Identifier: MIT
// Spectra of small symmetric matrices, in double whatever `real` is: what conversions of trained models are made of. A
// singular value decomposition of a wide matrix W (n, d) is taken of its Gram matrix W W^T (n, n): eigenvectors are the
// left singular vectors, eigenvalues the squares of the singular values.
//
// Matrices are row-major without gaps. Each call runs in the thread that makes it, and its bits do not depend on what
// other threads do.
#ifndef KVLAB_NUM_SPECTRAL_H
#define KVLAB_NUM_SPECTRAL_H
#include "harness/base/arena.h"
#ifdef __cplusplus
extern "C" {
#endif

enum product_form { PRODUCT_NN, PRODUCT_NT, PRODUCT_TN }; // which operand is transposed in memory
// c (m, n) = a b: NN a (m, k), b (k, n); NT b (n, k); TN a (k, m).
void product(double *c, enum product_form form, int m, int n, int k, const double *a, const double *b);

// a (n, n) symmetric. value (n): eigenvalues, the largest first; row i of vector (n, n): the unit eigenvector of value
// i, its entry of largest size positive, so that the same matrix has the same one everywhere. Scratch is given back.
void eigen_symmetric(double *value, double *vector, const double *a, int n, struct arena *scratch);
// a (n, n) Hermitian, real and imaginary part of each number in turn: row i of vector, laid out alike, is the
// eigenvector of value i, its entry of largest size real and positive.
void eigen_hermitian(double *value, double *vector, const double *a, int n, struct arena *scratch);

#ifdef __cplusplus
}
#endif
#endif
