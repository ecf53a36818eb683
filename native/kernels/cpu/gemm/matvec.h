#pragma once
// The product with few rows of A (generation): the weight is read once, converted in registers, and bounds the time.
#include "gemm.h"

namespace nft::cpu::NFT_ISA::gemm {

constexpr int64_t kMatvecRows = 8;

size_t matvec_workspace_bytes(int64_t inner);
// Problem with at most kMatvecRows rows and every operand stored as [outer, inner]. The sums are ordered otherwise than in
// multiply, so the two agree to rounding only.
void matvec(const Problem& problem, void* workspace, int threads);

}  // namespace nft::cpu::NFT_ISA::gemm
