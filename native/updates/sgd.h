#pragma once
// SGD, and LOMO when it runs in the epilogue of the weight gradient (Lv et al. 2023, arXiv 2306.09782): no state.
//   g = clamp(grad_scale * grad);  w = w * (1 - lr * weight_decay) - lr * g
#include "../core/inline.h"
#include "../ops/fields.h"

namespace nft::updates {

template <class T>
struct SgdRule {
  static constexpr int kStates = 0;
  T learning_rate, decay;  // decay = 1 - lr * weight_decay

  static NFT_MEMBER SgdRule from(const UpdateRule& r) {
    return {static_cast<T>(r.learning_rate), static_cast<T>(1 - r.learning_rate * r.weight_decay)};
  }

  // state0 and state1 are the element's states, updated in place.
  NFT_MEMBER T apply(T w, T g, T& /*state0*/, T& /*state1*/) const { return w * decay - learning_rate * g; }
};

}  // namespace nft::updates
