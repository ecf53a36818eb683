#pragma once
// Projections stored in 4 bits, as Q-GaLore does (Zhang et al. 2024, arXiv 2407.08296): groups of 256 elements in row-major
// order, each with a scale and a zero point in f32: x = scale (code - zero). Two codes a byte, the first in the low half.
#include <cmath>
#include <cstdint>

#include "../core/inline.h"

namespace nft::updates {

constexpr int64_t kInt4Group = 256;

NFT_INLINE int64_t int4_bytes(int64_t elements) { return (elements + 1) / 2; }
NFT_INLINE int64_t int4_groups(int64_t elements) { return (elements + kInt4Group - 1) / kInt4Group; }

template <class T>
NFT_INLINE T clamp_int4(T x) {
  return x < 0 ? T(0) : x > 15 ? T(15) : x;
}

// n <= kInt4Group elements; codes and range (scale, zero) are those of the group.
template <class T>
NFT_INLINE void encode_int4(const T* x, int64_t n, uint8_t* codes, T* range) {
  T least = x[0], most = x[0];
  for (int64_t i = 1; i < n; ++i) {
    least = x[i] < least ? x[i] : least;
    most = x[i] > most ? x[i] : most;
  }
  const T width = most - least, floor = static_cast<T>(1e-5);
  const T scale = (width > floor ? width : floor) / 15;
  const T zero = clamp_int4(-std::nearbyint(least / scale));
  for (int64_t i = 0; i < n; ++i) {
    const uint8_t code = static_cast<uint8_t>(clamp_int4(std::nearbyint(x[i] / scale) + zero));
    codes[i / 2] = static_cast<uint8_t>(i % 2 ? codes[i / 2] | (code << 4) : code);
  }
  range[0] = scale;
  range[1] = zero;
}

template <class T>
NFT_INLINE void decode_int4(const uint8_t* codes, const T* range, int64_t n, T* x) {
  for (int64_t i = 0; i < n; ++i) {
    const int code = i % 2 ? codes[i / 2] >> 4 : codes[i / 2] & 15;
    x[i] = range[0] * (static_cast<T>(code) - range[1]);
  }
}

}  // namespace nft::updates
