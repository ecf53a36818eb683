#pragma once
// A thin layer over GCC/Clang vector extensions: one f32 vector type as wide as the instruction set of this translation
// unit, arithmetic by the ordinary operators (+ - * / < | ...), and named functions for what operators do not cover.
// Functions with a count handle the first `count` lanes, 0 <= count <= kLanes; memory beyond them is neither read nor
// written.
#include <cstdint>
#include <cstring>
#include <utility>

#include "../../core/convert.h"
#include "../../core/dtype.h"
#include "isa.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace nft::cpu::NFT_ISA::simd {

constexpr int kLanes = NFT_SIMD_BYTES / 4;

typedef float f32v __attribute__((vector_size(NFT_SIMD_BYTES)));
typedef int32_t i32v __attribute__((vector_size(NFT_SIMD_BYTES)));  // also the type of a comparison: lanes 0 or -1
typedef uint32_t u32v __attribute__((vector_size(NFT_SIMD_BYTES)));
typedef uint64_t u64v __attribute__((vector_size(NFT_SIMD_BYTES)));
typedef uint16_t u16v __attribute__((vector_size(NFT_SIMD_BYTES / 2)));  // kLanes storage halves

NFT_INLINE f32v set1(float x) { return x - f32v{}; }
NFT_INLINE u32v set1_u32(uint32_t x) { return x - u32v{}; }
NFT_INLINE f32v zero() { return f32v{}; }

NFT_INLINE u32v as_u32(f32v x) { return reinterpret_cast<u32v>(x); }
NFT_INLINE i32v as_i32(f32v x) { return reinterpret_cast<i32v>(x); }
NFT_INLINE f32v as_f32(u32v x) { return reinterpret_cast<f32v>(x); }
NFT_INLINE f32v as_f32(i32v x) { return reinterpret_cast<f32v>(x); }

// mask ? a : b, lane by lane; mask lanes are 0 or -1.
NFT_INLINE f32v select(i32v mask, f32v a, f32v b) { return mask ? a : b; }
NFT_INLINE u32v select(i32v mask, u32v a, u32v b) { return mask ? a : b; }

// a * b + c: one rounding where the processor has fused multiply-add, two on the baseline.
NFT_INLINE f32v fma(f32v a, f32v b, f32v c) {
#if defined(__AVX512F__)
  return _mm512_fmadd_ps(a, b, c);
#elif defined(__FMA__)
  return _mm256_fmadd_ps(a, b, c);
#else
  return a * b + c;
#endif
}

