#pragma once
// States stored in codes: blocks of elements in row-major order, each with its largest magnitude in f32; an element is the
// value that a map gives to its code, times that. state0 takes a signed map; state1, which is never negative, an unsigned
// one. Zero bytes with magnitude 0 are zeros, so that a fresh state needs no writing.
//   8 bits  Dettmers et al. 2021, arXiv 2110.02861: blocks of 256, dynamic maps
//   4 bits  Li, Chen & Zhu 2023, arXiv 2309.01507: blocks of 128; state0 the dynamic map, state1 linear without zero. Both
//           in blocks, as its published code offers it: a magnitude by row and column would need the whole matrix. Two codes
//           a byte, the first in the upper half
#include <cstdint>

#include "../core/inline.h"
#include "../core/tensor.h"

namespace nft::updates {

inline bool is_coded(const Tensor& state) { return state.present && state.dtype == DType::u8; }

// The most elements that share a magnitude, of all maps.
constexpr int64_t kLargestBlock = 256;

// Values from -1 (or 0) to 1, ascending, and the limits between neighbours: code c is nearest to limit[c - 1] < x <=
// limit[c].
template <int bits>
struct StateMap {
  static constexpr int kBits = bits, kCodes = 1 << bits;
  static constexpr int64_t kBlock = bits == 8 ? 256 : 128;
  float value[kCodes] = {};
  float limit[kCodes - 1] = {};
  int zero = 0;  // code of what lies in a block of zeros

  constexpr void set_limits() {
    for (int c = 0; c + 1 < kCodes; ++c) limit[c] = (value[c] + value[c + 1]) / 2.0f;
  }
};

// Number i of parts + 1 equally spaced numbers from 0.1 to 1, each half counted from its own end, rounded once.
constexpr float map_edge(int i, int parts) {
  const double step = (1.0f - 0.1f) / static_cast<float>(parts);
  return static_cast<float>(i < (parts + 1) / 2 ? 0.1f + step * i : 1.0f - step * (parts - i));
}

// Decade i of bits - 1 has 2^i values of each sign (2^(i+1) without signs): the middles of that many equal parts of [0.1,
// 1], times 10^(i - bits + 2). With 0 and 1 these are the values of bitsandbytes, bit for bit.
template <int bits>
constexpr StateMap<bits> dynamic_map(bool is_signed) {
  constexpr double kPowers[] = {1, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6};
  StateMap<bits> map;
  map.zero = is_signed ? map.kCodes / 2 - 1 : 0;
  int above = map.zero + 1, below = map.zero - 1;
  for (int decade = 0; decade < bits - 1; ++decade) {
    const int parts = is_signed ? 1 << decade : 2 << decade;
    for (int part = 0; part < parts; ++part) {
      const float middle = (map_edge(part, parts) + map_edge(part + 1, parts)) / 2.0f;
      const float v = static_cast<float>(kPowers[bits - 2 - decade]) * middle;
      map.value[above++] = v;
      if (is_signed) map.value[below--] = -v;
    }
  }
  map.value[map.kCodes - 1] = 1;
  map.set_limits();
  return map;
}

// Value (c + 1) / 2^bits.
template <int bits>
constexpr StateMap<bits> linear_map() {
  StateMap<bits> map;
  for (int c = 0; c < map.kCodes; ++c) map.value[c] = static_cast<float>(c + 1) / static_cast<float>(map.kCodes);
  map.set_limits();
  return map;
}

// Not inline: tables of its own for every instruction set.
constexpr StateMap<8> kSigned8 = dynamic_map<8>(true), kUnsigned8 = dynamic_map<8>(false);
constexpr StateMap<4> kSigned4 = dynamic_map<4>(true), kUnsigned4 = linear_map<4>();

// Calls f with the map of state number `index` in 8 or 4 bits.
template <class F>
NFT_INLINE void with_state_map(int64_t bits, int index, F&& f) {
  if (bits == 4)
    f(index == 0 ? kSigned4 : kUnsigned4);
  else
    f(index == 0 ? kSigned8 : kUnsigned8);
}

NFT_INLINE int64_t state_block(int64_t bits) { return bits == 4 ? StateMap<4>::kBlock : StateMap<8>::kBlock; }

// In 8 bits a code keeps the sign: what is below 0 and nearest to 0 takes the value under it, as in bitsandbytes.
template <int bits>
NFT_INLINE int keep_sign(const StateMap<bits>& map, int code, bool negative) {
  return code - (bits == 8 && negative && code == map.zero);
}

// Code number i, and writing it.
template <int bits>
NFT_INLINE int code_at(const StateMap<bits>&, const uint8_t* codes, int64_t i) {
  return bits == 8 ? codes[i] : codes[i / 2] >> (i % 2 == 0 ? 4 : 0) & 15;
}
template <int bits>
NFT_INLINE void set_code(const StateMap<bits>&, uint8_t* codes, int64_t i, int code) {
  if (bits == 8)
    codes[i] = static_cast<uint8_t>(code);
  else
    codes[i / 2] = static_cast<uint8_t>(i % 2 == 0 ? code << 4 : (codes[i / 2] & 0xF0) | code);
}

// Code of x in a block with this largest magnitude.
template <int bits, class T>
NFT_INLINE int encode_state(const StateMap<bits>& map, T x, T largest) {
  if (largest == 0) return map.zero;
  const T ratio = x / largest;
  int code = 0;
  for (int step = map.kCodes / 2; step > 0; step >>= 1) {
    const int below = code + step - 1;
    if (ratio > (static_cast<T>(map.value[below]) + static_cast<T>(map.value[below + 1])) / 2) code += step;
  }
  return keep_sign(map, code, x < 0);
}

}  // namespace nft::updates
