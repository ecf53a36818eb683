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
  const Tensor* const tensors[] = {&a.x, &a.y, &a.residual};
  with_row_type(tensors, [&](auto row_type) {
    using Row = typename decltype(row_type)::Type;
    for_ranges(a.x.rows(), cols, [&](int64_t row, int64_t begin, int64_t end) {
      alignas(64) uint32_t keep[kTile];
      for (int64_t col = begin; col < end; col += kTile) {
        const int64_t n = min64(kTile, end - col);
        keep_mask(static_cast<uint64_t>(a.seed), (a.first_row + row) * cols + col, n, threshold, keep);
        const Row x(a.x, row, col), y(a.y, row, col), residual(a.residual.present ? a.residual : a.x, row, col);
        for_vectors(
            n, [&](int64_t i, int count) __attribute__((always_inline)) {
              simd::u32v mask;
              std::memcpy(&mask, keep + i, sizeof(mask));
              simd::f32v v = simd::as_f32(simd::as_u32(x.load(i, count) * factor) & mask);
              if (a.residual.present) v += residual.load(i, count);
              y.store(i, v, count);
            });
      }
    });
  });
}

}  // namespace nft::cpu::NFT_ISA