#if defined(__AVX512BF16__)
#define NFT_HAS_BF16_DOT 1
// c + a0 * b0 + a1 * b1 in each lane, where a lane of a and b holds two bf16 values, the first in its low half. Products and
// sums in f32; subnormal inputs and results count as 0.
NFT_INLINE f32v dot_bf16(u32v a, u32v b, f32v c) {
  return _mm512_dpbf16_ps(c, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
}
// The values of low, then those of high, as bf16: two to a lane of the result.
NFT_INLINE u32v pack_bf16(f32v low, f32v high) { return reinterpret_cast<u32v>(_mm512_cvtne2ps_pbh(high, low)); }
// Lane i: even[i] in the low half, odd[i] in the high half.
NFT_INLINE u32v interleave_bf16(f32v even, f32v odd) {
  typedef uint16_t HalfIndices __attribute__((vector_size(64)));
  const HalfIndices order = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                             8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return reinterpret_cast<u32v>(
      _mm512_permutexvar_epi16(reinterpret_cast<__m512i>(order), reinterpret_cast<__m512i>(pack_bf16(even, odd))));
}
#else
#define NFT_HAS_BF16_DOT 0
#endif

// NaN in b wins, NaN in a is lost, as with the x86 instructions.
NFT_INLINE f32v max(f32v a, f32v b) { return a > b ? a : b; }
NFT_INLINE f32v min(f32v a, f32v b) { return a < b ? a : b; }
NFT_INLINE f32v abs(f32v x) { return as_f32(as_u32(x) & 0x7FFFFFFFu); }

NFT_INLINE f32v sqrt(f32v x) {
#if defined(__AVX512F__)
  return _mm512_sqrt_ps(x);
#elif defined(__AVX2__)
  return _mm256_sqrt_ps(x);
#elif defined(__x86_64__)
  return _mm_sqrt_ps(x);
#else
  f32v r;
  for (int i = 0; i < kLanes; ++i) r[i] = __builtin_sqrtf(x[i]);
  return r;
#endif
}

// Nearest integer, ties to even; |x| < 2^31.
NFT_INLINE i32v round_to_i32(f32v x) {
#if defined(__AVX512F__)
  return reinterpret_cast<i32v>(_mm512_cvtps_epi32(x));
#elif defined(__AVX2__)
  return reinterpret_cast<i32v>(_mm256_cvtps_epi32(x));
#elif defined(__x86_64__)
  return reinterpret_cast<i32v>(_mm_cvtps_epi32(x));
#else
  i32v r;
  for (int i = 0; i < kLanes; ++i) r[i] = static_cast<int32_t>(__builtin_rintf(x[i]));
  return r;
#endif
}
NFT_INLINE f32v to_f32(i32v x) { return __builtin_convertvector(x, f32v); }
// The same as f32; |x| < 2^31.
NFT_INLINE f32v round(f32v x) {
#if defined(__AVX512F__)
  return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
  return to_f32(round_to_i32(x));
#endif
}

// Lane i of the result is lane kIndices[i] of a followed by b.
template <int... kIndices>
NFT_INLINE f32v shuffle(f32v a, f32v b) {
#if defined(__clang__)
  return __builtin_shufflevector(a, b, kIndices...);
#else
  return __builtin_shuffle(a, b, i32v{kIndices...});
#endif
}
// Lane i is lane i + kBy, from the start again behind the last.
template <int kBy, int... kLane>
NFT_INLINE f32v rotate_lanes(f32v x, std::integer_sequence<int, kLane...>) {
  return shuffle<((kLane + kBy) % kLanes)...>(x, x);
}
using LaneSequence = std::make_integer_sequence<int, kLanes>;

// Sums and maxima over lanes, always in the same order: halves are folded onto each other.
template <int kWidth = kLanes / 2>
NFT_INLINE float reduce_add(f32v x) {
  if constexpr (kWidth == 0)
    return x[0];
  else
    return reduce_add<kWidth / 2>(x + rotate_lanes<kWidth>(x, LaneSequence{}));
}
template <int kWidth = kLanes / 2>
NFT_INLINE float reduce_max(f32v x) {
  if constexpr (kWidth == 0)
    return x[0];
  else
    return reduce_max<kWidth / 2>(max(x, rotate_lanes<kWidth>(x, LaneSequence{})));
}

// One step of transpose: the off-diagonal squares of kBy x kBy lanes change places.
template <int kBy, int... kLane>
NFT_INLINE void exchange(f32v& a, f32v& b, std::integer_sequence<int, kLane...>) {
  const f32v low = shuffle<((kLane & kBy) ? kLanes + kLane - kBy : kLane)...>(a, b);
  b = shuffle<((kLane & kBy) ? kLanes + kLane : kLane + kBy)...>(a, b);
  a = low;
}
// Rows to columns of a square of kLanes vectors.
template <int kBy = kLanes / 2>
NFT_INLINE void transpose(f32v (&rows)[kLanes]) {
  for (int i = 0; i < kLanes; ++i)
    if ((i & kBy) == 0) exchange<kBy>(rows[i], rows[i + kBy], LaneSequence{});
  if constexpr (kBy > 1) transpose<kBy / 2>(rows);
}

// Lane i: the lanes of rows[i] combined, in the order of reduce_add and reduce_max. Destroys rows.
template <int kBy = kLanes / 2, class Combine>
NFT_INLINE f32v fold_rows(f32v (&rows)[kLanes], Combine&& combine) {
  for (int i = 0; i < kBy; ++i) {
    exchange<kBy>(rows[i], rows[i + kBy], LaneSequence{});
    rows[i] = combine(rows[i], rows[i + kBy]);
  }
  if constexpr (kBy > 1) return fold_rows<kBy / 2>(rows, combine);
  return rows[0];
}

NFT_INLINE u32v widen(u16v x) {
#if defined(__AVX512F__)
  return reinterpret_cast<u32v>(_mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(x)));
#elif defined(__AVX2__)
  return reinterpret_cast<u32v>(_mm256_cvtepu16_epi32(reinterpret_cast<__m128i>(x)));
#else
  return __builtin_convertvector(x, u32v);
#endif
}
NFT_INLINE u16v narrow(u32v x) {  // the low 16 bits of each lane
#if defined(__AVX512F__)
  return reinterpret_cast<u16v>(_mm512_cvtepi32_epi16(reinterpret_cast<__m512i>(x)));
#else
  return __builtin_convertvector(x, u16v);
#endif
}

