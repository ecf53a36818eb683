#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace nft::ref {

// log sum exp z; -inf for no z.
inline double log_sum_exp(const std::vector<double>& z) {
  if (z.empty()) return -std::numeric_limits<double>::infinity();
  const double largest = *std::max_element(z.begin(), z.end());
  double sum = 0;
  for (double v : z) sum += std::exp(v - largest);
  return largest + std::log(sum);
}

}  // namespace nft::ref
