// weight = update(weight, grad): see ops/optimizer_update.h and native/updates/. Arithmetic in f32.
#include "../../ops/optimizer_update.h"

#include "../../core/context.h"
#include "../../core/rng.h"
#include "../../updates/all.h"
#include "rows.h"
#include "update.h"

namespace nft::cpu::NFT_ISA {

namespace {

// y[0 .. n) = x, rounded up with the probability of what is cut off. Four elements share one 64-bit draw, lowest bits first.
void store_stochastic(const Tensor& weight, uint64_t seed, int64_t first, const float* x, int64_t n) {
  uint64_t draws[kTile / 4 + 1];
  const int64_t draw0 = first >> 2, draw_count = ((first + n - 1) >> 2) - draw0 + 1;
  for (int64_t i = 0; i < draw_count; ++i) draws[i] = rng::bits(seed, static_cast<uint64_t>(draw0 + i));
  uint16_t random[kTile + 8];
  std::memcpy(random, draws, static_cast<size_t>(draw_count) * sizeof(draws[0]));  // little-endian, as the file formats are
  const uint16_t* r = random + (first & 3);
  uint16_t* y = weight.as<uint16_t>() + first;
  if (weight.dtype == DType::bf16) {
    for_vectors(
        n, [&](int64_t i, int count) __attribute__((always_inline)) {
          const simd::u16v rounded =
              simd::to_bf16_stochastic(load_n(x + i, count), simd::widen(simd::load_u16(r + i, count)));
          simd::store_u16(y + i, rounded, count);
        });
  } else {
    for (int64_t i = 0; i < n; ++i) y[i] = f32_to_f16_stochastic(x[i], r[i]);
  }
}

// The tile's values as f32: copied, so that the loop over a rule reads and writes plain arrays.
void load_range(const Tensor& t, int64_t first, int64_t n, float* x) {
  load_f32(t.dtype, static_cast<const char*>(t.data) + first * element_bytes(t), x, n);
}
void store_range(const Tensor& t, int64_t first, int64_t n, const float* x) {
  store_f32(t.dtype, x, static_cast<char*>(t.data) + first * element_bytes(t), n);
}

template <class Rule>
void update_tile(const UpdateRule& r, const Rule& rule, const Tensor& weight, int64_t first, int64_t n, const float* grad) {
  alignas(64) float w[kTile], state0[kTile], state1[kTile];
  load_range(weight, first, n, w);
  if (Rule::kStates > 0) load_range(r.state0, first, n, state0);
  if (Rule::kStates > 1) load_range(r.state1, first, n, state1);
  for (int64_t i = 0; i < n; ++i) {
    float unused0 = 0, unused1 = 0;
    float& s0 = Rule::kStates > 0 ? state0[i] : unused0;
    float& s1 = Rule::kStates > 1 ? state1[i] : unused1;
    w[i] = rule.apply(w[i], updates::update_gradient<float>(r, grad[i]), s0, s1);
  }
  if (Rule::kStates > 0) store_range(r.state0, first, n, state0);
  if (Rule::kStates > 1) store_range(r.state1, first, n, state1);
  if (r.stochastic_rounding && weight.dtype != DType::f32)
    store_stochastic(weight, static_cast<uint64_t>(r.seed), first, w, n);
  else
    store_range(weight, first, n, w);
}

}  // namespace

void update_range(const UpdateRule& r, const Tensor& weight, int64_t first, int64_t count, const float* grad) {
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
  require_float(op, "state0", rule.state0);
  require_float(op, "state1", rule.state1);
}

void optimizer_update(const OptimizerUpdate& a, Context&) {
  require_update(a.kName, a.rule, a.weight);
  require_f32(a.kName, "grad", a.grad);
  update_range(a.rule, a.weight, 0, a.weight.num_elements(), a.grad.as<float>());
}

}  // namespace nft::cpu::NFT_ISA
