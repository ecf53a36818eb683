#pragma once
// Optimizer states as doubles, whatever they are stored as: see updates/block_states.h.
#include <algorithm>
#include <cmath>
#include <vector>

#include "../../updates/block_states.h"
#include "access.h"

namespace nft::ref {

inline std::vector<double> load_state(const Tensor& state, const Tensor& absmax, int index) {
  std::vector<double> x(static_cast<size_t>(state.present ? state.num_elements() : 0));
  for (size_t k = 0; k < x.size(); ++k) {
    const int64_t i = static_cast<int64_t>(k);
    x[k] = at(state, i);
    if (updates::is_coded(state))
      x[k] = updates::decode_state(updates::map_of(index), static_cast<uint8_t>(x[k]), at(absmax, i / updates::kStateBlock));
  }
  return x;
}

inline void store_state(const Tensor& state, const Tensor& absmax, int index, const std::vector<double>& x) {
  const int64_t n = static_cast<int64_t>(x.size());
  if (!updates::is_coded(state)) {
    for (int64_t i = 0; i < n; ++i) set(state, i, x[static_cast<size_t>(i)]);
    return;
  }
  for (int64_t begin = 0; begin < n; begin += updates::kStateBlock) {
    const int64_t end = std::min(n, begin + updates::kStateBlock);
    double largest = 0;
    for (int64_t i = begin; i < end; ++i) largest = std::max(largest, std::fabs(x[static_cast<size_t>(i)]));
    set(absmax, begin / updates::kStateBlock, largest);
    for (int64_t i = begin; i < end; ++i)
      state.as<uint8_t>()[i] = updates::encode_state(updates::map_of(index), x[static_cast<size_t>(i)], largest);
  }
}

}  // namespace nft::ref
