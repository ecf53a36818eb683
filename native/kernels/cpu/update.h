#pragma once
// The optimizer update shared by optimizer_update and the fused weight gradients.
#include "../../ops/fields.h"
#include "isa.h"

namespace nft::cpu::NFT_ISA {

// Updates elements [first, first + count) of weight, and of its states, in row-major order; grad [count] is theirs. Element
// by element: the same bits however the range is cut, as long as cuts keep to update_row_multiple. Rounds stochastically
// with bits16(seed, element) where the rule asks.
void update_range(const UpdateRule& rule, const Tensor& weight, int64_t first, int64_t count, const float* grad);

// Strips of rows that are updated one after the other must begin at multiples of this: coded states have blocks, which are
// written whole. A power of two of at most 256; 1 where nothing is coded.
int64_t update_row_multiple(const UpdateRule& rule, const Tensor& weight);

// Throws ERR_DTYPE unless weight and states are of types that update_range takes.
void require_update(const char* op, const UpdateRule& rule, const Tensor& weight);

}  // namespace nft::cpu::NFT_ISA
