#pragma once
// Values of quantized blocks of 32 elements, laid out as in GGUF (dtype.h names the fields). Scales are f16, products exact
// in f32. 4-bit blocks: byte j holds element j in its low and element j + 16 in its high half.
//   q8_0: x = d * q, q in [-128, 127];  q4_0: x = d * (q - 8), q in [0, 15];  q4_1: x = d * q + m, q in [0, 15]
#include <cstdint>
#include <cstring>

#include "convert.h"
#include "dtype.h"

namespace nft {

NFT_INLINE float load_f16(const uint8_t* p) {
  f16_t h;
  std::memcpy(&h, p, 2);
  return f16_to_f32(h);
}

NFT_INLINE float q8_0_element(const uint8_t* block, int i) {
  return load_f16(block) * static_cast<float>(static_cast<int8_t>(block[2 + i]));
}
NFT_INLINE int nibble(const uint8_t* quants, int i) { return i < 16 ? quants[i] & 0xF : quants[i - 16] >> 4; }
NFT_INLINE float q4_0_element(const uint8_t* block, int i) {
  return load_f16(block) * static_cast<float>(nibble(block + 2, i) - 8);
}
NFT_INLINE float q4_1_element(const uint8_t* block, int i) {
  return load_f16(block) * static_cast<float>(nibble(block + 4, i)) + load_f16(block + 2);
}

// Element i of a row of quantized blocks.
NFT_INLINE float dequantize_element(DType type, const void* row, int64_t i) {
  const uint8_t* block = static_cast<const uint8_t*>(row) + i / 32 * info(type).block_bytes;
  const int k = static_cast<int>(i % 32);
  switch (type) {
    case DType::q8_0: return q8_0_element(block, k);
    case DType::q4_0: return q4_0_element(block, k);
    case DType::q4_1: return q4_1_element(block, k);
    default: return 0;
  }
}

}  // namespace nft
