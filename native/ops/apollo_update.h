#pragma once
// weight = update(weight, grad) in place by APOLLO (Zhu et al. 2024, arXiv 2412.05270, algorithm 1): the gradient, scaled
// row by row or column by column as Adam scales its projection R by a random basis; see low_rank.h for R, N and c.
//   basis [rank, S]: normal numbers of basis_seed with variance 1 / rank, made anew in every call
//   f = |N| / (|R| + 1e-8) along the projected side, one number a row where M >= K, else a column; of all of R where
//   tensor_wise = 1
//   U = f G;  l = max(|U| / (previous + 1e-8), 1.01) / 1.01, but 1 where previous is 0;  U /= l;  previous = |U|
//   weight = (weight - learning_rate c sqrt(scale) U) (1 - learning_rate * weight_decay)
// G = grad_scale * grad. weight, grad [M, K], grad f32 (f64 on ref); previous [1] f32 (f64 on ref): the norm-growth
// limiter's memory.
#include "low_rank.h"

namespace nft {

struct ApolloUpdate {
  static constexpr const char* kName = "apollo_update";
  static constexpr double kGrowth = 1.01, kEps = 1e-8;
  Tensor weight, grad, previous;
  LowRankAdam adam;
  double scale = 1;
  int64_t rank = 1, tensor_wise = 0, basis_seed = 0;
  template <class V>
  void fields(V& v) {
    v.tensor("weight", Access::inout, weight);
    v.tensor("grad", Access::in, grad);
    v.tensor("previous", Access::inout, previous);
    adam.fields(v);
    v.real("scale", scale);
    v.integer("rank", rank);
    v.integer("tensor_wise", tensor_wise);
    v.integer("basis_seed", basis_seed);
  }
  NFT_MEMBER LowRank sizes() const { return {weight, rank}; }
  void check() const {
    check::updated(kName, weight, grad);
    check::low_rank(kName, sizes(), grad);
    check::accumulator(kName, "previous", previous);
    check::shape(kName, "previous", previous, 1);
    check::that(scale > 0, kName, "scale", "above 0");
    adam.check(kName, sizes());
  }
};

}  // namespace nft
