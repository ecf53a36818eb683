#include "../../core/context.h"
#include "../../core/rng.h"
#include "../../ops/elementwise.h"
#include "normal.h"
#include "rows.h"

namespace nft::cpu::NFT_ISA {

void random_fill(const RandomFill& a, Context&) {
  require_float(RandomFill::kName, "y", a.y);
  const uint64_t seed = static_cast<uint64_t>(a.seed);
  const double range = a.high - a.low;
  for_ranges(1, a.y.num_elements(), [&](int64_t, int64_t begin, int64_t end) {
    alignas(64) float buffer[kTile];
    for (int64_t at = begin; at < end; at += kTile) {
      const int64_t n = min64(kTile, end - at);
      float* y = tile_target(a.y, 0, at, buffer);
      const uint64_t first = static_cast<uint64_t>(at);
      if (a.kind == 0)
        for (int64_t i = 0; i < n; ++i)
          y[i] = static_cast<float>(a.low + range * static_cast<double>(rng::uniform(seed, first + i)));
      else
        for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(a.low + a.high * normal(rng::bits(seed, first + i)));
      store_tile(a.y, 0, at, n, y);
    }
  });
}

}  // namespace nft::cpu::NFT_ISA
