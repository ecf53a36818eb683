#include "../../core/context.h"
#include "../../core/rng.h"
#include "../../ops/elementwise.h"
#include "rows.h"

namespace nft::cpu::NFT_ISA {

namespace {

// keep[i] = all ones where element first + i stays, else 0. uniform() >= p, compared before the division by 2^24.
void keep_mask(uint64_t seed, int64_t first, int64_t n, uint32_t threshold, uint32_t* keep) {
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t drawn = static_cast<uint32_t>(rng::bits(seed, static_cast<uint64_t>(first + i)) >> 40);
    keep[i] = drawn >= threshold ? 0xFFFFFFFFu : 0u;
  }
}

}  // namespace

void dropout(const Dropout& a, Context&) {
  require_float(Dropout::kName, "x", a.x);
  require_float(Dropout::kName, "residual", a.residual);
  require_float(Dropout::kName, "y", a.y);
  const int64_t cols = a.x.cols();
  const uint32_t threshold = static_cast<uint32_t>(__builtin_ceil(a.p * 0x1p24));
  const float factor = static_cast<float>(1 / (1 - a.p));
  for_ranges(a.x.rows(), cols, [&](int64_t row, int64_t begin, int64_t end) {
    alignas(64) float x_buffer[kTile], y_buffer[kTile], residual_buffer[kTile];
    alignas(64) uint32_t keep[kTile];
    for (int64_t col = begin; col < end; col += kTile) {
      const int64_t n = min64(kTile, end - col);
      keep_mask(static_cast<uint64_t>(a.seed), row * cols + col, n, threshold, keep);
      const float* x = load_tile(a.x, row, col, n, x_buffer);
      const float* residual = a.residual.present ? load_tile(a.residual, row, col, n, residual_buffer) : nullptr;
      float* y = tile_target(a.y, row, col, y_buffer);
      for_vectors(n, [&](int64_t i, int count) {
        simd::u32v mask;
        std::memcpy(&mask, keep + i, sizeof(mask));
        simd::f32v v = simd::as_f32(simd::as_u32(load_n(x + i, count) * factor) & mask);
        if (residual != nullptr) v += load_n(residual + i, count);
        store_n(y + i, v, count);
      });
      store_tile(a.y, row, col, n, y);
    }
  });
}

}  // namespace nft::cpu::NFT_ISA
