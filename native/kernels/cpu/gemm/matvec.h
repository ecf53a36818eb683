#pragma once
// The product with few rows of A (generation): the weight is read once, converted in registers, and bounds the time.
#include "gemm.h"

namespace nft::cpu::NFT_ISA::gemm {

constexpr int64_t kMatvecRows = 8;

// Bytes of workspace, whatever the number of rows.
size_t matvec_workspace_bytes(const Problem& problem);
// Up to kMaxParts problems side by side, each of 1 to kMatvecRows rows with every operand stored as [outer, inner].
// workspace: the sum of their queries. The sums are ordered otherwise than in multiply, so the two agree to rounding only.
void matvec(const Problem* problems, int count, void* workspace, int threads);

}  // namespace nft::cpu::NFT_ISA::gemm
