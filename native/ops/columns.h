#pragma once
// Factors on the columns of a matrix, and their gradients.
#include "fields.h"

namespace nft {

// y[n, m] = x[n, m] * factors[m] [+ bias[m]] [+ residual[n, m]]. x, y [N, M]; factors, bias [M]. y may alias x or residual.
struct ScaleColumns {
  static constexpr const char* kName = "scale_columns";
  Tensor x, factors, bias, residual, y;
  template <class V>
  void fields(V& v) {
    v.tensor("x", Access::in, x);
    v.tensor("factors", Access::in, factors);
    v.tensor_optional("bias", Access::in, bias);
    v.tensor_optional("residual", Access::in, residual);
    v.tensor("y", Access::out, y);
  }
  void check() const {
    check::float_type(kName, "x", x);
    check::float_type(kName, "factors", factors);
    check::shape(kName, "factors", factors, x.cols());
    if (bias.present) {
      check::float_type(kName, "bias", bias);
      check::shape(kName, "bias", bias, x.cols());
    }
    if (residual.present) {
      check::float_type(kName, "residual", residual);
      check::same_shape(kName, "residual", residual, "x", x);
    }
    check::float_type(kName, "y", y);
    check::same_shape(kName, "y", y, "x", x);
  }
};

// out[m] += [factors[m] *] sum over rows of a[n, m] * b[n, m]: the gradient of the factors of scale_columns. a, b [N, M];
// factors [M]; out [M] f32 (f64 on ref).
struct ColumnDot {
  static constexpr const char* kName = "column_dot";
  Tensor a, b, factors, out;
  template <class V>
  void fields(V& v) {
    v.tensor("a", Access::in, a);
    v.tensor("b", Access::in, b);
    v.tensor_optional("factors", Access::in, factors);
    v.tensor("out", Access::inout, out);
  }
  void check() const {
    check::float_type(kName, "a", a);
    check::float_type(kName, "b", b);
    check::same_shape(kName, "b", b, "a", a);
    if (factors.present) {
      check::accumulator(kName, "factors", factors);
      check::shape(kName, "factors", factors, a.cols());
    }
    check::accumulator(kName, "out", out);
    check::shape(kName, "out", out, a.cols());
  }
};

}  // namespace nft
