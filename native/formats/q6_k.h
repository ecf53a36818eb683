#pragma once
// GGUF Q6_K: 128 bytes of low 4 bits, 64 bytes of high 2 bits, 16 i8 scales of groups, f16 d. x = d * scale * (q - 32).
// For each half of the block: byte l of 64 holds the low bits of element l in its low and of element 64 + l in its high
// half; bits 2 j and 2 j + 1 of byte l of 32 are the high bits of element 32 j + l.
#include "format.h"

namespace nft::formats {

struct Q6_K : PlainRows<210> {
  static constexpr int kElements = 256, kGroup = 16, kHighBits = 128;
  static constexpr bool kMinimum = false;
  static NFT_MEMBER Affine affine(const uint8_t* row, int64_t b, int g) {
    const uint8_t* p = block(row, b);
    return {load_f16(p + 208) * static_cast<float>(static_cast<int8_t>(p[192 + g])), 0};
  }
  static NFT_MEMBER float quant(const uint8_t* block, int i) {
    const int low = block[(i >> 7) * 64 + (i & 63)] >> (i & 64 ? 4 : 0) & 15;
    const int high = block[kHighBits + (i >> 7) * 32 + (i & 31)] >> 2 * (i >> 5 & 3) & 3;
    return static_cast<float>((low | high << 4) - 32);
  }
};

}  // namespace nft::formats
