#include "../../ops/perturb.h"

#include "../../core/context.h"
#include "access.h"
#include "normal.h"

namespace nft::ref {

void perturb(const Perturb& a, Context&) {
  for (int64_t i = 0; i < a.weight.num_elements(); ++i) {
    const double z = normal(static_cast<uint64_t>(a.seed), static_cast<uint64_t>(i));
    set(a.weight, i, (at(a.weight, i) + a.shift * z) * a.decay + a.step * z);
  }
}

}  // namespace nft::ref
