#pragma once
// Packing: a panel of up to kLanes rows or columns of an operand, as slots of the panel type, with the inner dimension
// outermost, so that the microkernel reads both operands front to back. The storage format is converted here and nowhere
// else.
#include "gemm.h"
#include "microkernel.h"
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

// How a panel type reads its slots from a row of storage format Row.
template <class Panel, class Row>
struct Slots;

template <class Row>
struct Slots<F32Panel, Row> {
  // kLanes slots from element k on, of which the first count elements exist.
  static NFT_MEMBER f32v along(const char* row, int64_t k) { return Row::load(row, k); }
  static NFT_MEMBER f32v along(const char* row, int64_t k, int count, f32v scale) {
    return Row::load(row, k, count) * scale;
  }
  // One slot of each of kLanes columns (count of them exist) of the rows from k on, of which `depth` exist.
  static NFT_MEMBER f32v across(const Matrix& m, int64_t k, int, int64_t col, f32v scale) {
    return Row::load(m.row(k), col) * scale;
  }
  static NFT_MEMBER f32v across(const Matrix& m, int64_t k, int, int64_t col, int count, f32v scale) {
    return Row::load(m.row(k), col, count) * scale;
  }
};

#if NFT_HAS_BF16_DOT
// Other formats, and scaled elements, are rounded to bf16.
template <class Row>
struct Slots<Bf16Panel, Row> {
  static NFT_MEMBER f32v along(const char* row, int64_t k) { return along(row, k, 2 * kLanes, set1(1)); }
  static NFT_MEMBER f32v along(const char* row, int64_t k, int count, f32v scale) {
    const f32v low = Row::load(row, k, count < kLanes ? count : kLanes) * scale;
    const f32v high = count > kLanes ? Row::load(row, k + kLanes, count - kLanes) * scale : zero();
    u16v halves[2] = {to_bf16(low), to_bf16(high)};
    f32v slots;
    std::memcpy(&slots, halves, sizeof(slots));
    return slots;
  }
  static NFT_MEMBER f32v across(const Matrix& m, int64_t k, int depth, int64_t col, f32v scale) {
    return across(m, k, depth, col, kLanes, scale);
  }
  static NFT_MEMBER f32v across(const Matrix& m, int64_t k, int depth, int64_t col, int count, f32v scale) {
    const u32v low = widen(to_bf16(Row::load(m.row(k), col, count) * scale));
    if (depth == 1) return as_f32(low);
    return as_f32(low | (widen(to_bf16(Row::load(m.row(k + 1), col, count) * scale)) << 16));
  }
};

// Stored bf16 is moved as it is: a scale goes through the rounding above.
template <>
struct Slots<Bf16Panel, PlainRow<Bf16>> {
  static NFT_MEMBER f32v along(const char* row, int64_t k) {
    f32v slots;
    std::memcpy(&slots, row + 2 * k, sizeof(slots));
    return slots;
  }
  static NFT_MEMBER f32v along(const char* row, int64_t k, int count, f32v scale) {
    const __m512i x = _mm512_maskz_loadu_epi16(static_cast<__mmask32>((uint64_t{1} << count) - 1), row + 2 * k);
    if (scale[0] == 1) return reinterpret_cast<f32v>(x);
    const u32v u = reinterpret_cast<u32v>(x);
    const u32v low = widen(to_bf16(as_f32(u << 16) * scale)), high = widen(to_bf16(as_f32(u & 0xFFFF0000u) * scale));
    return as_f32(low | (high << 16));
  }
  static NFT_MEMBER f32v across(const Matrix& m, int64_t k, int depth, int64_t col, f32v scale) {
    return across(m, k, depth, col, kLanes, scale);
  }
  static NFT_MEMBER f32v across(const Matrix& m, int64_t k, int depth, int64_t col, int count, f32v scale) {
    u32v low = widen(element(m, k, col, count)), high = depth == 1 ? u32v{} : widen(element(m, k + 1, col, count));
    if (scale[0] != 1) {
      low = widen(to_bf16(as_f32(low << 16) * scale));
      high = widen(to_bf16(as_f32(high << 16) * scale));
    }
    return as_f32(low | (high << 16));
  }

