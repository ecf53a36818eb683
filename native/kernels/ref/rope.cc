#include "../../ops/rope.h"

#include <cmath>

#include "../../core/context.h"
#include "access.h"

namespace nft::ref {

void rope_table(const RopeTable& a, Context&) {
  const int64_t N = a.positions.num_elements(), R = a.inv_freq.num_elements();
  for (int64_t n = 0; n < N; ++n)
    for (int64_t i = 0; i < R; ++i) {
      const double position = at(a.positions, n), frequency = at(a.inv_freq, i);
      double angle = position * frequency;
      if (a.inv_freq.dtype == DType::f32) angle = static_cast<float>(position) * static_cast<float>(frequency);
      set(a.cos, n * R + i, a.scale * std::cos(angle));
      set(a.sin, n * R + i, a.scale * std::sin(angle));
    }
}

void rope_inplace(const RopeInplace& a, Context&) {
  const int64_t R = a.cos.cols(), D = a.x.cols() / a.heads;
  for (int64_t n = 0; n < a.x.rows(); ++n)
    for (int64_t h = 0; h < a.heads; ++h)
      for (int64_t i = 0; i < R; ++i) {
        const double u = at(a.x, n, h * D + i), v = at(a.x, n, h * D + i + R);
        const double cos = at(a.cos, n, i), sin = a.inverse ? -at(a.sin, n, i) : at(a.sin, n, i);
        set(a.x, n, h * D + i, u * cos - v * sin);
        set(a.x, n, h * D + i + R, v * cos + u * sin);
      }
}

}  // namespace nft::ref
