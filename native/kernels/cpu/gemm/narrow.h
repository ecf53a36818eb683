#pragma once
// Products with one narrow side (the low-rank ones of LoRA): packing the wide operand would cost as much as multiplying it,
// so only the narrow one is packed and the wide one is read where it lies. The same sums in the same order as multiply's.
#include "gemm.h"
#include "microkernel.h"

namespace nft::cpu::NFT_ISA::gemm {

// False, having done nothing, for a problem of another kind: a second segment, a wide operand of another type than bf16
// where the panel holds bf16, no narrow side where one is needed, or one that does not fit the workspace of `bytes` bytes.
// Several parts read their wide operand once.
template <class Panel>
bool multiply_narrow(const JointProblem& problem, void* workspace, size_t bytes, int threads);

// Products of few rows with the same b, both stored by the inner dimension (the weight gradients of LoRA's A of layers that
// share their input): it is read once. False as above.
template <class Panel>
bool multiply_narrow_rows(const Problem* problems, int count, void* workspace, size_t bytes, int threads);

// Input and weight gradient of one layer that is narrow on its input side, as two problems with the same a: dx = dy weight
// and dweight = dy^T x. dy is read once, by blocks of rows that the threads share out; the same sums as multiply's, of each.
// False, having done nothing, where they are of another kind, or where the blocks are no equal shares.
template <class Panel>
bool multiply_narrow_pair(const JointProblem& input, const JointProblem& weight, void* workspace, int threads);
// 0 for problems of another kind.
template <class Panel>
size_t narrow_pair_bytes(const JointProblem& input, const JointProblem& weight, int threads);

}  // namespace nft::cpu::NFT_ISA::gemm
