#pragma once
// Orthonormal rows of f32 matrices.
#include <cstddef>
#include <cstdint>

#include "isa.h"

namespace nft::cpu::NFT_ISA {

// x [rows, cols], dense, rows <= cols: replaced by orthonormal rows whose first k span what its first k rows did. A row that
// depends on those before it is replaced by a random direction of the seed. Block Gram-Schmidt, each projection done twice
// (Giraud, Langou, Rozloznik & van den Eshof 2005: twice is enough).
void orthonormalize_rows(float* x, int64_t rows, int64_t cols, uint64_t seed, void* workspace, int threads);
size_t orthonormalize_rows_workspace(int64_t rows, int64_t cols, int threads);

// The scalar product in double, in the same order on every instruction set.
double dot(const float* x, const float* y, int64_t n);

}  // namespace nft::cpu::NFT_ISA
