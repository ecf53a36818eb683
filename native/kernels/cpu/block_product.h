#pragma once
// Small dense products for attention: C[rows, cols] (+)= A[rows, depth] B[depth, cols], all f32 in cache-sized blocks.
// Each element of C is one chain of fused multiply-adds in the order of depth, started from its old value: the result does
// not depend on how callers cut rows, columns or depth into blocks.
#include "simd.h"

namespace nft::cpu::NFT_ISA {

// Register block: as many accumulators as fit beside the vectors of B and one broadcast of A.
#if NFT_SIMD_BYTES == 64
constexpr int kProductRows = 6, kProductVectors = 4;
#elif NFT_SIMD_BYTES == 32
constexpr int kProductRows = 6, kProductVectors = 2;
#else
constexpr int kProductRows = 4, kProductVectors = 2;
#endif

struct ProductOperands {
  const float* a;  // element (i, k) at a[i * a_row + k * a_depth]
  int64_t a_row, a_depth;
  const float* b;  // rows of cols elements, b_row apart
  int64_t b_row;
  float* c;  // rows of cols elements, c_row apart
  int64_t c_row;
};

template <int kRows, int kVectors>
NFT_INLINE void product_tile(const ProductOperands& p, int64_t row, int64_t col, int64_t depth, bool accumulate) {
  using simd::f32v;
  f32v sum[kRows][kVectors];
  float* c = p.c + row * p.c_row + col;
  for (int i = 0; i < kRows; ++i)
    for (int v = 0; v < kVectors; ++v)
      sum[i][v] = accumulate ? simd::F32::load(c + i * p.c_row + v * simd::kLanes) : simd::zero();
  const float *a = p.a + row * p.a_row, *b = p.b + col;
  for (int64_t k = 0; k < depth; ++k, a += p.a_depth, b += p.b_row) {
    f32v bv[kVectors];
    for (int v = 0; v < kVectors; ++v) bv[v] = simd::F32::load(b + v * simd::kLanes);
    for (int i = 0; i < kRows; ++i) {
      const f32v av = simd::set1(a[i * p.a_row]);
      for (int v = 0; v < kVectors; ++v) sum[i][v] = simd::fma(av, bv[v], sum[i][v]);
    }
  }
  for (int i = 0; i < kRows; ++i)
    for (int v = 0; v < kVectors; ++v) simd::F32::store(c + i * p.c_row + v * simd::kLanes, sum[i][v]);
}

template <int kVectors>
static void product_columns(const ProductOperands& p, int64_t rows, int64_t col, int64_t depth, bool accumulate) {
  int64_t row = 0;
  for (; row + kProductRows <= rows; row += kProductRows)
    product_tile<kProductRows, kVectors>(p, row, col, depth, accumulate);
  switch (rows - row) {
    case 5: return product_tile<5, kVectors>(p, row, col, depth, accumulate);
    case 4: return product_tile<4, kVectors>(p, row, col, depth, accumulate);
    case 3: return product_tile<3, kVectors>(p, row, col, depth, accumulate);
    case 2: return product_tile<2, kVectors>(p, row, col, depth, accumulate);
    case 1: return product_tile<1, kVectors>(p, row, col, depth, accumulate);
    default: return;
  }
}

// cols must be a multiple of simd::kLanes. accumulate false: C is overwritten.
static inline void block_product(const ProductOperands& p, int64_t rows, int64_t cols, int64_t depth, bool accumulate) {
  int64_t col = 0;
  for (; col + kProductVectors * simd::kLanes <= cols; col += kProductVectors * simd::kLanes)
    product_columns<kProductVectors>(p, rows, col, depth, accumulate);
  for (; col < cols; col += simd::kLanes) product_columns<1>(p, rows, col, depth, accumulate);
}

}  // namespace nft::cpu::NFT_ISA
