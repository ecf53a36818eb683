// Conversion between storage types, quantized blocks included.
#include "../../core/context.h"
#include "../../ops/elementwise.h"
#include "gemm/storage.h"

namespace nft::cpu::NFT_ISA {

namespace {

void dequantize(const Tensor& x, const Tensor& y) {
  static_assert(kItemElements % 32 == 0 && kTile % 32 == 0, "ranges and tiles are whole blocks");
  gemm::with_storage(x.dtype, [&](auto format) {
    using Format = decltype(format);
    for_ranges(x.rows(), x.cols(), [&](int64_t row, int64_t begin, int64_t end) {
      const char* blocks = x.row(row);
      alignas(64) float buffer[kTile];
      for (int64_t col = begin; col < end; col += kTile) {
        const int64_t n = min64(kTile, end - col);
        float* target = tile_target(y, row, col, buffer);
        for (int64_t i = 0; i < n; i += simd::kLanes) simd::F32::store(target + i, Format::load(blocks, col + i));
        store_tile(y, row, col, n, target);
      }
    });
  });
}

}  // namespace

void cast(const Cast& a, Context&) {
  require_float(Cast::kName, "y", a.y);
  if (is_quantized(a.x.dtype)) return dequantize(a.x, a.y);
  require_float(Cast::kName, "x", a.x);
  const Tensor *const in[] = {&a.x}, *const out[] = {&a.y};
  map_elements(in, out, [](const simd::f32v* x, simd::f32v* y) { y[0] = x[0]; });
}

}  // namespace nft::cpu::NFT_ISA
