#pragma once
#include <cmath>

#include "../../core/rng.h"

namespace nft::ref {

// The standard normal number of (key, i), by Box and Muller's formula.
inline double normal(uint64_t key, uint64_t i) {
  const uint64_t bits = rng::bits(key, i);
  const double u = static_cast<double>((bits >> 40) + 1) * 0x1p-24;
  const double v = static_cast<double>((bits >> 16) & 0xFFFFFF) * 0x1p-24;
  return std::sqrt(-2 * std::log(u)) * std::cos(2 * 3.14159265358979323846 * v);
}

}  // namespace nft::ref
