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

// A row of a tensor as vectors of f32, of a type known to the compiler ...
template <class Type>
struct TypedRow {
  typename Type::Element* data;

  NFT_MEMBER TypedRow(const Tensor& t, int64_t row, int64_t col = 0)
      : data(reinterpret_cast<typename Type::Element*>(element(t, row, col))) {}
  // Lanes i ... i + count - 1.
  NFT_MEMBER simd::f32v load(int64_t i, int count) const {
    return count == simd::kLanes ? Type::load(data + i) : Type::load(data + i, count);
  }
  NFT_MEMBER void store(int64_t i, simd::f32v x, int count) const {
    if (count == simd::kLanes)
      Type::store(data + i, x);
    else
      Type::store(data + i, x, count);
  }
};
// ... or of any type, asked for at each vector.
struct AnyRow {
  DType type;
  char* data;

  NFT_MEMBER AnyRow(const Tensor& t, int64_t row, int64_t col = 0) : type(t.dtype), data(element(t, row, col)) {}
  NFT_MEMBER simd::f32v load(int64_t i, int count) const {
    simd::f32v x = simd::zero();
    simd::with_float_type(type, [&](auto t) {
      using Type = decltype(t);
      x = Type::load(reinterpret_cast<const typename Type::Element*>(data) + i, count);
    });
    return x;
  }
  NFT_MEMBER void store(int64_t i, simd::f32v x, int count) const {
    simd::with_float_type(type, [&](auto t) {
      using Type = decltype(t);
      Type::store(reinterpret_cast<typename Type::Element*>(data) + i, x, count);
    });
  }
};
template <class Row>
struct RowType {
  using Type = Row;
};
// Calls f(RowType<Row>{}) with the row of these float tensors; absent ones do not count.
template <class F>
NFT_INLINE void with_row_type(const Tensor* const* tensors, int count, F&& f) {
  const DType type = tensors[0]->dtype;
  for (int i = 1; i < count; ++i)
    if (tensors[i]->present && tensors[i]->dtype != type) return f(RowType<AnyRow>{});
  simd::with_float_type(type, [&](auto t) { f(RowType<TypedRow<decltype(t)>>{}); });
}
template <int kCount, class F>
NFT_INLINE void with_row_type(const Tensor* const (&tensors)[kCount], F&& f) {
  with_row_type(tensors, kCount, f);
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

template <class Row, int kIn, int kOut, class F, size_t... kX, size_t... kY>
NFT_INLINE void map_row(const Tensor* const (&in)[kIn], const Tensor* const (&out)[kOut], int64_t row, int64_t begin,
                        int64_t n, F&& f, std::index_sequence<kX...>, std::index_sequence<kY...>) {
  const Row x[] = {Row(*in[kX], row, begin)...}, y[] = {Row(*out[kY], row, begin)...};
  for_vectors(
      n, [&](int64_t i, int count) __attribute__((always_inline)) {
        const simd::f32v a[] = {x[kX].load(i, count)...};
        simd::f32v b[kOut];
        f(a, b);
        (y[kY].store(i, b[kY], count), ...);
      });
}

// out[...] = f(in[...]) for every element: f(const f32v* x, f32v* y), all tensors of one shape.
template <int kIn, int kOut, class F>
void map_elements(const Tensor* const (&in)[kIn], const Tensor* const (&out)[kOut], F&& f) {
  const Tensor* all[kIn + kOut];
  bool contiguous = true;
  for (int i = 0; i < kIn + kOut; ++i) {
    all[i] = i < kIn ? in[i] : out[i - kIn];
    contiguous = contiguous && all[i]->contiguous();
  }
  const int64_t rows = contiguous ? 1 : out[0]->rows(), cols = contiguous ? out[0]->num_elements() : out[0]->cols();
  with_row_type(all, [&](auto row_type) {
    using Row = typename decltype(row_type)::Type;
    for_ranges(rows, cols, [&](int64_t row, int64_t begin, int64_t end) {
      map_row<Row>(in, out, row, begin, end - begin, f, std::make_index_sequence<kIn>{}, std::make_index_sequence<kOut>{});
    });
  });
}

}  // namespace nft::cpu::NFT_ISA
