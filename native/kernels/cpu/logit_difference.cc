// Distance of two models: see ops/logit_difference.h.
#include "../../ops/logit_difference.h"

#include <cmath>

#include "../../core/context.h"
#include "rows.h"

namespace nft::cpu::NFT_ISA {

namespace {

struct RowDifference {
  double divergence, largest;
};

// With a = p - max p and b = q - max q:  KL = sum exp(a) (a - b) / sum exp(a) - log sum exp(a) + log sum exp(b).
RowDifference row_difference(const LogitDifference& args, int64_t row) {
  alignas(64) float p_buffer[kTile], q_buffer[kTile];
  const int64_t cols = args.p.cols();
  const auto for_elements = [&](auto&& f) {
    for (int64_t col = 0; col < cols; col += kTile) {
      const int64_t n = min64(kTile, cols - col);
      const float *p = load_tile(args.p, row, col, n, p_buffer), *q = load_tile(args.q, row, col, n, q_buffer);
      for (int64_t i = 0; i < n; ++i) f(static_cast<double>(p[i]), static_cast<double>(q[i]));
    }
  };
  double p_max = -INFINITY, q_max = -INFINITY, largest = 0;
  for_elements([&](double p, double q) {
    p_max = p_max < p ? p : p_max;
    q_max = q_max < q ? q : q_max;
    const double distance = p < q ? q - p : p - q;
    largest = largest < distance ? distance : largest;
  });
  double p_sum = 0, q_sum = 0, weighted = 0;
  for_elements([&](double p, double q) {
    const double a = p - p_max, b = q - q_max, e = exp(a);
    p_sum += e;
    q_sum += exp(b);
    weighted += e * (a - b);
  });
  return {weighted / p_sum - log(p_sum) + log(q_sum), largest};
}

}  // namespace

size_t logit_difference_workspace(const LogitDifference& a, const Context&) {
  return static_cast<size_t>(a.p.rows()) * sizeof(RowDifference);
}

void logit_difference(const LogitDifference& a, Context& c) {
  require_float(a.kName, "p", a.p);
  require_float(a.kName, "q", a.q);
  RowDifference* of_row = static_cast<RowDifference*>(c.workspace);
  if (a.p.cols() == 0) return;
  ThreadPool::instance().run(a.p.rows(), [&](int64_t row, int) { of_row[row] = row_difference(a, row); });
  double* out = a.out.as<double>();
  for (int64_t row = 0; row < a.p.rows(); ++row) {
    out[0] += of_row[row].divergence;
    out[1] = out[1] < of_row[row].largest ? of_row[row].largest : out[1];
  }
}

}  // namespace nft::cpu::NFT_ISA
