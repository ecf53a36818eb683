#pragma once
// SGD, and LOMO when it runs in the epilogue of the weight gradient (Lv et al. 2023, arXiv 2306.09782): no state.
//   g = clamp(grad_scale * grad);  w = w * (1 - lr * weight_decay) - lr * g
#include "../core/inline.h"

namespace nft::updates {

template <class T>
struct SgdRule {
  static constexpr int kStates = 0;
  T learning_rate, decay;  // decay = 1 - lr * weight_decay

  // T is f32 on the CPU, f64 on ref. state0 and state1 are the element's states, updated in place.
  NFT_MEMBER T apply(T w, T g, T& /*state0*/, T& /*state1*/) const { return w * decay - learning_rate * g; }
};

}  // namespace nft::updates
