#pragma once
// Quants of blocks as f32 vectors. For each format in native/formats a specialization of Quants in a file of its own here:
//   load(block, i)   kLanes quants from element i of the block on; i a multiple of kLanes
//   group(block, g, q)  all of group g; inherited where calling load is as good
#include "../../../formats/all.h"
#include "../simd.h"

namespace nft::cpu::NFT_ISA::gemm {

using namespace simd;

typedef uint8_t u8v __attribute__((vector_size(kLanes)));
typedef int8_t i8v __attribute__((vector_size(kLanes)));

template <class Bytes>
NFT_INLINE Bytes load_bytes(const uint8_t* p) {
  Bytes x;
  std::memcpy(&x, p, sizeof(x));
  return x;
}
NFT_INLINE i32v widen_bytes(u8v x) {
#if defined(__AVX512F__)
  return reinterpret_cast<i32v>(_mm512_cvtepu8_epi32(reinterpret_cast<__m128i>(x)));
#elif defined(__AVX2__)
  return reinterpret_cast<i32v>(_mm256_cvtepu8_epi32(_mm_set_epi64x(0, reinterpret_cast<long long>(x))));
#else
  return __builtin_convertvector(x, i32v);
#endif
}
NFT_INLINE i32v widen_bytes(i8v x) {
#if defined(__AVX512F__)
  return reinterpret_cast<i32v>(_mm512_cvtepi8_epi32(reinterpret_cast<__m128i>(x)));
#elif defined(__AVX2__)
  return reinterpret_cast<i32v>(_mm256_cvtepi8_epi32(_mm_set_epi64x(0, reinterpret_cast<long long>(x))));
#else
  return __builtin_convertvector(x, i32v);
#endif
}
// kLanes bytes from p on as unsigned numbers.
NFT_INLINE i32v load_u8(const uint8_t* p) { return widen_bytes(load_bytes<u8v>(p)); }

template <class Format>
struct Quants;

template <class Format>
struct QuantsBase {
  static constexpr int kVectors = Format::kGroup / kLanes;
  static NFT_MEMBER void group(const uint8_t* block, int g, f32v (&q)[kVectors]) {
    for (int v = 0; v < kVectors; ++v) q[v] = Quants<Format>::load(block, g * Format::kGroup + v * kLanes);
  }
};

// Lane l: bit first + l of bits.
NFT_INLINE i32v lane_bits(uint32_t bits, int first) {
  u32v lanes;
  for (int l = 0; l < kLanes; ++l) lanes[l] = static_cast<uint32_t>(l);
  return reinterpret_cast<i32v>((set1_u32(bits >> first) >> lanes) & 1u);
}

}  // namespace nft::cpu::NFT_ISA::gemm
