#include "../../ops/logit_difference.h"

#include <cmath>

#include "../../core/context.h"
#include "access.h"
#include "log_sum_exp.h"

namespace nft::ref {

void logit_difference(const LogitDifference& a, Context&) {
  const int64_t v = a.p.cols();
  double divergence = at(a.out, 0), largest = at(a.out, 1);
  for (int64_t n = 0; n < a.p.rows(); ++n) {
    std::vector<double> p, q;
    for (int64_t i = 0; i < v; ++i) {
      p.push_back(at(a.p, n, i));
      q.push_back(at(a.q, n, i));
    }
    const double of_p = log_sum_exp(p), of_q = log_sum_exp(q);
    for (size_t i = 0; i < p.size(); ++i) {
      divergence += std::exp(p[i] - of_p) * ((p[i] - of_p) - (q[i] - of_q));
      largest = std::fmax(largest, std::fabs(p[i] - q[i]));
    }
  }
  set(a.out, 0, divergence);
  set(a.out, 1, largest);
}

}  // namespace nft::ref
