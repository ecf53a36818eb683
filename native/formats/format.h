#pragma once
// What quantized storage formats share. A format is a struct in a file of its own here, the same struct's vector loads in
// kernels/cpu/formats/, and a line in formats.def. A row is a header (most have none) and blocks; a block is groups:
//   kElements, kBytes   of a block
//   kGroup              elements that share a scale [and a minimum]
//   kMinimum            whether an element is scale * quant + minimum, or scale * quant alone, rounded to f32
//   header_bytes(cols)  bytes before the first block of a row of that many elements
//   block(row, b)       where block b of a row begins
//   affine(row, b, g)   scale and minimum of group g of block b
//   quant(block, i)     element i of a block before it is scaled
#include <cstdint>
#include <cstring>

#include "../core/convert.h"
#include "../core/inline.h"
#if defined(__F16C__)
#include <immintrin.h>
#endif

namespace nft::formats {

struct Affine {
  float scale, minimum;
};

template <class T>
NFT_INLINE T load_as(const uint8_t* p) {
  T x;
  std::memcpy(&x, p, sizeof(x));
  return x;
}
NFT_INLINE float load_f16(const uint8_t* p) {
#if defined(__F16C__)
  return _cvtsh_ss(load_as<uint16_t>(p));
#else
  return f16_to_f32(load_as<uint16_t>(p));
#endif
}
NFT_INLINE void store_f32(uint8_t* p, float x) { std::memcpy(p, &x, sizeof(x)); }
NFT_INLINE void store_u16(uint8_t* p, uint16_t x) { std::memcpy(p, &x, sizeof(x)); }
// Two neighbours: a scale and what comes after it.
NFT_INLINE Affine load_two_f16(const uint8_t* p) {
#if defined(__F16C__)
  const __m128 both = _mm_cvtph_ps(_mm_cvtsi32_si128(load_as<int32_t>(p)));
  Affine a;
  std::memcpy(&a, &both, sizeof(a));
  return a;
#else
  return {load_f16(p), load_f16(p + 2)};
#endif
}

// A format whose rows are blocks and nothing else.
template <int kBlockBytes>
struct PlainRows {
  static constexpr int kBytes = kBlockBytes;
  static NFT_MEMBER int64_t header_bytes(int64_t) { return 0; }
  static NFT_MEMBER const uint8_t* block(const uint8_t* row, int64_t b) { return row + b * kBlockBytes; }
};

// 4-bit quants of 32 elements in 16 bytes: byte j holds element j in its low and element j + 16 in its high half.
NFT_INLINE int nibble(const uint8_t* quants, int i) { return i < 16 ? quants[i] & 15 : quants[i - 16] >> 4; }

}  // namespace nft::formats
