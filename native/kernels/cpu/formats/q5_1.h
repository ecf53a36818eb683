#pragma once
#include "nibbles.h"

namespace nft::cpu::NFT_ISA::gemm {

template <>
struct Quants<formats::Q5_1> : FiveBitQuants<formats::Q5_1> {};

}  // namespace nft::cpu::NFT_ISA::gemm
