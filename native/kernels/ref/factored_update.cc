#include "../../ops/factored_update.h"

#include <algorithm>
#include <cmath>

#include "../../core/context.h"
#include "access.h"
#include "update.h"

namespace nft::ref {

void factored_update(const FactoredUpdate& a, Context&) {
  Matrix g = load(a.grad), w = load(a.weight);
  const int64_t rows = g.rows, cols = g.cols, elements = rows * cols;
  if (elements == 0) return;
  Matrix row_sum(rows, 1), col_sum(cols, 1);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < cols; ++j) {
      g(i, j) *= a.grad_scale;
      const double s = g(i, j) * g(i, j) + a.eps1;
      row_sum[i] += s;
      col_sum[j] += s;
    }
  double row_mean = 0;
  if (a.row.present)
    for (int64_t i = 0; i < rows; ++i) {
      set(a.row, i, a.beta2 * at(a.row, i) + (1 - a.beta2) * row_sum[i] / static_cast<double>(cols));
      row_mean += at(a.row, i) / static_cast<double>(rows);
    }
  for (int64_t j = 0; j < cols; ++j)
    set(a.col, j, a.beta2 * at(a.col, j) + (1 - a.beta2) * col_sum[j] / static_cast<double>(rows));

  double u_squares = 0, w_squares = 0;
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < cols; ++j) {
      const double share = a.row.present ? at(a.row, i) / row_mean : 1;
      g(i, j) /= std::sqrt(share * at(a.col, j));
      u_squares += g(i, j) * g(i, j);
      w_squares += w(i, j) * w(i, j);
    }
  const double u_rms = std::sqrt(u_squares / static_cast<double>(elements));
  const double w_rms = std::sqrt(w_squares / static_cast<double>(elements));
  const double rate = a.learning_rate * (a.scale_parameter ? std::max(a.eps2, w_rms) : 1);
  const double step = rate / std::max(1.0, u_rms / a.clip_threshold);
  for (int64_t i = 0; i < elements; ++i)
    store_weight(a.weight, a.stochastic_rounding, a.seed, i, w[i] * (1 - rate * a.weight_decay) - step * g[i]);
}

}  // namespace nft::ref