// bf16: the upper half of an f32. Rounds to nearest even; NaN stays NaN.
NFT_INLINE f32v from_bf16(u16v x) { return as_f32(widen(x) << 16); }
NFT_INLINE u16v to_bf16_integer(f32v x) {
  const u32v u = as_u32(x);
  const u32v rounded = (u + 0x7FFFu + ((u >> 16) & 1u)) >> 16;
  return narrow(select(x != x, (u >> 16) | 0x40u, rounded));
}
NFT_INLINE u16v to_bf16(f32v x) {
#if NFT_HAS_BF16_DOT
  // The instruction takes subnormals for 0.
  constexpr int kSubnormal = 0x20;
  if (__builtin_expect(_mm512_fpclass_ps_mask(x, kSubnormal) == 0, 1)) return reinterpret_cast<u16v>(_mm512_cvtneps_pbh(x));
#endif
  return to_bf16_integer(x);
}
// As f32_to_bf16_stochastic; random16 lanes in [0, 65535].
NFT_INLINE u16v to_bf16_stochastic(f32v x, u32v random16) {
  const u32v u = as_u32(x), exponent = u & 0x7F800000u;
  const u32v special = (u >> 16) | select(x != x, set1_u32(0x40u), u32v{});
  return narrow(select(exponent == 0x7F800000u, special, (u + random16) >> 16));
}

NFT_INLINE f32v from_f16(u16v x) {
#if defined(__AVX512F__)
  return _mm512_cvtph_ps(reinterpret_cast<__m256i>(x));
#elif defined(__F16C__)
  return _mm256_cvtph_ps(reinterpret_cast<__m128i>(x));
#else
  f32v r;
  for (int i = 0; i < kLanes; ++i) r[i] = f16_to_f32(x[i]);
  return r;
#endif
}
NFT_INLINE u16v to_f16(f32v x) {
#if defined(__AVX512F__)
  return reinterpret_cast<u16v>(_mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#elif defined(__F16C__)
  return reinterpret_cast<u16v>(_mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
#else
  u16v r;
  for (int i = 0; i < kLanes; ++i) r[i] = f32_to_f16(x[i]);
  return r;
#endif
}

// Storage types: f32 vectors from and to memory of each float type. Element is the scalar type in memory.
struct F32 {
  using Element = float;
  static constexpr DType kDType = DType::f32;
  static NFT_MEMBER f32v load(const float* p) {
    f32v x;
    std::memcpy(&x, p, sizeof(x));
    return x;
  }
  static NFT_MEMBER void store(float* p, f32v x) { std::memcpy(p, &x, sizeof(x)); }
  static NFT_MEMBER f32v load(const float* p, int count) {
#if defined(__AVX512F__)
    return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1u), p);
#else
    f32v x = zero();
    std::memcpy(&x, p, static_cast<size_t>(count) * 4);
    return x;
#endif
  }
  static NFT_MEMBER void store(float* p, f32v x, int count) {
#if defined(__AVX512F__)
    _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << count) - 1u), x);
