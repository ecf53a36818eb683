#pragma once
// 16 bytes of nibbles, 32 elements: those of Q4_0, Q4_1, Q5_0 and Q5_1.
#include "quants.h"

namespace nft::cpu::NFT_ISA::gemm {

// kLanes of them, from element i on.
NFT_INLINE i32v load_nibbles(const uint8_t* bytes, int i) { return load_u8(bytes + (i & 15)) >> (i & 16 ? 4 : 0) & 15; }

// All of them less kOffset, in the order of the elements.
template <int kOffset>
NFT_INLINE void unpack_nibbles(const uint8_t* bytes, f32v (&q)[32 / kLanes]) {
#if defined(__AVX512F__)
  const f32v table = f32v{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15} - static_cast<float>(kOffset);
  const __m512i packed = _mm512_cvtepu8_epi32(load_bytes<__m128i>(bytes));
  q[0] = _mm512_permutexvar_ps(packed, table);  // looks at the low 4 bits only
  q[1] = _mm512_permutexvar_ps(_mm512_srli_epi32(packed, 4), table);
#else
  for (int i = 0; i < 16 / kLanes; ++i) {
    const i32v packed = load_u8(bytes + i * kLanes);
    q[i] = to_f32((packed & 15) - kOffset);
    q[i + 16 / kLanes] = to_f32((packed >> 4) - kOffset);
  }
#endif
}

template <class Format, int kStart, int kOffset>
struct NibbleQuants {
  static NFT_MEMBER f32v load(const uint8_t* block, int i) { return to_f32(load_nibbles(block + kStart, i) - kOffset); }
  static NFT_MEMBER void group(const uint8_t* block, int, f32v (&q)[32 / kLanes]) {
    unpack_nibbles<kOffset>(block + kStart, q);
  }
};

template <class Format>
struct FiveBitQuants : QuantsBase<Format> {
  static NFT_MEMBER f32v load(const uint8_t* block, int i) {
    const i32v high = lane_bits(formats::load_as<uint32_t>(block + Format::kHighBits), i);
    return to_f32(load_nibbles(block + Format::kNibbles, i) + (high << 4) - Format::kOffset);
  }
};

}  // namespace nft::cpu::NFT_ISA::gemm
