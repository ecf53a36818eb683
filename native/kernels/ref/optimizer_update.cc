#include "../../ops/optimizer_update.h"

#include "../../core/context.h"
#include "../../core/rng.h"
#include "../../updates/all.h"
#include "update.h"

namespace nft::ref {

static void store_weight(const UpdateRule& rule, const Tensor& weight, int64_t i, double value) {
  const uint32_t random = rng::bits16(static_cast<uint64_t>(rule.seed), static_cast<uint64_t>(i));
  if (rule.stochastic_rounding && weight.dtype == DType::bf16)
    weight.as<bf16_t>()[i] = f32_to_bf16_stochastic(static_cast<float>(value), random);
  else if (rule.stochastic_rounding && weight.dtype == DType::f16)
    weight.as<f16_t>()[i] = f32_to_f16_stochastic(static_cast<float>(value), random);
  else
    set(weight, i, value);
}

void update(const UpdateRule& r, const Tensor& weight, const Matrix& grad) {
  updates::with_rule<double>(r, [&](const auto& rule) {
    for (int64_t i = 0; i < weight.num_elements(); ++i) {
      double state0 = r.state0.present ? at(r.state0, i) : 0, state1 = r.state1.present ? at(r.state1, i) : 0;
      const double w = rule.apply(at(weight, i), updates::update_gradient<double>(r, grad[i]), state0, state1);
      if (rule.kStates > 0) set(r.state0, i, state0);
      if (rule.kStates > 1) set(r.state1, i, state1);
      store_weight(r, weight, i, w);
    }
  });
}

void optimizer_update(const OptimizerUpdate& a, Context&) { update(a.rule, a.weight, load(a.grad)); }

}  // namespace nft::ref
