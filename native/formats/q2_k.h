#pragma once
// GGUF Q2_K: 16 bytes, group g's scale in the low and its minimum in the high half of byte g; 64 bytes of 2-bit quants; f16
// scale d of the scales; f16 scale m of the minima. x = d * scale * q - m * minimum.
// Quants: 32 bytes for each half of the block; bits 2 j and 2 j + 1 of byte l hold element 32 j + l of the half.
#include "format.h"

namespace nft::formats {

struct Q2_K : PlainRows<84> {
  static constexpr int kElements = 256, kGroup = 16, kQuants = 16;
  static constexpr bool kMinimum = true;
  static NFT_MEMBER Affine affine(const uint8_t* row, int64_t b, int g) {
    const uint8_t* p = block(row, b);
    const Affine d = load_two_f16(p + 80);
    return {d.scale * static_cast<float>(p[g] & 15), -(d.minimum * static_cast<float>(p[g] >> 4))};
  }
  static NFT_MEMBER float quant(const uint8_t* block, int i) {
    return static_cast<float>(block[kQuants + (i >> 7) * 32 + (i & 31)] >> 2 * (i >> 5 & 3) & 3);
  }
};

}  // namespace nft::formats