#else
    std::memcpy(p, &x, static_cast<size_t>(count) * 4);
#endif
  }
  static NFT_MEMBER float load1(const float* p) { return *p; }
  static NFT_MEMBER void store1(float* p, float x) { *p = x; }
};

NFT_INLINE u16v load_u16(const uint16_t* p) {
  u16v x;
  std::memcpy(&x, p, sizeof(x));
  return x;
}
NFT_INLINE u16v load_u16(const uint16_t* p, int count) {
#if defined(__AVX512BW__) && defined(__AVX512VL__)
  return reinterpret_cast<u16v>(_mm256_maskz_loadu_epi16(static_cast<__mmask16>((1u << count) - 1u), p));
#else
  u16v x = {};
  std::memcpy(&x, p, static_cast<size_t>(count) * 2);
  return x;
#endif
}
#if NFT_HAS_BF16_DOT
// `count` halves, two to a lane, zeros behind them; 0 <= count <= 2 kLanes.
NFT_INLINE u32v load_u16_pairs(const uint16_t* p, int count) {
  return reinterpret_cast<u32v>(_mm512_maskz_loadu_epi16(_cvtu32_mask32(static_cast<uint32_t>((1ull << count) - 1u)), p));
}
#endif
NFT_INLINE void store_u16(uint16_t* p, u16v x) { std::memcpy(p, &x, sizeof(x)); }
NFT_INLINE void store_u16(uint16_t* p, u16v x, int count) {
#if defined(__AVX512BW__) && defined(__AVX512VL__)
  _mm256_mask_storeu_epi16(p, static_cast<__mmask16>((1u << count) - 1u), reinterpret_cast<__m256i>(x));
#else
  std::memcpy(p, &x, static_cast<size_t>(count) * 2);
#endif
}

struct Bf16 {
  using Element = uint16_t;
  static constexpr DType kDType = DType::bf16;
  static NFT_MEMBER f32v load(const uint16_t* p) { return from_bf16(load_u16(p)); }
  static NFT_MEMBER f32v load(const uint16_t* p, int count) { return from_bf16(load_u16(p, count)); }
  static NFT_MEMBER void store(uint16_t* p, f32v x) { store_u16(p, to_bf16(x)); }
  static NFT_MEMBER void store(uint16_t* p, f32v x, int count) { store_u16(p, to_bf16(x), count); }
  static NFT_MEMBER float load1(const uint16_t* p) { return bf16_to_f32(*p); }
  static NFT_MEMBER void store1(uint16_t* p, float x) { *p = f32_to_bf16(x); }
};

struct F16 {
  using Element = uint16_t;
  static constexpr DType kDType = DType::f16;
  static NFT_MEMBER f32v load(const uint16_t* p) { return from_f16(load_u16(p)); }
  static NFT_MEMBER f32v load(const uint16_t* p, int count) { return from_f16(load_u16(p, count)); }
  static NFT_MEMBER void store(uint16_t* p, f32v x) { store_u16(p, to_f16(x)); }
  static NFT_MEMBER void store(uint16_t* p, f32v x, int count) { store_u16(p, to_f16(x), count); }
  static NFT_MEMBER float load1(const uint16_t* p) { return f16_to_f32(*p); }
  static NFT_MEMBER void store1(uint16_t* p, float x) { *p = f32_to_f16(x); }
};

// Calls f with an F32{}, Bf16{} or F16{}; false for any other type.
template <class F>
NFT_INLINE bool with_float_type(DType t, F&& f) {
  switch (t) {
    case DType::f32: f(F32{}); return true;
    case DType::bf16: f(Bf16{}); return true;
    case DType::f16: f(F16{}); return true;
    default: return false;
  }
}

}  // namespace nft::cpu::NFT_ISA::simd
