// weight = (weight + shift * z) * decay + step * z: see ops/perturb.h.
#include "../../ops/perturb.h"

#include "../../core/context.h"
#include "../../core/rng.h"
#include "normal.h"
#include "rows.h"

namespace nft::cpu::NFT_ISA {

void perturb(const Perturb& a, Context&) {
  require_f32(a.kName, "weight", a.weight);
  const uint64_t seed = static_cast<uint64_t>(a.seed);
  const float shift = static_cast<float>(a.shift), decay = static_cast<float>(a.decay), step = static_cast<float>(a.step);
  for_ranges(1, a.weight.num_elements(), [&](int64_t, int64_t begin, int64_t end) {
    float* w = a.weight.as<float>();
    for (int64_t i = begin; i < end; ++i) {
      const float z = static_cast<float>(normal(rng::bits(seed, static_cast<uint64_t>(i))));
      w[i] = (w[i] + shift * z) * decay + step * z;
    }
  });
}

}  // namespace nft::cpu::NFT_ISA
