#pragma once
// GGUF Q5_1: f16 scale, f16 minimum, u32 of fifth bits (bit i belongs to element i), 16 bytes of nibbles. x = d * q + m.
#include "format.h"

namespace nft::formats {

struct Q5_1 : PlainRows<24> {
  static constexpr int kElements = 32, kGroup = 32, kHighBits = 4, kNibbles = 8, kOffset = 0;
  static constexpr bool kMinimum = true;
  static NFT_MEMBER Affine affine(const uint8_t* row, int64_t b, int) { return load_two_f16(block(row, b)); }
  static NFT_MEMBER float quant(const uint8_t* block, int i) {
    const uint32_t high = load_as<uint32_t>(block + kHighBits) >> i & 1;
    return static_cast<float>(nibble(block + kNibbles, i) + static_cast<int>(high << 4));
  }
};

}  // namespace nft::formats
