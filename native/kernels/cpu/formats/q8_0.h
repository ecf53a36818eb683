#pragma once
#include "quants.h"

namespace nft::cpu::NFT_ISA::gemm {

template <>
struct Quants<formats::Q8_0> : QuantsBase<formats::Q8_0> {
  static NFT_MEMBER f32v load(const uint8_t* block, int i) { return to_f32(widen_bytes(load_bytes<i8v>(block + 2 + i))); }
};

}  // namespace nft::cpu::NFT_ISA::gemm
