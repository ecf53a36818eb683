#pragma once
// GGUF Q8_0: f16 scale, 32 i8. x = d * q.
#include "format.h"

namespace nft::formats {

struct Q8_0 : PlainRows<34> {
  static constexpr int kElements = 32, kGroup = 32;
  static constexpr bool kMinimum = false;
  static NFT_MEMBER Affine affine(const uint8_t* row, int64_t b, int) { return {load_f16(block(row, b)), 0}; }
  static NFT_MEMBER float quant(const uint8_t* block, int i) { return static_cast<int8_t>(block[2 + i]); }
};

}  // namespace nft::formats
