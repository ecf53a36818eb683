#pragma once
// Optimizer states as doubles, whatever they are stored as: see updates/block_states.h.
#include <algorithm>
#include <cmath>
#include <vector>

#include "../../updates/block_states.h"
#include "access.h"

namespace nft::ref {

// count: elements of the weight whose states these are, in row-major order. bits: of the codes of a u8 state.
inline std::vector<double> load_state(const Tensor& state, const Tensor& absmax, int64_t bits, int index, int64_t count) {
  std::vector<double> x(static_cast<size_t>(state.present ? count : 0));
  if (!updates::is_coded(state)) {
    for (size_t i = 0; i < x.size(); ++i) x[i] = at(state, static_cast<int64_t>(i));
    return x;
  }
  updates::with_state_map(bits, index, [&](const auto& map) {
    for (int64_t i = 0; i < count; ++i) {
      const int code = updates::code_at(map, state.as<uint8_t>(), i);
      x[static_cast<size_t>(i)] = static_cast<double>(map.value[code]) * at(absmax, i / map.kBlock);
    }
  });
  return x;
}

inline void store_state(const Tensor& state, const Tensor& absmax, int64_t bits, int index, const std::vector<double>& x) {
  const int64_t n = static_cast<int64_t>(x.size());
  if (!updates::is_coded(state)) {
    for (int64_t i = 0; i < n; ++i) set(state, i, x[static_cast<size_t>(i)]);
    return;
  }
  updates::with_state_map(bits, index, [&](const auto& map) {
    for (int64_t begin = 0; begin < n; begin += map.kBlock) {
      const int64_t end = std::min(n, begin + map.kBlock);
      double largest = 0;
      for (int64_t i = begin; i < end; ++i) largest = std::max(largest, std::fabs(x[static_cast<size_t>(i)]));
      set(absmax, begin / map.kBlock, largest);
      for (int64_t i = begin; i < end; ++i)
        updates::set_code(map, state.as<uint8_t>(), i, updates::encode_state(map, x[static_cast<size_t>(i)], largest));
    }
  });
}

}  // namespace nft::ref