 private:
  static NFT_MEMBER u16v element(const Matrix& m, int64_t k, int64_t col, int count) {
    const uint16_t* p = reinterpret_cast<const uint16_t*>(m.row(k)) + col;
    return count == kLanes ? load_u16(p) : load_u16(p, count);
  }
};
#endif

// Bytes from the start of a row to element k.
NFT_INLINE int64_t row_offset(DType t, int64_t k) { return k / info(t).block_elements * info(t).block_bytes; }

// Asks for memory that the next panel, or the next rows, will be packed from: the processor does not foresee these strides.
NFT_INLINE void prefetch(const char* p) { __builtin_prefetch(p, 0, 2); }

// Rows read at a time when an operand is stored by its inner dimension: gemm.cc.
constexpr int64_t kPackRows = 32;

// dst[step * dst_stride + i] = the slot of elements k0 + step * kDepth ... of row first + i, times scale, for
// i < count <= kLanes; other lanes 0. inner: elements.
template <class Panel, class Row>
void pack_rows(const Matrix& m, int64_t first, int count, int64_t k0, int64_t inner, float scale, Slot* dst,
               int dst_stride) {
  using Source = Slots<Panel, Row>;
  constexpr int kElements = kLanes * Panel::kDepth;
  const char* rows[kLanes];
  for (int i = 0; i < count; ++i) rows[i] = m.row(first + i);
  const int64_t next_panel = kLanes * m.stride_bytes;
  const f32v factor = set1(scale);
  for (int64_t k = 0; k < inner; k += kElements) {
    f32v r[kLanes];
    const int width = inner - k < kElements ? static_cast<int>(inner - k) : kElements;
    if (width == kElements && count == kLanes && scale == 1) {
      const int64_t ahead = row_offset(m.dtype, k0 + k) + next_panel;
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) {
        r[i] = Source::along(rows[i], k0 + k);
        prefetch(rows[i] + ahead);
      }
    } else {
      for (int i = 0; i < kLanes; ++i) r[i] = i < count ? Source::along(rows[i], k0 + k, width, factor) : zero();
    }
    transpose(r);
    float* out = reinterpret_cast<float*>(dst) + k / Panel::kDepth * dst_stride;
    if (width == kElements) {
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) F32::store(out + i * dst_stride, r[i]);
    } else {
      const int steps = (width + Panel::kDepth - 1) / Panel::kDepth;
      for (int i = 0; i < steps; ++i) F32::store(out + i * dst_stride, r[i]);
    }
  }
}

// dst[step * dst_stride + i] = the slot of rows k0 + step * kDepth ... in column first + i, times scale, for
// i < count <= kLanes; other lanes 0. inner: rows.
template <class Panel, class Row>
void pack_columns(const Matrix& m, int64_t first, int count, int64_t k0, int64_t inner, float scale, Slot* dst,
                  int dst_stride) {
  using Source = Slots<Panel, Row>;
  const f32v factor = set1(scale);
  float* out = reinterpret_cast<float*>(dst);
  const int64_t ahead = kPackRows * m.stride_bytes + row_offset(m.dtype, first);
  for (int64_t k = 0; k < inner; k += Panel::kDepth, out += dst_stride) {
    for (int i = 0; i < Panel::kDepth; ++i) prefetch(m.row(k0 + k) + i * m.stride_bytes + ahead);
    const int depth = inner - k < Panel::kDepth ? static_cast<int>(inner - k) : Panel::kDepth;
    F32::store(out, count == kLanes ? Source::across(m, k0 + k, depth, first, factor)
                                    : Source::across(m, k0 + k, depth, first, count, factor));
  }
}

}  // namespace nft::cpu::NFT_ISA::gemm
