#pragma once
// Lion (Chen et al. 2023, arXiv 2302.06675, algorithm 2). hyper0 beta1, hyper1 beta2.
//   w = w * (1 - lr * weight_decay) - lr * sign(beta1 * m + (1 - beta1) * g);  m = beta2 * m + (1 - beta2) * g
// state0 = m.
#include "../core/inline.h"
#include "../ops/fields.h"
#include "sign.h"

namespace nft::updates {

template <class T>
struct LionRule {
  static constexpr int kStates = 1;
  T learning_rate, decay, beta1, one_minus_beta1, beta2, one_minus_beta2;

  static NFT_MEMBER LionRule from(const UpdateRule& r) {
    LionRule rule;
    rule.learning_rate = static_cast<T>(r.learning_rate);
    rule.decay = static_cast<T>(1 - r.learning_rate * r.weight_decay);
    rule.beta1 = static_cast<T>(r.hyper0);
    rule.one_minus_beta1 = static_cast<T>(1 - r.hyper0);
    rule.beta2 = static_cast<T>(r.hyper1);
    rule.one_minus_beta2 = static_cast<T>(1 - r.hyper1);
    return rule;
  }

  NFT_MEMBER T apply(T w, T g, T& m, T& /*state1*/) const {
    const T direction = sign(beta1 * m + one_minus_beta1 * g);
    m = beta2 * m + one_minus_beta2 * g;
    return w * decay - learning_rate * direction;
  }
};

}  // namespace nft::updates
