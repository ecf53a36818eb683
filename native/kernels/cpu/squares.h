#pragma once
// Sums of squares in double, the same on every instruction set.
#include "rows.h"

namespace nft::cpu::NFT_ISA {

// Eight lanes everywhere, in as many vectors as that takes.
typedef double f64x8 __attribute__((vector_size(64)));
typedef float f32x8 __attribute__((vector_size(32)));

NFT_INLINE void add_squares(const float* p, f64x8& sum) {
  f32x8 part;
  std::memcpy(&part, p, sizeof(part));
  const f64x8 v = __builtin_convertvector(part, f64x8);
  sum += v * v;
}

class Squares {
 public:
  NFT_MEMBER void add(const float* p, int64_t n) {
    int64_t i = 0;
    for (; i + 8 * kChains <= n; i += 8 * kChains)
      for (int k = 0; k < kChains; ++k) add_squares(p + i + 8 * k, sum_[k]);
    for (; i < n; i += 8) {
      float rest[8] = {};
      for (int64_t k = 0; k < min64(8, n - i); ++k) rest[k] = p[i + k];
      add_squares(rest, sum_[0]);
    }
  }
  NFT_MEMBER double total() const {
    const f64x8 t = (sum_[0] + sum_[1]) + (sum_[2] + sum_[3]);
    return ((t[0] + t[4]) + (t[1] + t[5])) + ((t[2] + t[6]) + (t[3] + t[7]));
  }

 private:
  static constexpr int kChains = 4;  // one chain of additions would wait for itself
  f64x8 sum_[kChains] = {};
};

}  // namespace nft::cpu::NFT_ISA
