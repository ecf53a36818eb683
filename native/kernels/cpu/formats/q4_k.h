#pragma once
#include "quants.h"

namespace nft::cpu::NFT_ISA::gemm {

// kLanes nibbles from element i on: 32 bytes for every 64 elements, the first 32 of them in the low halves.
NFT_INLINE i32v load_nibbles_of_64(const uint8_t* nibbles, int i) {
  return load_u8(nibbles + (i >> 6) * 32 + (i & 31)) >> (i & 32 ? 4 : 0) & 15;
}

template <>
struct Quants<formats::Q4_K> : QuantsBase<formats::Q4_K> {
  static NFT_MEMBER f32v load(const uint8_t* block, int i) {
    return to_f32(load_nibbles_of_64(block + formats::Q4_K::kNibbles, i));
  }
};

}  // namespace nft::cpu::NFT_ISA::gemm
