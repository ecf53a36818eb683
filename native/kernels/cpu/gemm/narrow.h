#pragma once
// Products with one narrow side (the low-rank ones of LoRA): packing the wide operand would cost as much as multiplying it,
// so only the narrow one is packed and the wide one is read where it lies. The same sums in the same order as multiply's.
#include "gemm.h"
#include "microkernel.h"

namespace nft::cpu::NFT_ISA::gemm {

// Widest narrow side.
constexpr int64_t kNarrow = 64;

// False, having done nothing, for a problem of another kind: a second segment, a wide operand of another type than bf16
// where the panel holds bf16, no narrow side where one is needed, or one that does not fit the workspace of `bytes` bytes.
// Several parts read their wide operand once.
template <class Panel>
bool multiply_narrow(const JointProblem& problem, void* workspace, size_t bytes, int threads);

}  // namespace nft::cpu::NFT_ISA::gemm
