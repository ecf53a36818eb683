#pragma once
// GGUF Q3_K: 32 bytes of high bits (bit j of byte l belongs to element 32 j + l), 64 bytes of low bits laid out as in Q2_K,
// 12 bytes of scales, f16 d. x = d * (scale - 32) * (q - 4).
// Scales: the low 4 bits of the 16 are the nibbles of bytes 0 to 7, low halves first; bits 2 j and 2 j + 1 of byte 8 + l are
// the high bits of scale 4 j + l.
#include "format.h"

namespace nft::formats {

struct Q3_K : PlainRows<110> {
  static constexpr int kElements = 256, kGroup = 16, kQuants = 32;
  static constexpr bool kMinimum = false;
  static NFT_MEMBER Affine affine(const uint8_t* row, int64_t b, int g) {
    const uint8_t* p = block(row, b);
    const uint8_t* scales = p + 96;
    const int low = scales[g & 7] >> (g & 8 ? 4 : 0) & 15, high = scales[8 + (g & 3)] >> 2 * (g >> 2) & 3;
    return {load_f16(p + 108) * static_cast<float>((low | high << 4) - 32), 0};
  }
  static NFT_MEMBER float quant(const uint8_t* block, int i) {
    const int low = block[kQuants + (i >> 7) * 32 + (i & 31)] >> 2 * (i >> 5 & 3) & 3, high = block[i & 31] >> (i >> 5) & 1;
    return static_cast<float>((low | high << 2) - 4);
  }
};

}  // namespace nft::formats
