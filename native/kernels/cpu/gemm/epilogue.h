#pragma once
// The one way from a tile of f32 sums to C.
#include "gemm.h"
#include "storage.h"

namespace nft::cpu::NFT_ISA::gemm {

template <class Float>
NFT_INLINE void store_tile(const Output& out, const float* tile, int tile_stride, int64_t row0, int rows, int64_t col0,
                           int cols) {
  using Element = typename Float::Element;
  const f32v scale = set1(out.scale);
  for (int i = 0; i < rows; ++i) {
    Element* c = reinterpret_cast<Element*>(static_cast<char*>(out.data) + (row0 + i) * out.stride_bytes) + col0;
    int v = 0;
    for (; v + kLanes <= cols; v += kLanes) Float::store(c + v, zero() + scale * F32::load(tile + i * tile_stride + v));
    if (v < cols) Float::store(c + v, zero() + scale * F32::load(tile + i * tile_stride + v), cols - v);
  }
}

// Rows [row0, row0 + rows) and columns [col0, col0 + cols) of C from a tile whose rows are tile_stride apart.
static inline void finish_tile(const Output& out, const float* tile, int tile_stride, int64_t row0, int rows, int64_t col0,
                               int cols) {
  if (!out.accumulate && !out.bias && !out.residual && !out.index) {  // the most common by far
    with_float_type(out.dtype,
                    [&](auto type) { store_tile<decltype(type)>(out, tile, tile_stride, row0, rows, col0, cols); });
    return;
  }
  const f32v scale = set1(out.scale);
  for (int i = 0; i < rows; ++i) {
    char* c = static_cast<char*>(out.data) + (out.index ? out.index[row0 + i] : row0 + i) * out.stride_bytes;
    const char* residual = static_cast<const char*>(out.residual) + (row0 + i) * out.residual_stride_bytes;
    for (int v = 0; v < cols; v += kLanes) {
      const int count = cols - v < kLanes ? cols - v : kLanes;
      f32v base = zero();
      if (out.accumulate) base = load_float(out.dtype, c, col0 + v, count);
      f32v x = base + scale * F32::load(tile + i * tile_stride + v);
      if (out.bias) x += load_float(out.bias_dtype, static_cast<const char*>(out.bias), col0 + v, count);
      if (out.residual) x += load_float(out.residual_dtype, residual, col0 + v, count);
      store_float(out.dtype, c, col0 + v, x, count);
    }
  }
}

}  // namespace nft::cpu::NFT_ISA::gemm
