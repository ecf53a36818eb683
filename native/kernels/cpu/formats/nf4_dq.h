#pragma once
#include "nf4.h"

namespace nft::cpu::NFT_ISA::gemm {

template <>
struct Quants<formats::Nf4Dq> : QuantsBase<formats::Nf4Dq> {
  static NFT_MEMBER f32v load(const uint8_t* block, int i) { return load_nf4(block + formats::Nf4Dq::kCodes, i); }
};

}  // namespace nft::cpu::NFT_ISA::gemm
