#pragma once
// SGD with momentum (Polyak 1964; with the gradient after the step, Nesterov's, Sutskever et al. 2013), in PyTorch's form
// without dampening. hyper0 momentum, hyper1 = 1 for Nesterov's.
//   m = momentum * m + g;  d = m, or g + momentum * m for Nesterov's;  w = w * (1 - lr * weight_decay) - lr * d
// state0 = m.
#include "../core/inline.h"
#include "../ops/fields.h"

namespace nft::updates {

template <class T>
struct MomentumRule {
  static constexpr int kStates = 1;
  T learning_rate, decay, momentum;
  bool nesterov;

  static NFT_MEMBER MomentumRule from(const UpdateRule& r) {
    return {static_cast<T>(r.learning_rate), static_cast<T>(1 - r.learning_rate * r.weight_decay), static_cast<T>(r.hyper0),
            r.hyper1 == 1};
  }

  NFT_MEMBER T apply(T w, T g, T& m, T& /*state1*/) const {
    m = momentum * m + g;
    return w * decay - learning_rate * (nesterov ? g + momentum * m : m);
  }
};

}  // namespace nft::updates
