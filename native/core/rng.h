#pragma once
// Counter-based random numbers: the value depends only on (key, counter), so recompute, resume, thread counts and devices
// draw the same numbers. SplitMix64's output function over key + counter * golden ratio
// (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators").
#include <cstdint>

#include "inline.h"

namespace nft::rng {

NFT_INLINE uint64_t bits(uint64_t key, uint64_t counter) {
  uint64_t z = key + (counter + 1) * 0x9E3779B97F4A7C15ull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

// Uniform in [0, 1) with 24 bits, exact in f32.
NFT_INLINE float uniform(uint64_t key, uint64_t counter) { return static_cast<float>(bits(key, counter) >> 40) * 0x1p-24f; }

// The 16 random bits of element i for stochastic rounding: four elements share one draw.
NFT_INLINE uint32_t bits16(uint64_t key, uint64_t i) {
  return static_cast<uint32_t>(bits(key, i >> 2) >> (16 * (i & 3))) & 0xFFFFu;
}

}  // namespace nft::rng
