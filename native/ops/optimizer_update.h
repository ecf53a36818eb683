#pragma once
// weight = update(weight, grad) in place, element by element, with the rule of native/updates/. grad f32 (f64 on ref).
#include "fields.h"

namespace nft {

struct OptimizerUpdate {
  static constexpr const char* kName = "optimizer_update";
  Tensor weight, grad;
  UpdateRule rule;
  template <class V>
  void fields(V& v) {
    v.tensor("weight", Access::inout, weight);
    v.tensor("grad", Access::in, grad);
    rule.fields(v);
  }
  void check() const {
    check::accumulator(kName, "grad", grad);
    check::contiguous(kName, "grad", grad);
    check::same_shape(kName, "grad", grad, "weight", weight);
    rule.check(kName, weight);
  }
};

}  // namespace nft
