#pragma once
#include "q4_k.h"

namespace nft::cpu::NFT_ISA::gemm {

template <>
struct Quants<formats::Q5_K> : QuantsBase<formats::Q5_K> {
  static NFT_MEMBER f32v load(const uint8_t* block, int i) {
    const i32v high = load_u8(block + formats::Q5_K::kHighBits + (i & 31)) >> (i >> 5) & 1;
    return to_f32(load_nibbles_of_64(block + formats::Q5_K::kNibbles, i) | high << 4);
  }
};

}  // namespace nft::cpu::NFT_ISA::gemm
