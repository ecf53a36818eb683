#pragma once
// Scalar conversions between storage types and f32. Round to nearest even unless the name says otherwise.
#include <cstdint>
#include <cstring>

#include "inline.h"

namespace nft {

using bf16_t = uint16_t;  // upper half of an f32
using f16_t = uint16_t;   // IEEE binary16

NFT_INLINE uint32_t f32_bits(float x) {
  uint32_t u;
  std::memcpy(&u, &x, 4);
  return u;
}
NFT_INLINE float f32_from_bits(uint32_t u) {
  float x;
  std::memcpy(&x, &u, 4);
  return x;
}

NFT_INLINE float bf16_to_f32(bf16_t h) { return f32_from_bits(static_cast<uint32_t>(h) << 16); }
NFT_INLINE bf16_t f32_to_bf16(float x) {
  uint32_t u = f32_bits(x);
  if ((u & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<bf16_t>((u >> 16) | 0x40u);  // NaN stays NaN
  return static_cast<bf16_t>((u + 0x7FFFu + ((u >> 16) & 1u)) >> 16);
}
// Rounds up with probability = the discarded fraction; E[result] = x. random16 in [0, 65535].
NFT_INLINE bf16_t f32_to_bf16_stochastic(float x, uint32_t random16) {
  uint32_t u = f32_bits(x);
  if ((u & 0x7F800000u) == 0x7F800000u) return f32_to_bf16(x);  // Inf and NaN are not rounded
  return static_cast<bf16_t>((u + random16) >> 16);
}

NFT_INLINE float f16_to_f32(f16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000u) << 16;
  const uint32_t exponent = (h >> 10) & 0x1Fu, mantissa = h & 0x3FFu;
  if (exponent == 0x1Fu) return f32_from_bits(sign | 0x7F800000u | (mantissa << 13));
  if (exponent != 0) return f32_from_bits(sign | ((exponent + 112u) << 23) | (mantissa << 13));
  const float subnormal = static_cast<float>(mantissa) * 0x1p-24f;
  return sign ? -subnormal : subnormal;
}
NFT_INLINE f16_t f32_to_f16(float x) {
  const uint32_t u = f32_bits(x), sign = (u >> 16) & 0x8000u, a = u & 0x7FFFFFFFu;
  if (a > 0x7F800000u) return static_cast<f16_t>(sign | 0x7E00u);
  if (a >= 0x477FF000u) return static_cast<f16_t>(sign | 0x7C00u);  // rounds to 65520 or more
  if (a < 0x38800000u) {                                            // subnormal: let the FPU round at 2^-24
    const float magnitude = f32_from_bits(a) + 0.5f;
    return static_cast<f16_t>(sign | (f32_bits(magnitude) - 0x3F000000u));
  }
  const uint32_t rounded = a + 0xFFFu + ((a >> 13) & 1u);
  return static_cast<f16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

// As f32_to_bf16_stochastic, for binary16.
NFT_INLINE f16_t f32_to_f16_stochastic(float x, uint32_t random16) {
  const uint32_t u = f32_bits(x), sign = (u >> 16) & 0x8000u, a = u & 0x7FFFFFFFu;
  if (a >= 0x7F800000u) return f32_to_f16(x);
  if (a < 0x38800000u) {  // subnormal: multiples of 2^-24
    const float scaled = f32_from_bits(a) * 0x1p24f;
    const uint32_t whole = static_cast<uint32_t>(scaled);
    const bool up = (scaled - static_cast<float>(whole)) * 65536.0f > static_cast<float>(random16);
    return static_cast<f16_t>(sign | (whole + (up ? 1u : 0u)));
  }
  const uint32_t rounded = a + (random16 >> 3);  // 13 bits are discarded
  if (rounded >= 0x47800000u) return static_cast<f16_t>(sign | 0x7C00u);
  return static_cast<f16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

}  // namespace nft
