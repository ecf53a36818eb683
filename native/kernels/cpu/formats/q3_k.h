#pragma once
#include "quants.h"

namespace nft::cpu::NFT_ISA::gemm {

template <>
struct Quants<formats::Q3_K> : QuantsBase<formats::Q3_K> {
  static NFT_MEMBER f32v load(const uint8_t* block, int i) {
    const i32v low = load_u8(block + formats::Q3_K::kQuants + (i >> 7) * 32 + (i & 31)) >> 2 * (i >> 5 & 3) & 3;
    const i32v high = load_u8(block + (i & 31)) >> (i >> 5) & 1;
    return to_f32((low | high << 2) - 4);
  }
};

}  // namespace nft::cpu::NFT_ISA::gemm
