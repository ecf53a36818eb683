#pragma once
// weight = (weight + shift * z) * decay + step * z in place, z[i] the standard normal number of (seed, i): the perturbations
// and the update of simultaneous perturbation (Spall 1992; MeZO, Malladi et al. 2023, arXiv 2305.17333, algorithm 1), where
// z is never stored. z is that of random_fill with kind 1. weight f32 (f64 on ref): in 16 bits a perturbation could not be
// taken back.
#include "fields.h"

namespace nft {

struct Perturb {
  static constexpr const char* kName = "perturb";
  Tensor weight;
  double shift = 0, decay = 1, step = 0;
  int64_t seed = 0;
  template <class V>
  void fields(V& v) {
    v.tensor("weight", Access::inout, weight);
    v.real("shift", shift);
    v.real("decay", decay);
    v.real("step", step);
    v.integer("seed", seed);
  }
  void check() const {
    check::accumulator(kName, "weight", weight);
    check::contiguous(kName, "weight", weight);
  }
};

}  // namespace nft
