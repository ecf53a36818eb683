#pragma once
// The innermost loop: a tile of up to kTileRows x kTileCols sums, held in registers over one block of the inner dimension.
// a: packed [inner][kLanes], of which the first R lanes are rows; b: packed [inner][kTileCols].
// tile [R][kTileCols] = sum (first) or += sum. Each element is one chain of multiply-adds in the order of inner, then one
// addition: the same for every R and V, so a result does not depend on where tile edges fall.
#include "../simd.h"

namespace nft::cpu::NFT_ISA::gemm {

using namespace simd;

#if defined(__AVX512F__)
constexpr int kTileRows = 14;  // 28 of 32 registers hold sums
#elif defined(__AVX2__)
constexpr int kTileRows = 6;  // 12 of 16
#else
constexpr int kTileRows = 4;  // 8 of 16; products need registers too
#endif
constexpr int kTileVectors = 2;
constexpr int kTileCols = kTileVectors * kLanes;
constexpr int kTileSize = kTileRows * kTileCols;

using Microkernel = void (*)(int64_t inner, const float* a, const float* b, float* tile, bool first);

template <int R, int V>
void microkernel(int64_t inner, const float* a, const float* b, float* tile, bool first) {
  f32v sum[R][V];
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) sum[i][v] = zero();
  for (int64_t k = 0; k < inner; ++k) {
    f32v bk[V];
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) bk[v] = F32::load(b + v * kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) {
      const f32v ai = set1(a[i]);
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) sum[i][v] = fma(ai, bk[v], sum[i][v]);
    }
    a += kLanes;
    b += kTileCols;
  }
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) {
      float* p = tile + i * kTileCols + v * kLanes;
      F32::store(p, first ? sum[i][v] : F32::load(p) + sum[i][v]);
    }
}

template <int R>
Microkernel choose_microkernel(int rows, int vectors) {
  if constexpr (R == 0) {
    return nullptr;
  } else {
    if (rows == R) return vectors == 1 ? microkernel<R, 1> : microkernel<R, 2>;
    return choose_microkernel<R - 1>(rows, vectors);
  }
}

}  // namespace nft::cpu::NFT_ISA::gemm
