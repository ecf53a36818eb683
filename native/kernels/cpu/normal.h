#pragma once
#include <cstdint>

#include "double_math.h"

namespace nft::cpu::NFT_ISA {

// Box-Muller, one normal number per draw: the upper 24 bits give the radius, the 24 below them the angle in turns.
NFT_INLINE double normal(uint64_t bits) {
  const double u1 = static_cast<double>((bits >> 40) + 1) * 0x1p-24;  // (0, 1]
  const double quarters = static_cast<double>((bits >> 16) & 0xFFFFFFu) * 0x1p-22, n = __builtin_rint(quarters);
  double s, c;
  sin_cos_reduced((quarters - n) * 1.5707963267948966, static_cast<int64_t>(n), s, c);
  return __builtin_sqrt(-2 * log_positive(u1)) * c;
}

}  // namespace nft::cpu::NFT_ISA
