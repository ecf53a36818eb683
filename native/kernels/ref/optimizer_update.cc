#include "../../ops/optimizer_update.h"

#include <vector>

#include "../../core/context.h"
#include "../../core/rng.h"
#include "../../updates/all.h"
#include "states.h"
#include "update.h"

namespace nft::ref {

void store_weight(const Tensor& weight, int64_t stochastic_rounding, int64_t seed, int64_t i, double value) {
  const uint32_t random = rng::bits16(static_cast<uint64_t>(seed), static_cast<uint64_t>(i));
  if (stochastic_rounding && weight.dtype == DType::bf16)
    weight.as<bf16_t>()[i] = f32_to_bf16_stochastic(static_cast<float>(value), random);
  else if (stochastic_rounding && weight.dtype == DType::f16)
    weight.as<f16_t>()[i] = f32_to_f16_stochastic(static_cast<float>(value), random);
  else
    set(weight, i, value);
}

void update(const UpdateRule& r, const Tensor& weight, const Matrix& grad) {
  updates::with_rule<double>(r, [&](const auto& rule) {
    const int64_t count = weight.num_elements();
    std::vector<double> state0 = load_state(r.state0, r.absmax0, r.state_bits, 0, count);
    std::vector<double> state1 = load_state(r.state1, r.absmax1, r.state_bits, 1, count);
    double squares = 0;
    for (int64_t i = 0; i < count; ++i) {
      squares += grad[i] * grad[i];
      double unused0 = 0, unused1 = 0;
      double& s0 = rule.kStates > 0 ? state0[static_cast<size_t>(i)] : unused0;
      double& s1 = rule.kStates > 1 ? state1[static_cast<size_t>(i)] : unused1;
      store_weight(weight, r.stochastic_rounding, r.seed, i,
                   rule.apply(at(weight, i), updates::update_gradient<double>(r, grad[i]), s0, s1));
    }
    if (r.grad_squares.present) set(r.grad_squares, 0, at(r.grad_squares, 0) + squares);
    if (rule.kStates > 0) store_state(r.state0, r.absmax0, r.state_bits, 0, state0);
    if (rule.kStates > 1) store_state(r.state1, r.absmax1, r.state_bits, 1, state1);
  });
}

void optimizer_update(const OptimizerUpdate& a, Context&) { update(a.rule, a.weight, load(a.grad)); }

}  // namespace nft::ref
