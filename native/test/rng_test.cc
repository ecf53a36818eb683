#include "../core/rng.h"

#include <cmath>

#include "test.h"

namespace nft {

// First outputs of SplitMix64 seeded with 1234567, the test vector its ports use.
TEST(rng, is_splitmix64) {
  const uint64_t expected[] = {6457827717110365317ull, 3203168211198807973ull, 9817491932198370423ull,
                               4593380528125082431ull, 16408922859458223821ull};
  for (uint64_t i = 0; i < 5; ++i) CHECK(rng::bits(1234567, i) == expected[i]);
}

TEST(rng, uniform_fills_the_unit_interval) {
  constexpr int kDraws = 1 << 18, kBins = 64;
  int bins[kBins] = {};
  double sum = 0, squares = 0;
  for (int i = 0; i < kDraws; ++i) {
    const float u = rng::uniform(42, static_cast<uint64_t>(i));
    CHECK(u >= 0.0f && u < 1.0f);
    ++bins[static_cast<int>(u * kBins)];
    sum += u;
    squares += static_cast<double>(u) * u;
  }
  const double mean = sum / kDraws, expected = static_cast<double>(kDraws) / kBins;
  CHECK(std::abs(mean - 0.5) < 5 * std::sqrt(1.0 / 12 / kDraws));
  CHECK(std::abs(squares / kDraws - 1.0 / 3) < 5 * std::sqrt(4.0 / 45 / kDraws));
  double chi_squared = 0;
  for (const int n : bins) chi_squared += (n - expected) * (n - expected) / expected;
  CHECK(chi_squared < 63 + 5 * std::sqrt(2.0 * 63));
}

TEST(rng, four_elements_share_one_draw) {
  for (uint64_t i = 0; i < 1000; ++i) {
    uint64_t together = 0;
    for (uint64_t k = 0; k < 4; ++k) together |= static_cast<uint64_t>(rng::bits16(7, 4 * i + k)) << (16 * k);
    CHECK(together == rng::bits(7, i));
  }
}

}  // namespace nft
