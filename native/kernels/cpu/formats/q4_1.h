#pragma once
#include "nibbles.h"

namespace nft::cpu::NFT_ISA::gemm {

template <>
struct Quants<formats::Q4_1> : NibbleQuants<formats::Q4_1, 4, 0> {};

}  // namespace nft::cpu::NFT_ISA::gemm
