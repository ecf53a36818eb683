#pragma once
// A tile of a trained weight, elements [first, first + n) in row-major order, n <= kTile, as f32.
#include "../../core/rng.h"
#include "rows.h"

namespace nft::cpu::NFT_ISA {

NFT_INLINE void load_weight(const Tensor& weight, int64_t first, int64_t n, float* x) {
  load_f32(weight.dtype, static_cast<const char*>(weight.data) + first * element_bytes(weight), x, n);
}

// Rounded up with the probability of what is cut off. Four elements share one 64-bit draw, lowest bits first.
static inline void store_stochastic(const Tensor& weight, uint64_t seed, int64_t first, int64_t n, const float* x) {
  uint64_t draws[kTile / 4 + 1];
  const int64_t draw0 = first >> 2, draw_count = ((first + n - 1) >> 2) - draw0 + 1;
  for (int64_t i = 0; i < draw_count; ++i) draws[i] = rng::bits(seed, static_cast<uint64_t>(draw0 + i));
  uint16_t random[kTile + 8];
  std::memcpy(random, draws, static_cast<size_t>(draw_count) * sizeof(draws[0]));  // little-endian, as the file formats are
  const uint16_t* r = random + (first & 3);
  uint16_t* y = weight.as<uint16_t>() + first;
  if (weight.dtype == DType::bf16) {
    for_vectors(
        n, [&](int64_t i, int count) __attribute__((always_inline)) {
          const simd::u16v rounded =
              simd::to_bf16_stochastic(load_n(x + i, count), simd::widen(simd::load_u16(r + i, count)));
          simd::store_u16(y + i, rounded, count);
        });
  } else {
    for (int64_t i = 0; i < n; ++i) y[i] = f32_to_f16_stochastic(x[i], r[i]);
  }
}

// Stochastically if asked for and the weight has 16 bits, else to nearest.
NFT_INLINE void store_weight(const Tensor& weight, int64_t stochastic, int64_t seed, int64_t first, int64_t n,
                             const float* x) {
  if (stochastic && weight.dtype != DType::f32)
    store_stochastic(weight, static_cast<uint64_t>(seed), first, n, x);
  else
    store_f32(weight.dtype, x, static_cast<char*>(weight.data) + first * element_bytes(weight), n);
}

}  // namespace nft::cpu::NFT_ISA
