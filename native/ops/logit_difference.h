#pragma once
// How far two models are apart.
#include "fields.h"

namespace nft {

// out[0] += sum over rows of KL(softmax(p) || softmax(q)) = sum_v P_v (log P_v - log Q_v), in nats;
// out[1] = max(out[1], |p - q|). p, q [N, V] logits; out f64 [2]. Computed in f64.
struct LogitDifference {
  static constexpr const char* kName = "logit_difference";
  Tensor p, q, out;
  template <class V>
  void fields(V& v) {
    v.tensor("p", Access::in, p);
    v.tensor("q", Access::in, q);
    v.tensor("out", Access::inout, out);
  }
  void check() const {
    check::float_type(kName, "p", p);
    check::float_type(kName, "q", q);
    check::same_shape(kName, "q", q, "p", p);
    check::type(kName, "out", out, DType::f64);
    check::shape(kName, "out", out, 2);
  }
};

}  // namespace nft
