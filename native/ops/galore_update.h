#pragma once
// weight = update(weight, grad) in place by GaLore's Adam (Zhao et al. 2024, arXiv 2403.03507, algorithm 2): moments of the
// gradient's projection R only; see low_rank.h for R, N and c.
//   weight = (weight - learning_rate c scale back(N)) (1 - learning_rate * weight_decay)
// weight, grad [M, K], grad f32 (f64 on ref); basis: check::basis of low_rank.h.
#include "low_rank.h"

namespace nft {

struct GaloreUpdate {
  static constexpr const char* kName = "galore_update";
  Tensor weight, grad, basis, ranges;
  LowRankAdam adam;
  double scale = 1;
  int64_t rank = 1;
  template <class V>
  void fields(V& v) {
    v.tensor("weight", Access::inout, weight);
    v.tensor("grad", Access::in, grad);
    v.tensor("basis", Access::in, basis);
    v.tensor_optional("ranges", Access::in, ranges);
    adam.fields(v);
    v.real("scale", scale);
    v.integer("rank", rank);
  }
  NFT_MEMBER LowRank sizes() const { return {weight, rank}; }
  void check() const {
    check::updated(kName, weight, grad);
    check::low_rank(kName, sizes(), grad);
    check::basis(kName, sizes(), basis, ranges);
    adam.check(kName, sizes());
  }
};

}  // namespace nft
