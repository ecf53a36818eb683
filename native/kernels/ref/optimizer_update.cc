#include "../../ops/optimizer_update.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "../../core/context.h"
#include "../../core/rng.h"
#include "../../updates/all.h"
#include "../../updates/block_states.h"
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

// Elements of the weight whose states these are, in row-major order.
static std::vector<double> load_state(const UpdateRule& r, const Tensor& state, const Tensor& absmax, int index,
                                      int64_t count) {
  std::vector<double> x(static_cast<size_t>(state.present ? count : 0));
  if (!updates::is_coded(state)) {
    for (size_t i = 0; i < x.size(); ++i) x[i] = at(state, static_cast<int64_t>(i));
    return x;
  }
  updates::with_state_map(r.state_bits, index, [&](const auto& map) {
    for (int64_t i = 0; i < count; ++i) {
      const int code = updates::code_at(map, state.as<uint8_t>(), i);
      x[static_cast<size_t>(i)] = static_cast<double>(map.value[code]) * at(absmax, i / map.kBlock);
    }
  });
  return x;
}

static void store_state(const UpdateRule& r, const Tensor& state, const Tensor& absmax, int index,
                        const std::vector<double>& x) {
  const int64_t n = static_cast<int64_t>(x.size());
  if (!updates::is_coded(state)) {
    for (int64_t i = 0; i < n; ++i) set(state, i, x[static_cast<size_t>(i)]);
    return;
  }
  updates::with_state_map(r.state_bits, index, [&](const auto& map) {
    for (int64_t begin = 0; begin < n; begin += map.kBlock) {
      const int64_t end = std::min(n, begin + map.kBlock);
      double largest = 0;
      for (int64_t i = begin; i < end; ++i) largest = std::max(largest, std::fabs(x[static_cast<size_t>(i)]));
      set(absmax, begin / map.kBlock, largest);
      for (int64_t i = begin; i < end; ++i)
        updates::set_code(map, state.as<uint8_t>(), i, updates::encode_state(map, x[static_cast<size_t>(i)], largest));
    }
  });
}

void update(const UpdateRule& r, const Tensor& weight, const Matrix& grad) {
  updates::with_rule<double>(r, [&](const auto& rule) {
    const int64_t count = weight.num_elements();
    std::vector<double> state0 = load_state(r, r.state0, r.absmax0, 0, count);
    std::vector<double> state1 = load_state(r, r.state1, r.absmax1, 1, count);
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
    if (rule.kStates > 0) store_state(r, r.state0, r.absmax0, 0, state0);
    if (rule.kStates > 1) store_state(r, r.state1, r.absmax1, 1, state1);
  });
}

void optimizer_update(const OptimizerUpdate& a, Context&) { update(a.rule, a.weight, load(a.grad)); }

}  // namespace nft::ref
