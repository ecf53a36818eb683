#pragma once
// The gradient of an embedding lookup, shared by its own ops and by the fused update of a tied head.
#include "../../core/tensor.h"
#include "isa.h"

namespace nft::cpu::NFT_ISA {

// rows[ids[n] - first] += scale * dy[n] for every n, in order, with first <= ids[n] < first + count. rows [count, C] f32.
void add_embedding_rows(const Tensor& ids, const Tensor& dy, float scale, int64_t first, int64_t count, float* rows);

}  // namespace nft::cpu::NFT_ISA
