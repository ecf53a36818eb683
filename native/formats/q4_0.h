#pragma once
// GGUF Q4_0: f16 scale, 16 bytes of nibbles. x = d * (q - 8).
#include "format.h"

namespace nft::formats {

struct Q4_0 : PlainRows<18> {
  static constexpr int kElements = 32, kGroup = 32;
  static constexpr bool kMinimum = false;
  static NFT_MEMBER Affine affine(const uint8_t* row, int64_t b, int) { return {load_f16(block(row, b)), 0}; }
  static NFT_MEMBER float quant(const uint8_t* block, int i) { return static_cast<float>(nibble(block + 2, i) - 8); }
};

}  // namespace nft::formats
