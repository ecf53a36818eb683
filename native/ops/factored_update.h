#pragma once
// weight = update(weight, grad) in place by Adafactor with factored second moments (Shazeer & Stern 2018, arXiv 1804.04235,
// algorithms 4 and 6, without momentum), which is AdaLomo's rule too (Lv et al. 2023, arXiv 2310.10195, algorithm 1):
//   g = grad_scale * grad;  s = g^2 + eps1
//   row[i] = beta2 row[i] + (1 - beta2) mean_j s[i, j];   col[j] = beta2 col[j] + (1 - beta2) mean_i s[i, j]
//   u[i, j] = g[i, j] / sqrt(row[i] / mean(row) * col[j]);   u /= max(1, RMS(u) / clip_threshold)
//   a = learning_rate, times max(eps2, RMS(weight)) when scale_parameter = 1
//   weight = weight * (1 - a * weight_decay) - a * u
// weight, grad [M, K]; row [M] and col [K] f32 (f64 on ref). Without row the weight is a vector, and col its whole second
// moment: u = g / sqrt(col). beta2 is that of the step, 1 - step^-0.8 in both papers' code. grad f32 (f64 on ref).
#include "state.h"

namespace nft {

struct FactoredUpdate {
  static constexpr const char* kName = "factored_update";
  Tensor weight, grad, row, col;
  double learning_rate = 0, weight_decay = 0, grad_scale = 1;
  double beta2 = 0, eps1 = 1e-30, eps2 = 1e-3, clip_threshold = 1;
  int64_t scale_parameter = 1;
  int64_t seed = 0;  // as in UpdateRule
  int64_t stochastic_rounding = 0;
  template <class V>
  void fields(V& v) {
    v.tensor("weight", Access::inout, weight);
    v.tensor("grad", Access::in, grad);
    v.tensor_optional("row", Access::inout, row);
    v.tensor("col", Access::inout, col);
    v.real("learning_rate", learning_rate);
    v.real("weight_decay", weight_decay);
    v.real("grad_scale", grad_scale);
    v.real("beta2", beta2);
    v.real("eps1", eps1);
    v.real("eps2", eps2);
    v.real("clip_threshold", clip_threshold);
    v.integer("scale_parameter", scale_parameter);
    v.integer("seed", seed);
    v.integer("stochastic_rounding", stochastic_rounding);
  }
  void check() const {
    check::updated(kName, weight, grad);
    check::that(row.present || weight.rows() == 1, kName, "row", "given for a weight of several rows");
    if (row.present) {
      check::accumulator(kName, "row", row);
      check::shape(kName, "row", row, weight.rows());
    }
    check::accumulator(kName, "col", col);
    check::shape(kName, "col", col, weight.cols());
    check::that(clip_threshold > 0, kName, "clip_threshold", "above 0");
  }
};

}  // namespace nft
