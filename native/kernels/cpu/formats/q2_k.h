#pragma once
#include "quants.h"

namespace nft::cpu::NFT_ISA::gemm {

template <>
struct Quants<formats::Q2_K> : QuantsBase<formats::Q2_K> {
  static NFT_MEMBER f32v load(const uint8_t* block, int i) {
    return to_f32(load_u8(block + formats::Q2_K::kQuants + (i >> 7) * 32 + (i & 31)) >> 2 * (i >> 5 & 3) & 3);
  }
};

}  // namespace nft::cpu::NFT_ISA::gemm
