#pragma once
// Small dense products for attention: C[rows, cols] (+)= A[rows, depth] B[depth, cols], f32 in cache-sized blocks, from
// operands of f32 or, where the instruction set multiplies them, pairs of bf16 (attention_operands.h).
// Each element of C is one chain of multiply-adds in the order of depth, started from its old value: the result does not
// depend on how callers cut rows, columns or depth into blocks.
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

// Strides and depth in units of Operands.
template <class Operands>
struct Product {
  using Unit = typename Operands::Unit;
  const Unit* a;  // element (i, k) at a[i * a_row + k * a_depth]
  int64_t a_row, a_depth;
  const Unit* b;  // rows of cols elements, b_row apart
  int64_t b_row;
  float* c;  // rows of cols elements, c_row apart
  int64_t c_row;
};

template <int kRows, int kVectors, class Operands>
NFT_INLINE void product_tile(const Product<Operands>& p, int64_t row, int64_t col, int64_t depth, bool accumulate) {
  using simd::f32v;
  f32v sum[kRows][kVectors];
  float* c = p.c + row * p.c_row + col;
  for (int i = 0; i < kRows; ++i)
    for (int v = 0; v < kVectors; ++v)
      sum[i][v] = accumulate ? simd::F32::load(c + i * p.c_row + v * simd::kLanes) : simd::zero();
  const auto *a = p.a + row * p.a_row, *b = p.b + col;
  for (int64_t k = 0; k < depth; ++k, a += p.a_depth, b += p.b_row) {
    typename Operands::Vector bv[kVectors];
    for (int v = 0; v < kVectors; ++v) bv[v] = Operands::load(b + v * simd::kLanes);
    for (int i = 0; i < kRows; ++i) {
      const auto av = Operands::broadcast(a[i * p.a_row]);
      for (int v = 0; v < kVectors; ++v) sum[i][v] = Operands::multiply_add(bv[v], av, sum[i][v]);
    }
  }
  for (int i = 0; i < kRows; ++i)
    for (int v = 0; v < kVectors; ++v) simd::F32::store(c + i * p.c_row + v * simd::kLanes, sum[i][v]);
}

// Not inlined: the register block needs all registers to itself.
template <int kVectors, class Operands>
__attribute__((noinline)) static void product_columns(const Product<Operands>& p, int64_t rows, int64_t col, int64_t depth,
                                                      bool accumulate) {
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
template <class Operands>
static void block_product(const Product<Operands>& p, int64_t rows, int64_t cols, int64_t depth, bool accumulate) {
  int64_t col = 0;
  for (; col + kProductVectors * simd::kLanes <= cols; col += kProductVectors * simd::kLanes)
    product_columns<kProductVectors>(p, rows, col, depth, accumulate);
  switch ((cols - col) / simd::kLanes) {
#if NFT_SIMD_BYTES == 64
    case 3: return product_columns<3>(p, rows, col, depth, accumulate);
    case 2: return product_columns<2>(p, rows, col, depth, accumulate);
#endif
    case 1: return product_columns<1>(p, rows, col, depth, accumulate);
    default: return;
  }
}

}  // namespace nft::cpu::NFT_ISA
