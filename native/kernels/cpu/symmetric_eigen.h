#pragma once
// Eigenvectors of a symmetric matrix in double, on the calling thread.
#include <cstdint>

#include "isa.h"

namespace nft::cpu::NFT_ISA {

// a [n, n], symmetric, dense: replaced by its eigenvectors, row i that of values[i], in descending order of the values.
// scratch [2 n]. Householder reduction to tridiagonal form and implicit QR steps with Wilkinson's shift (Golub & Van Loan,
// Matrix Computations, 4th edition, 8.3). Ends for any contents; with NaN or Inf its result means nothing.
void symmetric_eigen(double* a, int64_t n, double* values, double* scratch);

}  // namespace nft::cpu::NFT_ISA
