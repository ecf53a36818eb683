// weight = update(weight, grad): see ops/optimizer_update.h and native/updates/. Arithmetic in f32.
#include "../../ops/optimizer_update.h"

#include "../../core/context.h"
#include "../../updates/all.h"
#include "rows.h"
#include "squares.h"
#include "state_tile.h"
#include "update.h"
#include "weight_tile.h"

namespace nft::cpu::NFT_ISA {

namespace {

template <class Rule>
void update_tile(const UpdateRule& r, const Rule& rule, const Tensor& weight, int64_t first, int64_t n, const float* grad) {
  alignas(64) float w[kTile], state0[kTile], state1[kTile];
  load_weight(weight, first, n, w);
  if (Rule::kStates > 0) load_state(r.state0, r.absmax0, r.state_bits, 0, first, n, state0);
  if (Rule::kStates > 1) load_state(r.state1, r.absmax1, r.state_bits, 1, first, n, state1);
  for (int64_t i = 0; i < n; ++i) {
    float unused0 = 0, unused1 = 0;
    float& s0 = Rule::kStates > 0 ? state0[i] : unused0;
    float& s1 = Rule::kStates > 1 ? state1[i] : unused1;
    w[i] = rule.apply(w[i], updates::update_gradient<float>(r, grad[i]), s0, s1);
  }
  if (Rule::kStates > 0) store_state(r.state0, r.absmax0, r.state_bits, 0, first, n, state0);
  if (Rule::kStates > 1) store_state(r.state1, r.absmax1, r.state_bits, 1, first, n, state1);
  store_weight(weight, r.stochastic_rounding, r.seed, first, n, w);
}

// sum += the squares of grad, in the order of its items: 64 partial sums at a time.
void add_squares(const float* grad, int64_t count, double& sum) {
  constexpr int64_t kSums = 64;
  for (int64_t begin = 0; begin < count; begin += kSums * kItemElements) {
    double partial[kSums];
    const int64_t items = min64(kSums, ceil_div(count - begin, kItemElements));
    ThreadPool::instance().run(items, [&](int64_t item, int) {
      const int64_t at = begin + item * kItemElements;
      Squares squares;
      squares.add(grad + at, min64(kItemElements, count - at));
      partial[item] = squares.total();
    });
    for (int64_t i = 0; i < items; ++i) sum += partial[i];
  }
}

}  // namespace

void update_range(const UpdateRule& r, const Tensor& weight, int64_t first, int64_t count, const float* grad) {
  if (r.grad_squares.present) add_squares(grad, count, *r.grad_squares.as<double>());
  updates::with_rule<float>(r, [&](const auto& rule) {
    ThreadPool::instance().run(ceil_div(count, kItemElements), [&](int64_t item, int) {
      const int64_t end = min64(count, (item + 1) * kItemElements);
      for (int64_t i = item * kItemElements; i < end; i += kTile)
        update_tile(r, rule, weight, first + i, min64(kTile, end - i), grad + i);
    });
  });
}

void require_update(const char* op, const UpdateRule& rule, const Tensor& weight) {
  require_float(op, "weight", weight);
  if (!updates::is_coded(rule.state0)) require_float(op, "state0", rule.state0);
  if (!updates::is_coded(rule.state1)) require_float(op, "state1", rule.state1);
  require_f32(op, "absmax0", rule.absmax0);
  require_f32(op, "absmax1", rule.absmax1);
}

int64_t update_row_multiple(const UpdateRule& rule, const Tensor& weight) {
  if (!updates::is_coded(rule.state0) && !updates::is_coded(rule.state1)) return 1;
  const int64_t block = updates::state_block(rule.state_bits);
  int64_t rows = block;
  while (rows > 1 && rows / 2 * weight.cols() % block == 0) rows /= 2;
  return rows;
}

void optimizer_update(const OptimizerUpdate& a, Context&) {
  require_update(a.kName, a.rule, a.weight);
  require_f32(a.kName, "grad", a.grad);
  update_range(a.rule, a.weight, 0, a.weight.num_elements(), a.grad.as<float>());
}

}  // namespace nft::cpu::NFT_ISA
