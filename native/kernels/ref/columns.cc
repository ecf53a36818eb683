#include "../../ops/columns.h"

#include "../../core/context.h"
#include "access.h"

namespace nft::ref {

void scale_columns(const ScaleColumns& a, Context&) {
  for (int64_t n = 0; n < a.y.rows(); ++n)
    for (int64_t m = 0; m < a.y.cols(); ++m) {
      double y = at(a.x, n, m) * at(a.factors, m);
      if (a.bias.present) y += at(a.bias, m);
      if (a.residual.present) y += at(a.residual, n, m);
      set(a.y, n, m, y);
    }
}

void column_dot(const ColumnDot& a, Context&) {
  for (int64_t m = 0; m < a.a.cols(); ++m) {
    double sum = 0;
    for (int64_t n = 0; n < a.a.rows(); ++n) sum += at(a.a, n, m) * at(a.b, n, m);
    set(a.out, m, at(a.out, m) + (a.factors.present ? at(a.factors, m) : 1) * sum);
  }
}

}  // namespace nft::ref
