#include "../../ops/gated_activation.h"

#include <cmath>

#include "../../core/context.h"
#include "access.h"

namespace nft::ref {

struct Activation {
  double value, slope;  // f(g), f'(g)
};

static Activation activate(int64_t kind, double g) {
  constexpr double kPi = 3.14159265358979323846;
  if (kind == 0) {  // silu
    const double sigmoid = 1 / (1 + std::exp(-g));
    return {g * sigmoid, sigmoid * (1 + g * (1 - sigmoid))};
  }
  if (kind == 1) {  // gelu, tanh form
    const double c = std::sqrt(2 / kPi), t = std::tanh(c * (g + 0.044715 * g * g * g));
    return {0.5 * g * (1 + t), 0.5 * (1 + t) + 0.5 * g * (1 - t * t) * c * (1 + 3 * 0.044715 * g * g)};
  }
  const double cdf = 0.5 * std::erfc(-g / std::sqrt(2.0)), density = std::exp(-0.5 * g * g) / std::sqrt(2 * kPi);
  return {g * cdf, cdf + g * density};
}

void gated_activation_forward(const GatedActivationForward& a, Context&) {
  for (int64_t n = 0; n < a.y.rows(); ++n)
    for (int64_t f = 0; f < a.y.cols(); ++f) set(a.y, n, f, activate(a.kind, at(a.gate, n, f)).value * at(a.up, n, f));
}

void gated_activation_backward(const GatedActivationBackward& a, Context&) {
  for (int64_t n = 0; n < a.dy.rows(); ++n)
    for (int64_t f = 0; f < a.dy.cols(); ++f) {
      const double dy = at(a.dy, n, f), up = at(a.up, n, f);
      const Activation act = activate(a.kind, at(a.gate, n, f));
      set(a.dup, n, f, dy * act.value);
      set(a.dgate, n, f, dy * up * act.slope);
      if (a.y.present) set(a.y, n, f, act.value * up);
    }
}

}  // namespace nft::ref
