#include "../../ops/rms_norm.h"

#include <cmath>

#include "../../core/context.h"
#include "access.h"

namespace nft::ref {

void rms_norm_forward(const RmsNormForward& a, Context&) {
  const int64_t C = a.x.cols();
  for (int64_t n = 0; n < a.x.rows(); ++n) {
    double mean_square = 0;
    for (int64_t c = 0; c < C; ++c) mean_square += at(a.x, n, c) * at(a.x, n, c) / static_cast<double>(C);
    const double rstd = 1 / std::sqrt(mean_square + a.eps);
    for (int64_t c = 0; c < C; ++c) set(a.y, n, c, at(a.x, n, c) * rstd * (at(a.weight, c) + a.weight_offset));
    if (a.rstd.present) set(a.rstd, n, rstd);
  }
}

void rms_norm_backward(const RmsNormBackward& a, Context&) {
  const int64_t N = a.x.rows(), C = a.x.cols();
  Matrix dx(N, C), dweight(1, C);
  for (int64_t n = 0; n < N; ++n) {
    const double rstd = at(a.rstd, n);
    const auto xhat = [&](int64_t c) { return at(a.x, n, c) * rstd; };
    const auto g = [&](int64_t c) { return at(a.dy, n, c) * (at(a.weight, c) + a.weight_offset); };
    double mean = 0;
    for (int64_t c = 0; c < C; ++c) mean += g(c) * xhat(c) / static_cast<double>(C);
    for (int64_t c = 0; c < C; ++c) {
      dx(n, c) = rstd * (g(c) - xhat(c) * mean) + (a.dresidual.present ? at(a.dresidual, n, c) : 0);
      dweight[c] += at(a.dy, n, c) * xhat(c);
    }
  }
  store(a.dx, dx);
  if (a.dweight.present)
    for (int64_t c = 0; c < C; ++c) set(a.dweight, c, at(a.dweight, c) + dweight[c]);
}

}  // namespace nft::ref
