#pragma once
// Root mean square norm over the last dimension (Zhang & Sennrich 2019, arXiv 1910.07467).
//   rstd = 1 / sqrt(mean(x^2) + eps);  y = x * rstd * (weight + weight_offset)
// x, y [N, C] float, rows may be strided; weight [C] float; rstd [N] f32 (f64 on ref), kept for backward.
// weight_offset: 0, or 1 for Gemma, which stores weight - 1. Statistics are accumulated in f32 (f64 on ref).
#include "fields.h"

namespace nft {

struct RmsNormForward {
  static constexpr const char* kName = "rms_norm_forward";
  Tensor x, weight, y, rstd;
  double eps = 1e-5, weight_offset = 0;
  template <class V>
  void fields(V& v) {
    v.tensor("x", Access::in, x);
    v.tensor("weight", Access::in, weight);
    v.tensor("y", Access::out, y);
    v.tensor_optional("rstd", Access::out, rstd);
    v.real("eps", eps);
    v.real("weight_offset", weight_offset);
  }
  void check() const {
    check::float_type(kName, "x", x);
    check::float_type(kName, "weight", weight);
    check::float_type(kName, "y", y);
    check::shape(kName, "weight", weight, x.cols());
    check::same_shape(kName, "y", y, "x", x);
    if (rstd.present) {
      check::accumulator(kName, "rstd", rstd);
      check::shape(kName, "rstd", rstd, x.rows());
    }
  }
};

// With xhat = x * rstd and g = dy * (weight + weight_offset):
//   dx = rstd * (g - xhat * mean(g * xhat)) [+ dresidual];  dweight += sum over rows of dy * xhat
// dx may alias dy or dresidual. dweight [C] f32 (f64 on ref) is left out while the weight is frozen.
struct RmsNormBackward {
  static constexpr const char* kName = "rms_norm_backward";
  Tensor dy, x, weight, rstd, dresidual, dx, dweight;
  double weight_offset = 0;
  template <class V>
  void fields(V& v) {
    v.tensor("dy", Access::in, dy);
    v.tensor("x", Access::in, x);
    v.tensor("weight", Access::in, weight);
    v.tensor("rstd", Access::in, rstd);
    v.tensor_optional("dresidual", Access::in, dresidual);
    v.tensor("dx", Access::out, dx);
    v.tensor_optional("dweight", Access::inout, dweight);
    v.real("weight_offset", weight_offset);
  }
  void check() const {
    check::float_type(kName, "dy", dy);
    check::float_type(kName, "x", x);
    check::float_type(kName, "weight", weight);
    check::same_shape(kName, "dy", dy, "x", x);
    check::float_type(kName, "dx", dx);
    check::same_shape(kName, "dx", dx, "x", x);
    check::shape(kName, "weight", weight, x.cols());
    check::accumulator(kName, "rstd", rstd);
    check::shape(kName, "rstd", rstd, x.rows());
    if (dresidual.present) {
      check::float_type(kName, "dresidual", dresidual);
      check::same_shape(kName, "dresidual", dresidual, "x", x);
    }
    if (dweight.present) {
      check::accumulator(kName, "dweight", dweight);
      check::shape(kName, "dweight", dweight, x.cols());
    }
  }
};

}  // namespace nft
