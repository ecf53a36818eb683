#pragma once
// GGUF Q4_K: f16 scale d of the scales, f16 scale m of the minima, 12 bytes of 6-bit scales and minima of 8 groups, 128
// bytes of nibbles. x = d * scale * q - m * minimum. Nibbles: 32 bytes for every 64 elements, the first 32 of them in the
// low halves.
#include "format.h"

namespace nft::formats {

// Scale and minimum of group g from the 12 bytes of Q4_K and Q5_K: bytes 0 to 3 and 4 to 7 hold those of groups 0 to 3 in
// their low 6 bits; the others have their low 4 bits in the halves of bytes 8 to 11 and their high 2 bits atop the first 8.
NFT_INLINE Affine packed_scales(const uint8_t* block, const uint8_t* s, int g) {
  int scale = s[g & 3] & 63, minimum = s[4 + (g & 3)] & 63;
  if (g >= 4) {
    scale = (s[4 + g] & 15) | (s[g - 4] >> 6) << 4;
    minimum = s[4 + g] >> 4 | (s[g] >> 6) << 4;
  }
  const Affine d = load_two_f16(block);
  return {d.scale * static_cast<float>(scale), -(d.minimum * static_cast<float>(minimum))};
}

struct Q4_K : PlainRows<144> {
  static constexpr int kElements = 256, kGroup = 32, kNibbles = 16;
  static constexpr bool kMinimum = true;
  static NFT_MEMBER Affine affine(const uint8_t* row, int64_t b, int g) {
    const uint8_t* p = block(row, b);
    return packed_scales(p, p + 4, g);
  }
  static NFT_MEMBER float quant(const uint8_t* block, int i) {
    return static_cast<float>(block[kNibbles + (i >> 6) * 32 + (i & 31)] >> (i & 32 ? 4 : 0) & 15);
  }
};

}  // namespace nft::formats
