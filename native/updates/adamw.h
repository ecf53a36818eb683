#pragma once
// AdamW (Loshchilov & Hutter 2017, arXiv 1711.05101), in PyTorch's order of operations. hyper0 beta1, hyper1 beta2, hyper2
// eps.
//   w *= 1 - lr * weight_decay;  m += (g - m) * (1 - beta1);  v = v * beta2 + (1 - beta2) * g^2
//   w -= lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
// state0 = m, state1 = v.
#include <cmath>

#include "../core/inline.h"
#include "../ops/fields.h"

namespace nft::updates {

template <class T>
struct AdamwRule {
  static constexpr int kStates = 2;
  T decay, beta2, one_minus_beta1, one_minus_beta2, eps;
  T step_size;             // lr / (1 - beta1^t)
  T inv_sqrt_correction2;  // 1 / sqrt(1 - beta2^t)

  static NFT_MEMBER AdamwRule from(const UpdateRule& r) {
    const double t = static_cast<double>(r.step);
    AdamwRule rule;
    rule.decay = static_cast<T>(1 - r.learning_rate * r.weight_decay);
    rule.beta2 = static_cast<T>(r.hyper1);
    rule.one_minus_beta1 = static_cast<T>(1 - r.hyper0);
    rule.one_minus_beta2 = static_cast<T>(1 - r.hyper1);
    rule.eps = static_cast<T>(r.hyper2);
    rule.step_size = static_cast<T>(r.learning_rate / (1 - std::pow(r.hyper0, t)));
    rule.inv_sqrt_correction2 = static_cast<T>(1 / std::sqrt(1 - std::pow(r.hyper1, t)));
    return rule;
  }

  NFT_MEMBER T apply(T w, T g, T& m, T& v) const {
    m += (g - m) * one_minus_beta1;
    v = v * beta2 + one_minus_beta2 * g * g;
    return w * decay - step_size * m / (std::sqrt(v) * inv_sqrt_correction2 + eps);
  }
};

}  // namespace nft::updates
