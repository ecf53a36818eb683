#pragma once
// The operands of attention's products: f32, or bf16 where all tensors are bf16 and the instruction set multiplies it.
// A unit is what one lane multiplies in one step of depth: an f32, or two bf16 values that are neighbours along depth, the
// first in the low half. Probabilities and score gradients are rounded to the operand type; sums and statistics are f32.
#include "rows.h"

namespace nft::cpu::NFT_ISA {

template <class Unit>
struct RowsView {
  const Unit* data;
  int64_t stride;
};

struct F32Operands {
  using Unit = float;
  using Vector = simd::f32v;
  static constexpr int kPack = 1;  // values of depth in a unit

  static NFT_MEMBER Vector load(const Unit* p) { return simd::F32::load(p); }
  static NFT_MEMBER void store(Unit* p, Vector x) { simd::F32::store(p, x); }
  static NFT_MEMBER Vector broadcast(Unit x) { return simd::set1(x); }
  static NFT_MEMBER simd::f32v multiply_add(Vector a, Vector b, simd::f32v sum) { return simd::fma(a, b, sum); }

  // Units [c, c + kLanes) of n values at p, zeros behind the last.
  template <class Type>
  static NFT_MEMBER Vector load_units(const char* p, int64_t n, int64_t c) {
    const auto* values = reinterpret_cast<const typename Type::Element*>(p) + c;
    return c + simd::kLanes <= n ? Type::load(values) : Type::load(values, static_cast<int>(n - c));
  }
  static NFT_MEMBER Vector load_units(DType dtype, const char* p, int64_t n, int64_t c) {
    Vector x = simd::zero();
    simd::with_float_type(dtype, [&](auto type) { x = load_units<decltype(type)>(p, n, c); });
    return x;
  }
  // Calls f with the type in memory of a tensor, for load_units.
  template <class F>
  static NFT_MEMBER void with_type(DType dtype, F&& f) {
    simd::with_float_type(dtype, f);
  }

  // n rows of a tensor as the second operand of a product over them: `width` columns, zeros from D on.
  static RowsView<Unit> over_rows(const Tensor& t, int64_t first, int64_t n, int64_t col, int64_t D, int64_t width,
                                  Unit* packed) {
    if (t.dtype == DType::f32 && D == width) return {reinterpret_cast<const float*>(element(t, first, col)), t.row_stride};
    const char* p = element(t, first, col);
    for (int64_t i = 0; i < n; ++i, p += t.stride_bytes())
      for (int64_t c = 0; c < width; c += simd::kLanes) store(packed + i * width + c, load_units(t.dtype, p, D, c));
    return {packed, width};
  }
  // Columns of one row, stored for a product over columns.
  static NFT_MEMBER void store_row(const simd::f32v (&x)[1], Unit* p) { store(p, x[0]); }
  // Values [row][vector of columns], stored for a product over columns: rows `stride` apart ...
  static NFT_MEMBER void store_over_columns(const simd::f32v (&x)[1][1], Unit* p, int64_t) { store(p, x[0][0]); }
  // ... and for one over rows.
  static NFT_MEMBER void store_over_rows(const simd::f32v (&x)[1][1], Unit* p) { store(p, x[0][0]); }
};

#if NFT_HAS_BF16_DOT
struct Bf16Operands {
  using Unit = uint32_t;
  using Vector = simd::u32v;
  static constexpr int kPack = 2;

  static NFT_MEMBER Vector load(const Unit* p) {
    Vector x;
    std::memcpy(&x, p, sizeof(x));
    return x;
  }
  static NFT_MEMBER void store(Unit* p, Vector x) { std::memcpy(p, &x, sizeof(x)); }
  static NFT_MEMBER Vector broadcast(Unit x) { return simd::set1_u32(x); }
  static NFT_MEMBER simd::f32v multiply_add(Vector a, Vector b, simd::f32v sum) { return simd::dot_bf16(a, b, sum); }

  template <class>
  static NFT_MEMBER Vector load_units(const char* p, int64_t n, int64_t c) {
    const auto* values = reinterpret_cast<const uint16_t*>(p) + 2 * c;
    if (n - 2 * c < 2 * simd::kLanes) return simd::load_u16_pairs(values, static_cast<int>(n - 2 * c));
    return load(reinterpret_cast<const Unit*>(values));
  }
  static NFT_MEMBER Vector load_units(DType, const char* p, int64_t n, int64_t c) { return load_units<simd::Bf16>(p, n, c); }
  template <class F>
  static NFT_MEMBER void with_type(DType, F&& f) {
    f(simd::Bf16{});
  }

  static RowsView<Unit> over_rows(const Tensor& t, int64_t first, int64_t n, int64_t col, int64_t D, int64_t width,
                                  Unit* packed) {
    interleave_rows(reinterpret_cast<const uint16_t*>(element(t, first, col)), t.row_stride, n, D, width, packed);
    return {packed, width};
  }
  // The same of n rows that were packed for products over columns.
  static void over_rows(const Unit* rows, int64_t stride, int64_t n, int64_t width, Unit* packed) {
    interleave_rows(reinterpret_cast<const uint16_t*>(rows), 2 * stride, n, width, width, packed);
  }

  static NFT_MEMBER void store_row(const simd::f32v (&x)[2], Unit* p) { store(p, simd::pack_bf16(x[0], x[1])); }
  static NFT_MEMBER void store_over_columns(const simd::f32v (&x)[2][2], Unit* p, int64_t stride) {
    for (int i = 0; i < 2; ++i) store_row(x[i], p + i * stride);
  }
  static NFT_MEMBER void store_over_rows(const simd::f32v (&x)[2][2], Unit* p) {
    for (int v = 0; v < 2; ++v) store(p + v * simd::kLanes, simd::interleave_bf16(x[0][v], x[1][v]));
  }

 private:
  // packed[i / 2][c] = rows i and i + 1 of column c, zeros behind the last row and from n columns on.
  static void interleave_rows(const uint16_t* rows, int64_t stride, int64_t n, int64_t cols, int64_t width, Unit* packed) {
    for (int64_t i = 0; i < n; i += 2, packed += width)
      for (int64_t c = 0; c < width; c += simd::kLanes) {
        const int count = static_cast<int>(min64(simd::kLanes, cols - c));
        const uint16_t* p = rows + i * stride + c;
        Vector pair = simd::widen(simd::load_u16(p, count));
        if (i + 1 < n) pair |= simd::widen(simd::load_u16(p + stride, count)) << 16;
        store(packed + c, pair);
      }
  }
};
#endif

// Calls f with the operands that serve these tensors.
template <class F, class... Tensors>
NFT_INLINE void with_operands(F&& f, const Tensors&... tensors) {
#if NFT_HAS_BF16_DOT
  if (((tensors.dtype == DType::bf16) && ...)) return f(Bf16Operands{});
#else
  ((void)tensors, ...);
#endif
  f(F32Operands{});
}

}  // namespace nft::cpu::NFT_ISA
