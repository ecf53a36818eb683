#pragma once
// A tensor is a view: a pointer, an element type and a shape. It owns nothing.
#include <cstddef>
#include <cstdint>

#include "dtype.h"

namespace nft {

constexpr int kMaxDims = 4;

struct Tensor {
  void* data = nullptr;  // null on a dry (planning) call
  DType dtype = DType::f32;
  int32_t ndim = 0;
  int64_t dim[kMaxDims] = {0, 0, 0, 0};
  int64_t row_stride = 0;  // elements between the starts of two rows (row = last dimension); == cols() when contiguous
  bool present = false;    // false: an optional argument that was left out

  NFT_MEMBER int64_t cols() const { return ndim == 0 ? 1 : dim[ndim - 1]; }
  NFT_MEMBER int64_t rows() const {
    int64_t n = 1;
    for (int i = 0; i + 1 < ndim; ++i) n *= dim[i];
    return n;
  }
  NFT_MEMBER int64_t num_elements() const { return rows() * cols(); }
  NFT_MEMBER bool contiguous() const { return row_stride == cols() || rows() <= 1; }
  // Bytes of one row / from the first to the last element of the view.
  NFT_MEMBER int64_t row_bytes() const { return nft::row_bytes(dtype, cols()); }
  NFT_MEMBER int64_t stride_bytes() const { return nft::row_bytes(dtype, row_stride); }
  NFT_MEMBER int64_t extent_bytes() const {
    return rows() == 0 || cols() == 0 ? 0 : (rows() - 1) * stride_bytes() + row_bytes();
  }

  template <class T>
  NFT_MEMBER T* as() const {
    return static_cast<T*>(data);
  }
  NFT_MEMBER char* row(int64_t i) const { return static_cast<char*>(data) + i * stride_bytes(); }
};

}  // namespace nft
