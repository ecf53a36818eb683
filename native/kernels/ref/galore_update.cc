#include "../../ops/galore_update.h"

#include "../../core/context.h"
#include "low_rank.h"

namespace nft::ref {

void galore_update(const GaloreUpdate& a, Context&) {
  const LowRank s = a.sizes();
  const Matrix basis = load_basis(s, a.basis, a.ranges);
  const Matrix u = project_back(s, adam_step(s, a.adam, project(s, load(a.grad), basis)), basis);
  const double rate = a.adam.learning_rate, decay = 1 - rate * a.adam.weight_decay;
  for (int64_t i = 0; i < s.rows * s.cols; ++i)
    store_weight(a.weight, a.adam.stochastic_rounding, a.adam.seed, i, (at(a.weight, i) - rate * a.scale * u[i]) * decay);
}

}  // namespace nft::ref
