#pragma once
// Elements of tensors of any type as doubles, and a dense double matrix to write equations with.
#include <vector>

#include "../../core/convert.h"
#include "../../core/dequantize.h"
#include "../../core/errors.h"

namespace nft::ref {

inline double at(const Tensor& t, int64_t row, int64_t col) {
  switch (t.dtype) {
    case DType::f64: return reinterpret_cast<const double*>(t.row(row))[col];
    case DType::f32: return reinterpret_cast<const float*>(t.row(row))[col];
    case DType::f16: return f16_to_f32(reinterpret_cast<const f16_t*>(t.row(row))[col]);
    case DType::bf16: return bf16_to_f32(reinterpret_cast<const bf16_t*>(t.row(row))[col]);
    case DType::i32: return reinterpret_cast<const int32_t*>(t.row(row))[col];
    case DType::u8: return reinterpret_cast<const uint8_t*>(t.row(row))[col];
    default: return dequantize_element(t.dtype, t.row(row), col);
  }
}

// Rounds to nearest even; 16-bit types by way of f32.
inline void set(const Tensor& t, int64_t row, int64_t col, double value) {
  switch (t.dtype) {
    case DType::f64: reinterpret_cast<double*>(t.row(row))[col] = value; return;
    case DType::f32: reinterpret_cast<float*>(t.row(row))[col] = static_cast<float>(value); return;
    case DType::f16: reinterpret_cast<f16_t*>(t.row(row))[col] = f32_to_f16(static_cast<float>(value)); return;
    case DType::bf16: reinterpret_cast<bf16_t*>(t.row(row))[col] = f32_to_bf16(static_cast<float>(value)); return;
    case DType::i32: reinterpret_cast<int32_t*>(t.row(row))[col] = static_cast<int32_t>(value); return;
    default: fail("ERR_DTYPE", std::string("cannot write ") + info(t.dtype).name);
  }
}

// Element i in row-major order.
inline double at(const Tensor& t, int64_t i) { return at(t, i / t.cols(), i % t.cols()); }
inline void set(const Tensor& t, int64_t i, double value) { set(t, i / t.cols(), i % t.cols(), value); }

inline int64_t index_at(const Tensor& t, int64_t i) { return static_cast<int64_t>(at(t, i)); }

struct Matrix {
  int64_t rows, cols;
  std::vector<double> data;

  Matrix(int64_t r, int64_t c) : rows(r), cols(c), data(static_cast<size_t>(r * c), 0.0) {}
  double& operator()(int64_t i, int64_t j) { return data[static_cast<size_t>(i * cols + j)]; }
  double operator()(int64_t i, int64_t j) const { return data[static_cast<size_t>(i * cols + j)]; }
  double& operator[](int64_t i) { return data[static_cast<size_t>(i)]; }
  double operator[](int64_t i) const { return data[static_cast<size_t>(i)]; }
};

inline Matrix load(const Tensor& t) {
  Matrix m(t.rows(), t.cols());
  for (int64_t i = 0; i < m.rows; ++i)
    for (int64_t j = 0; j < m.cols; ++j) m(i, j) = at(t, i, j);
  return m;
}

inline void store(const Tensor& t, const Matrix& m) {
  for (int64_t i = 0; i < m.rows; ++i)
    for (int64_t j = 0; j < m.cols; ++j) set(t, i, j, m(i, j));
}

}  // namespace nft::ref
