#pragma once
// Packing: a panel of up to kLanes rows or columns of an operand, as f32, with the inner dimension outermost, so that the
// microkernel reads both operands front to back. The storage format is converted here and nowhere else.
#include "gemm.h"
#include "storage.h"

namespace nft::cpu::NFT_ISA::gemm {

// r[i][j] <-> r[j][i] for kLanes x kLanes elements.
NFT_INLINE void transpose(f32v* r) {
  f32v t[kLanes];
#if defined(__AVX512F__)
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
  }
  // Now pairs of 64 bits: r[4g + j] holds column j (of every group of 4) of rows 4g .. 4g + 3.
#pragma GCC unroll 4
  for (int g = 0; g < 16; g += 4) {
    const __m512d a = _mm512_castps_pd(t[g]), b = _mm512_castps_pd(t[g + 1]);
    const __m512d c = _mm512_castps_pd(t[g + 2]), d = _mm512_castps_pd(t[g + 3]);
    r[g] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
    r[g + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
    r[g + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
    r[g + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
  }
  // A 4 x 4 transpose of 128-bit lanes for each j.
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const f32v even0 = _mm512_shuffle_f32x4(r[j], r[j + 4], 0x88), odd0 = _mm512_shuffle_f32x4(r[j], r[j + 4], 0xDD);
    const f32v even1 = _mm512_shuffle_f32x4(r[j + 8], r[j + 12], 0x88);
    const f32v odd1 = _mm512_shuffle_f32x4(r[j + 8], r[j + 12], 0xDD);
    t[j] = _mm512_shuffle_f32x4(even0, even1, 0x88);
    t[j + 8] = _mm512_shuffle_f32x4(even0, even1, 0xDD);
    t[j + 4] = _mm512_shuffle_f32x4(odd0, odd1, 0x88);
    t[j + 12] = _mm512_shuffle_f32x4(odd0, odd1, 0xDD);
  }
#elif defined(__AVX2__)
  f32v u[8];
  for (int i = 0; i < 8; i += 2) {
    u[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    u[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
  for (int g = 0; g < 8; g += 4) {
    r[g] = _mm256_shuffle_ps(u[g], u[g + 2], 0x44);
    r[g + 1] = _mm256_shuffle_ps(u[g], u[g + 2], 0xEE);
    r[g + 2] = _mm256_shuffle_ps(u[g + 1], u[g + 3], 0x44);
    r[g + 3] = _mm256_shuffle_ps(u[g + 1], u[g + 3], 0xEE);
  }
  for (int j = 0; j < 4; ++j) {
    t[j] = _mm256_permute2f128_ps(r[j], r[j + 4], 0x20);
    t[j + 4] = _mm256_permute2f128_ps(r[j], r[j + 4], 0x31);
  }
#else
  for (int i = 0; i < 4; i += 2) {
    const f32v low = __builtin_shufflevector(r[i], r[i + 1], 0, 4, 1, 5);
    r[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 2, 6, 3, 7);
    r[i] = low;
  }
  for (int j = 0; j < 2; ++j) {
    t[2 * j] = __builtin_shufflevector(r[j], r[j + 2], 0, 1, 4, 5);
    t[2 * j + 1] = __builtin_shufflevector(r[j], r[j + 2], 2, 3, 6, 7);
  }
#endif
  for (int i = 0; i < kLanes; ++i) r[i] = t[i];
}

// dst[k * dst_stride + i] = scale * element k0 + k of row first + i, for i < count <= kLanes; other lanes 0.
template <class Row>
void pack_rows(const Matrix& m, int64_t first, int count, int64_t k0, int64_t inner, float scale, float* dst,
               int dst_stride) {
  const char* rows[kLanes];
  for (int i = 0; i < count; ++i) rows[i] = m.row(first + i);
  const f32v factor = set1(scale);
  for (int64_t k = 0; k < inner; k += kLanes) {
    f32v r[kLanes];
    const int width = inner - k < kLanes ? static_cast<int>(inner - k) : kLanes;
    if (width == kLanes && count == kLanes && scale == 1) {
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) r[i] = Row::load(rows[i], k0 + k);
    } else {
      for (int i = 0; i < kLanes; ++i) r[i] = i < count ? Row::load(rows[i], k0 + k, width) * factor : zero();
    }
    transpose(r);
    float* out = dst + k * dst_stride;
    if (width == kLanes) {
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) F32::store(out + i * dst_stride, r[i]);
    } else {
      for (int i = 0; i < width; ++i) F32::store(out + i * dst_stride, r[i]);
    }
  }
}

// dst[k * dst_stride + i] = scale * element first + i of row k0 + k, for i < count <= kLanes; other lanes 0.
template <class Row>
void pack_columns(const Matrix& m, int64_t first, int count, int64_t k0, int64_t inner, float scale, float* dst,
                  int dst_stride) {
  const f32v factor = set1(scale);
  if (count == kLanes) {
    for (int64_t k = 0; k < inner; ++k, dst += dst_stride) F32::store(dst, Row::load(m.row(k0 + k), first) * factor);
  } else {
    for (int64_t k = 0; k < inner; ++k, dst += dst_stride) F32::store(dst, Row::load(m.row(k0 + k), first, count) * factor);
  }
}

}  // namespace nft::cpu::NFT_ISA::gemm
