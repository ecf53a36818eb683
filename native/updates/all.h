#pragma once
// Every update rule, and the dispatch from UpdateRule::kind to one. A rule is a template on the arithmetic type T (f32 on
// the CPU, f64 on ref) with
//   static constexpr int kStates             how many of state0, state1 it needs
//   static Rule from(const UpdateRule&)      what the rule's header says hyper0..3 mean, prepared once per call
//   T apply(T w, T g, T& state0, T& state1)  the new weight; g comes from update_gradient
#include "adamw.h"
#include "lion.h"
#include "momentum.h"
#include "sgd.h"
#include "signsgd.h"

namespace nft::updates {

// g = clamp(grad_scale * grad, -clip_value, clip_value); clip_value 0 = no clamp. NaN stays NaN.
template <class T>
NFT_INLINE T update_gradient(const UpdateRule& rule, T grad) {
  const T g = static_cast<T>(rule.grad_scale) * grad, limit = static_cast<T>(rule.clip_value);
  if (!(limit > 0)) return g;
  return g < -limit ? -limit : g > limit ? limit : g;
}

// Calls f with the prepared rule of this kind; false for an unknown kind.
template <class T, class F>
NFT_INLINE bool with_rule(const UpdateRule& rule, F&& f) {
  int64_t kind = 0;
#define NFT_UPDATE(name, Rule) \
  if (rule.kind == kind++) {   \
    f(Rule<T>::from(rule));    \
    return true;               \
  }
#include "updates.def"
#undef NFT_UPDATE
  return false;
}

}  // namespace nft::updates
