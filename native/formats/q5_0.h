#pragma once
// GGUF Q5_0: f16 scale, u32 of fifth bits (bit i belongs to element i), 16 bytes of nibbles. x = d * (q - 16).
#include "format.h"

namespace nft::formats {

struct Q5_0 : PlainRows<22> {
  static constexpr int kElements = 32, kGroup = 32, kHighBits = 2, kNibbles = 6, kOffset = 16;
  static constexpr bool kMinimum = false;
  static NFT_MEMBER Affine affine(const uint8_t* row, int64_t b, int) { return {load_f16(block(row, b)), 0}; }
  static NFT_MEMBER float quant(const uint8_t* block, int i) {
    const uint32_t high = load_as<uint32_t>(block + kHighBits) >> i & 1;
    return static_cast<float>(nibble(block + kNibbles, i) + static_cast<int>(high << 4) - kOffset);
  }
};

}  // namespace nft::formats
