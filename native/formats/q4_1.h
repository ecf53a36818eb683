#pragma once
// GGUF Q4_1: f16 scale, f16 minimum, 16 bytes of nibbles. x = d * q + m.
#include "format.h"

namespace nft::formats {

struct Q4_1 : PlainRows<20> {
  static constexpr int kElements = 32, kGroup = 32;
  static constexpr bool kMinimum = true;
  static NFT_MEMBER Affine affine(const uint8_t* row, int64_t b, int) { return load_two_f16(block(row, b)); }
  static NFT_MEMBER float quant(const uint8_t* block, int i) { return static_cast<float>(nibble(block + 4, i)); }
};

}  // namespace nft::formats
