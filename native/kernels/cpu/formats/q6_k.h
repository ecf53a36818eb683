#pragma once
#include "quants.h"

namespace nft::cpu::NFT_ISA::gemm {

template <>
struct Quants<formats::Q6_K> : QuantsBase<formats::Q6_K> {
  static NFT_MEMBER f32v load(const uint8_t* block, int i) {
    const i32v low = load_u8(block + (i >> 7) * 64 + (i & 63)) >> (i & 64 ? 4 : 0) & 15;
    const i32v high = load_u8(block + formats::Q6_K::kHighBits + (i >> 7) * 32 + (i & 31)) >> 2 * (i >> 5 & 3) & 3;
    return to_f32((low | high << 4) - 32);
  }
};

}  // namespace nft::cpu::NFT_ISA::gemm
