#include "../../ops/apollo_update.h"

#include <algorithm>

#include "../../core/context.h"
#include "low_rank.h"
#include "normal.h"

namespace nft::ref {

void apollo_update(const ApolloUpdate& a, Context&) {
  const LowRank s = a.sizes();
  Matrix basis(s.rank, s.side());
  for (int64_t i = 0; i < s.basis_elements(); ++i)
    basis[i] =
        normal(static_cast<uint64_t>(a.basis_seed), static_cast<uint64_t>(i)) / std::sqrt(static_cast<double>(s.rank));
  Matrix u = load(a.grad);
  for (double& x : u.data) x *= a.adam.grad_scale;
  const Matrix raw = project(s, load(a.grad), basis), n = adam_step(s, a.adam, raw);

  // Squares of N and R by what shares a factor.
  const int64_t count = a.tensor_wise ? 1 : s.long_side();
  std::vector<double> n_squares(static_cast<size_t>(count)), r_squares(static_cast<size_t>(count));
  const auto group = [&](int64_t row, int64_t col) {
    return static_cast<size_t>(a.tensor_wise ? 0 : s.is_right() ? row : col);
  };
  for (int64_t i = 0; i < n.rows; ++i)
    for (int64_t j = 0; j < n.cols; ++j) {
      n_squares[group(i, j)] += n(i, j) * n(i, j);
      r_squares[group(i, j)] += raw(i, j) * raw(i, j);
    }
  const double c = a.adam.correction();
  double squares = 0;
  for (int64_t i = 0; i < s.rows; ++i)
    for (int64_t j = 0; j < s.cols; ++j) {
      const size_t k = group(i, j);
      u(i, j) *= std::sqrt(n_squares[k]) / c / (std::fabs(a.adam.grad_scale) * std::sqrt(r_squares[k]) + a.kEps);
      squares += u(i, j) * u(i, j);
    }
  const double norm = std::sqrt(squares), before = at(a.previous, 0);
  const double limit = before > 0 ? std::max(norm / (before + a.kEps), a.kGrowth) / a.kGrowth : 1;
  set(a.previous, 0, norm / limit);

  const double rate = a.adam.learning_rate, decay = 1 - rate * a.adam.weight_decay;
  const double step = rate * c * std::sqrt(a.scale) / limit;
  for (int64_t i = 0; i < s.rows * s.cols; ++i)
    store_weight(a.weight, a.adam.stochastic_rounding, a.adam.seed, i, (at(a.weight, i) - step * u[i]) * decay);
}

}  // namespace nft::ref
