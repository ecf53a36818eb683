#pragma once
// int8, blockwise: f32 scale (largest magnitude of the block / 127), 64 i8. x = d * q.
#include "format.h"

namespace nft::formats {

struct Int8 : PlainRows<68> {
  static constexpr int kElements = 64, kGroup = 64, kQuants = 4;
  static constexpr bool kMinimum = false;
  static NFT_MEMBER Affine affine(const uint8_t* row, int64_t b, int) { return {load_as<float>(block(row, b)), 0}; }
  static NFT_MEMBER float quant(const uint8_t* block, int i) { return static_cast<int8_t>(block[kQuants + i]); }
};

}  // namespace nft::formats
