#pragma once
// States stored in 8 bits (Dettmers et al. 2021, arXiv 2110.02861): blocks of 256 elements in row-major order, each with its
// largest magnitude in f32; an element is a code of the dynamic map times that. state0 takes the signed map, state1, which
// is never negative, the unsigned one. Zero bytes with magnitude 0 are zeros, so that a fresh state needs no writing.
#include <cstdint>

#include "../core/inline.h"
#include "../core/tensor.h"

namespace nft::updates {

constexpr int64_t kStateBlock = 256;

inline bool is_coded(const Tensor& state) { return state.present && state.dtype == DType::u8; }

// 256 values from -1 (or 0) to 1, ascending, and the limits between neighbours: code c is nearest to limit[c - 1] < x <=
// limit[c]. Decade i of 7 has 2^i values of each sign (2^(i+1) without signs): the middles of that many equal parts of [0.1,
// 1], times 10^(i - 6). With 0 and 1 these are the values of bitsandbytes, bit for bit.
struct DynamicMap {
  float value[256] = {};
  float limit[255] = {};
  int zero = 0;

  constexpr explicit DynamicMap(bool is_signed) {
    constexpr double kPowers[] = {1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1};
    zero = is_signed ? 127 : 0;
    int above = zero + 1, below = zero - 1;
    for (int decade = 0; decade < 7; ++decade) {
      const int parts = is_signed ? 1 << decade : 2 << decade;
      for (int part = 0; part < parts; ++part) {
        const float middle = (edge(part, parts) + edge(part + 1, parts)) / 2.0f;
        const float v = static_cast<float>(kPowers[decade]) * middle;
        value[above++] = v;
        if (is_signed) value[below--] = -v;
      }
    }
    value[255] = 1;
    for (int c = 0; c < 255; ++c) limit[c] = (value[c] + value[c + 1]) / 2.0f;
  }

 private:
  // Number i of parts + 1 equally spaced numbers from 0.1 to 1, each half counted from its own end, rounded once.
  static constexpr float edge(int i, int parts) {
    const double step = (1.0f - 0.1f) / static_cast<float>(parts);
    return static_cast<float>(i < (parts + 1) / 2 ? 0.1f + step * i : 1.0f - step * (parts - i));
  }
};

// Not inline: a table of its own for every instruction set.
constexpr DynamicMap kSignedMap(true), kUnsignedMap(false);
NFT_INLINE const DynamicMap& map_of(int state) { return state == 0 ? kSignedMap : kUnsignedMap; }

template <class T>
NFT_INLINE T decode_state(const DynamicMap& map, uint8_t code, T largest) {
  return static_cast<T>(map.value[code]) * largest;
}

// A code keeps the sign: what is below 0 and nearest to 0 takes the value under it, as in bitsandbytes.
NFT_INLINE int keep_sign(const DynamicMap& map, int code, bool negative) { return code - (negative && code == map.zero); }

// Code of x in a block with this largest magnitude.
template <class T>
NFT_INLINE uint8_t encode_state(const DynamicMap& map, T x, T largest) {
  if (largest == 0) return static_cast<uint8_t>(map.zero);
  const T ratio = x / largest;
  int code = 0;
  for (int step = 128; step > 0; step >>= 1) {
    const int below = code + step - 1;
    if (ratio > (static_cast<T>(map.value[below]) + static_cast<T>(map.value[below + 1])) / 2) code += step;
  }
  return static_cast<uint8_t>(keep_sign(map, code, x < 0));
}

}  // namespace nft::updates
