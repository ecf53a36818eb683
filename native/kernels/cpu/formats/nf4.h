#pragma once
#include "quants.h"

namespace nft::cpu::NFT_ISA::gemm {

// kLanes values of the NF4 codebook by the codes of 32 bytes, from element i on.
NFT_INLINE f32v load_nf4(const uint8_t* codes, int i) {
#if defined(__AVX512F__)
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(codes + i / 2));
  const __m512i twice = _mm512_cvtepu8_epi32(_mm_unpacklo_epi8(bytes, bytes));
  const __m512i index = _mm512_srlv_epi32(twice, _mm512_setr_epi32(4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0));
  return _mm512_permutexvar_ps(index, _mm512_loadu_ps(formats::kNf4Codebook));  // looks at the low 4 bits only
#elif defined(__AVX2__)
  const __m128i bytes = _mm_cvtsi32_si128(formats::load_as<int32_t>(codes + i / 2));
  const __m256i twice = _mm256_cvtepu8_epi32(_mm_unpacklo_epi8(bytes, bytes));
  const __m256i index = _mm256_srlv_epi32(twice, _mm256_setr_epi32(4, 0, 4, 0, 4, 0, 4, 0));
  const __m256 low = _mm256_permutevar8x32_ps(_mm256_loadu_ps(formats::kNf4Codebook), index);  // the low 3 bits
  const __m256 high = _mm256_permutevar8x32_ps(_mm256_loadu_ps(formats::kNf4Codebook + 8), index);
  return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(index, 28)));
#else
  f32v x;
  for (int l = 0; l < kLanes; ++l) x[l] = formats::kNf4Codebook[formats::nf4_code(codes, i + l)];
  return x;
#endif
}

template <>
struct Quants<formats::Nf4> : QuantsBase<formats::Nf4> {
  static NFT_MEMBER f32v load(const uint8_t* block, int i) { return load_nf4(block + formats::Nf4::kCodes, i); }
};

}  // namespace nft::cpu::NFT_ISA::gemm
