#pragma once
// weight = update(weight, grad) in place by Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon), whose step
// is an approximately orthogonal matrix in place of the momentum:
//   g = grad_scale * grad;  m += (1 - beta) (g - m);  u = nesterov ? g + beta (m - g) : m, or g without a momentum
//   X = u / (|u|_F + eps);  `iterations` times: A = X X^T, X = a X + (b A + c A A) X, with a, b, c = kA, kB, kC
//   weight = weight (1 - learning_rate * weight_decay) - learning_rate * scale * X
// X^T X is used instead where the matrix has more rows than columns, which is the same X. weight, grad [M, K], grad f32 (f64
// on ref); state0 = m [M, K] f32, bf16 (f64 on ref) or u8: codes of updates/block_states.h with absmax0. in_bf16 = 1: X and
// the products of the iteration are stored in bf16, as in the published code, summed in f32.
#include "state.h"

namespace nft {

struct MuonUpdate {
  static constexpr const char* kName = "muon_update";
  Tensor weight, grad, state0, absmax0;
  double learning_rate = 0, weight_decay = 0, grad_scale = 1, beta = 0, scale = 1, eps = 1e-7;
  int64_t state_bits = 8;  // as in UpdateRule
  int64_t nesterov = 1, iterations = 5, in_bf16 = 0;
  int64_t seed = 0;  // as in UpdateRule
  int64_t stochastic_rounding = 0;
  static constexpr double kA = 3.4445, kB = -4.7750, kC = 2.0315;  // for steepness at 0: singular values end in 0.7 ... 1.2
  template <class V>
  void fields(V& v) {
    v.tensor("weight", Access::inout, weight);
    v.tensor("grad", Access::in, grad);
    v.tensor_optional("state0", Access::inout, state0);
    v.tensor_optional("absmax0", Access::inout, absmax0);
    v.integer("state_bits", state_bits);
    v.real("learning_rate", learning_rate);
    v.real("weight_decay", weight_decay);
    v.real("grad_scale", grad_scale);
    v.real("beta", beta);
    v.real("scale", scale);
    v.real("eps", eps);
    v.integer("nesterov", nesterov);
    v.integer("iterations", iterations);
    v.integer("in_bf16", in_bf16);
    v.integer("seed", seed);
    v.integer("stochastic_rounding", stochastic_rounding);
  }
  void check() const {
    check::updated(kName, weight, grad);
    check::state(kName, "state0", state0, "absmax0", absmax0, state_bits, weight);
    check::that(eps > 0, kName, "eps", "above 0");
    check::that(iterations >= 1, kName, "iterations", "1 or more");
  }
};

}  // namespace nft
