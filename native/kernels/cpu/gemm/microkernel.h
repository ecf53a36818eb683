#pragma once
// The innermost loop: a tile of up to kTileRows x kTileCols sums, held in registers over one block of the inner dimension.
// a: packed [steps][kLanes], of which the first R lanes are rows; b: packed [steps][kTileCols]. What a 32-bit slot of a
// panel holds, and how two slots are multiplied, is the panel type's: one f32 element, or two consecutive bf16 elements.
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

using Slot = uint32_t;

// Panels of f32 elements.
struct F32Panel {
  static constexpr int kDepth = 1;        // elements of the inner dimension in a slot
  static constexpr int64_t kBlock = 256;  // elements summed in registers before they are added to the tile
  static NFT_MEMBER f32v multiply_add(u32v a, u32v b, f32v sum) { return fma(as_f32(a), as_f32(b), sum); }
};
constexpr bool kHasBf16Panel = NFT_HAS_BF16_DOT != 0;
#if NFT_HAS_BF16_DOT
// Panels of bf16 pairs; an odd last element is paired with 0.
struct Bf16Panel {
  static constexpr int kDepth = 2;
  static constexpr int64_t kBlock = 1024;
  static NFT_MEMBER f32v multiply_add(u32v a, u32v b, f32v sum) { return dot_bf16(a, b, sum); }
};
#endif

NFT_INLINE u32v load_slots(const Slot* p) {
  u32v x;
  std::memcpy(&x, p, sizeof(x));
  return x;
}

// Steps ahead of which panels are asked for: they come from the second-level cache, which the processor's own prefetching
// hides only in part where another guest shares the core.
constexpr int kStepsAhead = 16;
NFT_INLINE void prefetch_slots(const Slot* p) {
  if constexpr (kLanes * sizeof(Slot) == 64) __builtin_prefetch(p);
}

using Microkernel = void (*)(int64_t steps, const Slot* a, const Slot* b, float* tile, bool first);

template <class Panel, int R, int V>
void microkernel(int64_t steps, const Slot* a, const Slot* b, float* tile, bool first) {
  f32v sum[R][V];
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) sum[i][v] = zero();
  for (int64_t k = 0; k < steps; ++k) {
    u32v bk[V];
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) bk[v] = load_slots(b + v * kLanes);
    prefetch_slots(a + kStepsAhead * kLanes);
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) prefetch_slots(b + kStepsAhead * kTileCols + v * kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) {
      const u32v ai = set1_u32(a[i]);
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) sum[i][v] = Panel::multiply_add(ai, bk[v], sum[i][v]);
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

template <class Panel, int R = kTileRows>
Microkernel choose_microkernel(int rows, int vectors) {
  if constexpr (R == 0) {
    return nullptr;
  } else {
    if (rows == R) return vectors == 1 ? microkernel<Panel, R, 1> : microkernel<Panel, R, 2>;
    return choose_microkernel<Panel, R - 1>(rows, vectors);
  }
}

}  // namespace nft::cpu::NFT_ISA::gemm
