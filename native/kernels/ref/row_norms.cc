#include "../../ops/row_norms.h"

#include <cmath>

#include "../../core/context.h"
#include "access.h"

namespace nft::ref {

void row_squares(const RowSquares& a, Context&) {
  for (int64_t m = 0; m < a.x.rows(); ++m) {
    double sum = 0;
    for (int64_t k = 0; k < a.x.cols(); ++k) sum += at(a.x, m, k) * at(a.x, m, k);
    set(a.out, m, sum);
  }
}

void dora_factors(const DoraFactors& a, Context&) {
  const int64_t rank = a.b.cols();
  for (int64_t m = 0; m < a.b.rows(); ++m) {
    double square = at(a.squares, m);
    for (int64_t r = 0; r < rank; ++r) {
      double row = 0;
      for (int64_t q = 0; q < rank; ++q) row += at(a.aa, r, q) * at(a.b, m, q);
      square += at(a.b, m, r) * (2 * a.scale * at(a.wa, r, m) + a.scale * a.scale * row);
    }
    const double inverse = square > 0 ? 1 / std::sqrt(square) : 0;
    set(a.factors, m, at(a.magnitude, m) * inverse);
    set(a.inverse_norms, m, inverse);
  }
}

}  // namespace nft::ref
