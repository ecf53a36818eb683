// scale_columns and column_dot: one pass over the rows.
#include "../../ops/columns.h"
#include "../../core/context.h"
#include "rows.h"

namespace nft::cpu::NFT_ISA {

using simd::f32v;

void scale_columns(const ScaleColumns& a, Context&) {
  require_float(a.kName, "x", a.x);
  require_float(a.kName, "factors", a.factors);
  require_float(a.kName, "bias", a.bias);
  require_float(a.kName, "residual", a.residual);
  require_float(a.kName, "y", a.y);
  const Tensor* const wide[] = {&a.x, &a.residual, &a.y};
  const bool has_bias = a.bias.present, has_residual = a.residual.present;
  with_row_type(wide, [&](auto row_type) {
    using Row = typename decltype(row_type)::Type;
    for_ranges(a.y.rows(), a.y.cols(), [&](int64_t n, int64_t begin, int64_t end) {
      const Row x(a.x, n, begin), residual(has_residual ? a.residual : a.x, n, begin), y(a.y, n, begin);
      const AnyRow factors(a.factors, 0, begin), bias(has_bias ? a.bias : a.factors, 0, begin);
      for_vectors(end - begin, [&](int64_t i, int count) {
        f32v value = x.load(i, count) * factors.load(i, count);
        if (has_bias) value += bias.load(i, count);
        if (has_residual) value += residual.load(i, count);
        y.store(i, value, count);
      });
    });
  });
}

constexpr int64_t kRowBlock = 256;

// One column vector of sums per work item, in the order of the rows, in blocks that bound the rounding error.
void column_dot(const ColumnDot& a, Context&) {
  require_float(a.kName, "a", a.a);
  require_float(a.kName, "b", a.b);
  require_f32(a.kName, "factors", a.factors);
  require_f32(a.kName, "out", a.out);
  const int64_t rows = a.a.rows(), cols = a.a.cols();
  const Tensor* const wide[] = {&a.a, &a.b};
  with_row_type(wide, [&](auto row_type) {
    using Row = typename decltype(row_type)::Type;
    ThreadPool::instance().run(ceil_div(cols, simd::kLanes), [&](int64_t item, int) {
      const int64_t col = item * simd::kLanes;
      const int count = static_cast<int>(min64(simd::kLanes, cols - col));
      f32v total = simd::zero();
      for (int64_t n0 = 0; n0 < rows; n0 += kRowBlock) {
        f32v sum = simd::zero();
        for (int64_t n = n0; n < min64(rows, n0 + kRowBlock); ++n)
          sum += Row(a.a, n, col).load(0, count) * Row(a.b, n, col).load(0, count);
        total += sum;
      }
      if (a.factors.present) total = total * load_n(a.factors.as<float>() + col, count);
      float* out = a.out.as<float>() + col;
      store_n(out, load_n(out, count) + total, count);
    });
  });
}

}  // namespace nft::cpu::NFT_ISA
