#pragma once
#include "nibbles.h"

namespace nft::cpu::NFT_ISA::gemm {

template <>
struct Quants<formats::Q4_0> : NibbleQuants<formats::Q4_0, 2, 8> {};

}  // namespace nft::cpu::NFT_ISA::gemm
