#include "../../ops/low_rank_basis.h"

#include <algorithm>
#include <numeric>

#include "../../core/context.h"
#include "low_rank.h"

namespace nft::ref {

// Turns pairs of rows of g until all are orthogonal to each other (Hestenes 1958), and the rows of u along: then g = u^T g0,
// the squares of the rows of g are those of the singular values, and the rows of u the singular vectors.
static void orthogonalize(Matrix& g, Matrix& u) {
  for (int sweep = 0, turned = 1; turned && sweep < 60; ++sweep) {
    turned = 0;
    for (int64_t p = 0; p < g.rows; ++p)
      for (int64_t q = p + 1; q < g.rows; ++q) {
        double pp = 0, qq = 0, pq = 0;
        for (int64_t j = 0; j < g.cols; ++j) {
          pp += g(p, j) * g(p, j);
          qq += g(q, j) * g(q, j);
          pq += g(p, j) * g(q, j);
        }
        if (!(std::fabs(pq) > 1e-16 * std::sqrt(pp * qq))) continue;
        turned = 1;
        const double tau = (qq - pp) / (2 * pq);
        const double t = (tau < 0 ? -1 : 1) / (std::fabs(tau) + std::sqrt(1 + tau * tau));
        const double c = 1 / std::sqrt(1 + t * t), s = c * t;
        for (Matrix* m : {&g, &u})
          for (int64_t j = 0; j < m->cols; ++j) {
            const double x = (*m)(p, j), y = (*m)(q, j);
            (*m)(p, j) = c * x - s * y;
            (*m)(q, j) = s * x + c * y;
          }
      }
  }
}

void low_rank_basis(const LowRankBasis& a, Context&) {
  const LowRank s = a.sizes();
  // In a run of f64 the schedule is f64; beside a stored type it is f32.
  const bool wide = !a.schedule.present || a.schedule.dtype == DType::f64;
  if (!(wide ? a.is_due<double>() : a.is_due<float>())) return;
  Matrix g = s.is_right() ? transposed(load(a.grad)) : load(a.grad);
  Matrix u(g.rows, g.rows);
  for (int64_t i = 0; i < g.rows; ++i) u(i, i) = 1;
  orthogonalize(g, u);

  std::vector<double> values(static_cast<size_t>(g.rows));
  for (int64_t i = 0; i < g.rows; ++i)
    for (int64_t j = 0; j < g.cols; ++j) values[static_cast<size_t>(i)] += g(i, j) * g(i, j);
  std::vector<int64_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t x, int64_t y) { return values[static_cast<size_t>(x)] > values[static_cast<size_t>(y)]; });

  Matrix basis(s.rank, s.side());
  for (int64_t i = 0; i < s.rank; ++i) {
    const int64_t row = order[static_cast<size_t>(i)];
    double largest = 0;
    for (int64_t j = 0; j < s.side(); ++j)
      if (std::fabs(u(row, j)) > std::fabs(largest)) largest = u(row, j);
    for (int64_t j = 0; j < s.side(); ++j) basis(i, j) = largest < 0 ? -u(row, j) : u(row, j);
  }

  if (wide) {
    a.advance_schedule(basis.data.data());
  } else {
    const std::vector<float> row(basis.data.begin(), basis.data.begin() + s.side());
    a.advance_schedule(row.data());
  }
  if (a.basis.dtype != DType::u8) return store(a.basis, basis);
  for (int64_t i = 0; i < s.basis_elements(); i += updates::kInt4Group) {
    const int64_t group = i / updates::kInt4Group, n = std::min(updates::kInt4Group, s.basis_elements() - i);
    double range[2];
    updates::encode_int4(&basis[i], n, a.basis.as<uint8_t>() + i / 2, range);
    set(a.ranges, 2 * group, range[0]);
    set(a.ranges, 2 * group + 1, range[1]);
  }
}

}  // namespace nft::ref
