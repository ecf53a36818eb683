#pragma once
// How kernels that are not matrix products see tensors: as f32 values, tile by tile. An f32 tensor is used in place; bf16
// and f16 go through a small buffer on the stack, so that each kernel is written once, for f32.
#include "../../core/errors.h"
#include "../../core/thread_pool.h"
#include "simd.h"

namespace nft::cpu::NFT_ISA {

constexpr int kTile = 512;            // elements of one stack buffer
constexpr int kItemElements = 16384;  // least work of a parallel item: smaller ops stay on the calling thread

NFT_INLINE int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
NFT_INLINE int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
NFT_INLINE int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }

// Throws ERR_DTYPE unless t is one of the types that the cpu device computes with. Absent arguments pass.
static inline void require_float(const char* op, const char* argument, const Tensor& t) {
  if (t.present && t.dtype != DType::f32 && t.dtype != DType::bf16 && t.dtype != DType::f16)
    fail_dtype(op, argument, "f32, bf16 or f16 (the cpu device computes in f32)", t);
}
static inline void require_f32(const char* op, const char* argument, const Tensor& t) {
  if (t.present && t.dtype != DType::f32) fail_dtype(op, argument, "f32 on the cpu device", t);
}

NFT_INLINE int64_t element_bytes(const Tensor& t) { return t.dtype == DType::f32 ? 4 : 2; }

// n f32 values from x in storage type t / to y.
static inline void load_f32(DType t, const void* x, float* y, int64_t n) {
  simd::with_float_type(t, [&](auto type) {
    using Type = decltype(type);
    const auto* p = static_cast<const typename Type::Element*>(x);
    int64_t i = 0;
    for (; i + simd::kLanes <= n; i += simd::kLanes) simd::F32::store(y + i, Type::load(p + i));
    if (i < n) simd::F32::store(y + i, Type::load(p + i, static_cast<int>(n - i)), static_cast<int>(n - i));
  });
}
static inline void store_f32(DType t, const float* x, void* y, int64_t n) {
  simd::with_float_type(t, [&](auto type) {
    using Type = decltype(type);
    auto* p = static_cast<typename Type::Element*>(y);
    int64_t i = 0;
    for (; i + simd::kLanes <= n; i += simd::kLanes) Type::store(p + i, simd::F32::load(x + i));
    if (i < n) Type::store(p + i, simd::F32::load(x + i, static_cast<int>(n - i)), static_cast<int>(n - i));
  });
}

NFT_INLINE char* element(const Tensor& t, int64_t row, int64_t col) { return t.row(row) + col * element_bytes(t); }

// Columns [col, col + n) of a row as f32; n <= kTile.
NFT_INLINE const float* load_tile(const Tensor& t, int64_t row, int64_t col, int64_t n, float* buffer) {
  const char* p = element(t, row, col);
  if (t.dtype == DType::f32) return reinterpret_cast<const float*>(p);
  load_f32(t.dtype, p, buffer, n);
  return buffer;
}
// Where to write a tile as f32, before store_tile puts it in place.
NFT_INLINE float* tile_target(const Tensor& t, int64_t row, int64_t col, float* buffer) {
  return t.dtype == DType::f32 ? reinterpret_cast<float*>(element(t, row, col)) : buffer;
}
NFT_INLINE void store_tile(const Tensor& t, int64_t row, int64_t col, int64_t n, const float* buffer) {
  if (t.dtype != DType::f32) store_f32(t.dtype, buffer, element(t, row, col), n);
}

// f(i, count) for vectors of kLanes elements from i on, and once with the count that is left. The compiler sees the full
// count as a constant.
template <class F>
NFT_INLINE void for_vectors(int64_t n, F&& f) {
  int64_t i = 0;
  for (; i + simd::kLanes <= n; i += simd::kLanes) f(i, simd::kLanes);
  if (i < n) f(i, static_cast<int>(n - i));
}
NFT_INLINE simd::f32v load_n(const float* p, int count) {
  return count == simd::kLanes ? simd::F32::load(p) : simd::F32::load(p, count);
}
NFT_INLINE void store_n(float* p, simd::f32v x, int count) {
  if (count == simd::kLanes)
    simd::F32::store(p, x);
  else
    simd::F32::store(p, x, count);
}

// f(row, begin, end) for column ranges that together cover rows x cols, in parallel.
template <class F>
void for_ranges(int64_t rows, int64_t cols, F&& f) {
  if (rows == 0 || cols == 0) return;
  const int64_t width = min64(cols, kItemElements), ranges = ceil_div(cols, width);
  const int64_t item_rows = max64(1, kItemElements / cols);
  ThreadPool::instance().run(ceil_div(rows, item_rows) * ranges, [&](int64_t item, int) {
    const int64_t first = item / ranges * item_rows, begin = item % ranges * width;
    for (int64_t row = first; row < min64(rows, first + item_rows); ++row) f(row, begin, min64(cols, begin + width));
  });
}

// out[...] = f(in[...]) for every element: f(const f32v* x, f32v* y, int64_t element_index_of_lane_0), all tensors of one
// shape.
template <int kIn, int kOut, class F>
void map_elements(const Tensor* const (&in)[kIn], const Tensor* const (&out)[kOut], F&& f) {
  bool contiguous = true;
  for (const Tensor* t : in) contiguous = contiguous && t->contiguous();
  for (const Tensor* t : out) contiguous = contiguous && t->contiguous();
  const int64_t cols = out[0]->cols();
  const int64_t grid_rows = contiguous ? 1 : out[0]->rows(), grid_cols = contiguous ? out[0]->num_elements() : cols;
  for_ranges(grid_rows, grid_cols, [&](int64_t row, int64_t begin, int64_t end) {
    alignas(64) float buffer[kIn + kOut][kTile];
    for (int64_t col = begin; col < end; col += kTile) {
      const int64_t n = min64(kTile, end - col);
      const float* x[kIn];
      float* y[kOut];
      for (int i = 0; i < kIn; ++i) x[i] = load_tile(*in[i], row, col, n, buffer[i]);
      for (int i = 0; i < kOut; ++i) y[i] = tile_target(*out[i], row, col, buffer[kIn + i]);
      for_vectors(
          n, [&](int64_t i, int count) __attribute__((always_inline)) {
            simd::f32v a[kIn], b[kOut];
            for (int k = 0; k < kIn; ++k) a[k] = load_n(x[k] + i, count);
            f(a, b, row * cols + col + i);
            for (int k = 0; k < kOut; ++k) store_n(y[k] + i, b[k], count);
          });
      for (int i = 0; i < kOut; ++i) store_tile(*out[i], row, col, n, y[i]);
    }
  });
}

}  // namespace nft::cpu::NFT_ISA
