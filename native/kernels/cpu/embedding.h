#pragma once
// The gradient of an embedding lookup, shared by its own ops and by the fused update of a tied head.
#include "../../core/tensor.h"
#include "isa.h"

namespace nft::cpu::NFT_ISA {

// rows[ids[n] - first] += scale * dy[n] for every n, in order, with first <= ids[n] < first + count. rows [count, C] f32.
void add_embedding_rows(const Tensor& ids, const Tensor& dy, float scale, int64_t first, int64_t count, float* rows);

// Rows of a weight [V, C] whose f32 gradient is held at a time in a fused update, and its bytes.
int64_t gradient_strip_rows(const Tensor& weight);
size_t gradient_strip_bytes(const Tensor& weight);

}  // namespace nft::cpu::NFT_ISA
