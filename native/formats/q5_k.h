#pragma once
// GGUF Q5_K: as Q4_K, with 32 bytes of fifth bits before the nibbles: bit j of byte l belongs to element 32 j + l.
// x = d * scale * q - m * minimum.
#include "q4_k.h"

namespace nft::formats {

struct Q5_K : PlainRows<176> {
  static constexpr int kElements = 256, kGroup = 32, kHighBits = 16, kNibbles = 48;
  static constexpr bool kMinimum = true;
  static NFT_MEMBER Affine affine(const uint8_t* row, int64_t b, int g) {
    const uint8_t* p = block(row, b);
    return packed_scales(p, p + 4, g);
  }
  static NFT_MEMBER float quant(const uint8_t* block, int i) {
    const int high = block[kHighBits + (i & 31)] >> (i >> 5) & 1;
    return static_cast<float>((block[kNibbles + (i >> 6) * 32 + (i & 31)] >> (i & 32 ? 4 : 0) & 15) | high << 4);
  }
};

}  // namespace nft::formats
