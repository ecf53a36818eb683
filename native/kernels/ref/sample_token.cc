#include "../../ops/sample_token.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "../../core/context.h"
#include "../../core/rng.h"
#include "access.h"

namespace nft::ref {

void sample_token(const SampleToken& a, Context&) {
  const size_t V = static_cast<size_t>(a.logits.cols());
  for (int64_t n = 0; n < a.logits.rows(); ++n) {
    const auto logit = [&](int64_t v) { return at(a.logits, n, v); };
    bool finite = true;
    for (int64_t v = 0; v < a.logits.cols(); ++v) finite = finite && !std::isnan(logit(v));
    std::vector<int64_t> order(V);
    std::iota(order.begin(), order.end(), 0);
    if (finite) std::stable_sort(order.begin(), order.end(), [&](int64_t i, int64_t j) { return logit(i) > logit(j); });
    if (!finite || std::isinf(logit(order[0])))
      fail("ERR_NONFINITE_LOSS", "[sample_token] row " + std::to_string(n) + " of logits is not finite");
    if (a.temperature == 0) {
      set(a.token, n, static_cast<double>(order[0]));
      continue;
    }
    const size_t kept = a.top_k > 0 ? std::min(V, static_cast<size_t>(a.top_k)) : V;
    std::vector<double> cumulative(kept);  // up to a factor
    double sum = 0;
    for (size_t i = 0; i < kept; ++i) cumulative[i] = sum += std::exp((logit(order[i]) - logit(order[0])) / a.temperature);
    size_t nucleus = 1;  // tokens until top_p is reached
    while (nucleus < kept && cumulative[nucleus - 1] < a.top_p * sum) ++nucleus;
    const double drawn = rng::uniform(static_cast<uint64_t>(a.seed), static_cast<uint64_t>(n)) * cumulative[nucleus - 1];
    size_t i = 0;
    while (i + 1 < nucleus && cumulative[i] <= drawn) ++i;
    set(a.token, n, static_cast<double>(order[i]));
  }
}

}  // namespace nft::ref
