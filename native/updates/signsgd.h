#pragma once
// SignSGD and Signum (Bernstein et al. 2018, arXiv 1802.04434, algorithms 1 and 2), with decoupled weight decay.
//   signsgd: w = w * (1 - lr * weight_decay) - lr * sign(g)
//   signum:  m = momentum * m + (1 - momentum) * g;  w = w * (1 - lr * weight_decay) - lr * sign(m)
// hyper0 momentum, state0 = m.
#include "../core/inline.h"
#include "../ops/fields.h"
#include "sign.h"

namespace nft::updates {

template <class T>
struct SignSgdRule {
  static constexpr int kStates = 0;
  T learning_rate, decay;

  static NFT_MEMBER SignSgdRule from(const UpdateRule& r) {
    return {static_cast<T>(r.learning_rate), static_cast<T>(1 - r.learning_rate * r.weight_decay)};
  }

  NFT_MEMBER T apply(T w, T g, T& /*state0*/, T& /*state1*/) const { return w * decay - learning_rate * sign(g); }
};

template <class T>
struct SignumRule {
  static constexpr int kStates = 1;
  T learning_rate, decay, momentum, one_minus_momentum;

  static NFT_MEMBER SignumRule from(const UpdateRule& r) {
    return {static_cast<T>(r.learning_rate), static_cast<T>(1 - r.learning_rate * r.weight_decay), static_cast<T>(r.hyper0),
            static_cast<T>(1 - r.hyper0)};
  }

  NFT_MEMBER T apply(T w, T g, T& m, T& /*state1*/) const {
    m = momentum * m + one_minus_momentum * g;
    return w * decay - learning_rate * sign(m);
  }
};

}  // namespace nft::updates
