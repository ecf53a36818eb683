#include "../../ops/row_norms.h"
#include <cmath>
#include "../../core/context.h"
#include "rows.h"
#include "squares.h"

namespace nft::cpu::NFT_ISA {

void row_squares(const RowSquares& a, Context&) {
  require_float(a.kName, "x", a.x);
  require_f32(a.kName, "out", a.out);
  const int64_t rows = a.x.rows(), cols = a.x.cols(), item_rows = max64(1, kItemElements / max64(1, cols));
  ThreadPool::instance().run(ceil_div(rows, item_rows), [&](int64_t item, int) {
    alignas(64) float buffer[kTile];
    for (int64_t m = item * item_rows; m < min64(rows, (item + 1) * item_rows); ++m) {
      Squares sum;
      for (int64_t k = 0; k < cols; k += kTile) {
        const int64_t n = min64(kTile, cols - k);
        sum.add(load_tile(a.x, m, k, n, buffer), n);
      }
      a.out.as<float>()[m] = static_cast<float>(sum.total());
    }
  });
}

void dora_factors(const DoraFactors& a, Context&) {
  for (const Tensor* t : {&a.magnitude, &a.squares, &a.wa, &a.b, &a.aa, &a.factors, &a.inverse_norms})
    require_f32(a.kName, "every tensor", *t);
  const int64_t rows = a.b.rows(), rank = a.b.cols(), item_rows = max64(1, kItemElements / max64(1, rank * rank));
  ThreadPool::instance().run(ceil_div(rows, item_rows), [&](int64_t item, int) {
    for (int64_t m = item * item_rows; m < min64(rows, (item + 1) * item_rows); ++m) {
      const float* b = reinterpret_cast<const float*>(a.b.row(m));
      double square = a.squares.as<float>()[m];
      for (int64_t r = 0; r < rank; ++r) {
        const float* aa = reinterpret_cast<const float*>(a.aa.row(r));
        double row = 0;
        for (int64_t q = 0; q < rank; ++q) row += static_cast<double>(aa[q]) * b[q];
        square += b[r] * (2 * a.scale * reinterpret_cast<const float*>(a.wa.row(r))[m] + a.scale * a.scale * row);
      }
      const double inverse = square > 0 ? 1 / std::sqrt(square) : 0;
      a.factors.as<float>()[m] = static_cast<float>(a.magnitude.as<float>()[m] * inverse);
      a.inverse_norms.as<float>()[m] = static_cast<float>(inverse);
    }
  });
}

}  // namespace nft::cpu::NFT_ISA
