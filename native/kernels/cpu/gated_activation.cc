#include "../../ops/gated_activation.h"

#include "../../core/context.h"
#include "rows.h"
#include "simd_math.h"

namespace nft::cpu::NFT_ISA {

namespace {

using simd::f32v;
using simd::fma;
using simd::set1;

// f(g) and f'(g) of each kind.
struct Silu {
  static NFT_MEMBER f32v value(f32v g) { return g / (1.f + simd::exp(-g)); }
  static NFT_MEMBER void both(f32v g, f32v& f, f32v& slope) {
    f32v complement;
    const f32v s = simd::sigmoid(g, complement);
    f = g * s;
    slope = s * fma(g, complement, set1(1.f));
  }
};

// (1 + tanh u) / 2 = sigmoid(2 u), which keeps its relative accuracy for negative u.
struct GeluTanh {
  static constexpr float kTwoRoot = 1.5957691216f;  // 2 sqrt(2 / pi)
  static NFT_MEMBER f32v twice_u(f32v g) { return kTwoRoot * g * fma(g * g, set1(0.044715f), set1(1.f)); }
  static NFT_MEMBER f32v value(f32v g) { return g * simd::sigmoid(twice_u(g)); }
  static NFT_MEMBER void both(f32v g, f32v& f, f32v& slope) {
    f32v complement;
    const f32v s = simd::sigmoid(twice_u(g), complement),
               inner_slope = kTwoRoot * fma(g * g, set1(3 * 0.044715f), set1(1.f));
    f = g * s;
    slope = s * fma(g * inner_slope, complement, set1(1.f));
  }
};

struct GeluErf {
  static NFT_MEMBER f32v distribution(f32v g) { return 0.5f * (1.f + simd::erf(0.7071067812f * g)); }
  static NFT_MEMBER f32v value(f32v g) { return g * distribution(g); }
  static NFT_MEMBER void both(f32v g, f32v& f, f32v& slope) {
    const f32v p = distribution(g), density = 0.3989422804f * simd::exp(-0.5f * g * g);  // 1 / sqrt(2 pi)
    f = g * p;
    slope = fma(g, density, p);
  }
};

template <class F>
void with_kind(int64_t kind, F&& f) {
  switch (kind) {
    case 0: return f(Silu{});
    case 1: return f(GeluTanh{});
    default: return f(GeluErf{});
  }
}

}  // namespace

void gated_activation_forward(const GatedActivationForward& a, Context&) {
  require_float(GatedActivationForward::kName, "gate", a.gate);
  require_float(GatedActivationForward::kName, "up", a.up);
  require_float(GatedActivationForward::kName, "y", a.y);
  const Tensor *const in[] = {&a.gate, &a.up}, *const out[] = {&a.y};
  with_kind(a.kind, [&](auto activation) {
    using Activation = decltype(activation);
    map_elements(in, out, [](const f32v* x, f32v* y) { y[0] = Activation::value(x[0]) * x[1]; });
  });
}

void gated_activation_backward(const GatedActivationBackward& a, Context&) {
  const char* op = GatedActivationBackward::kName;
  require_float(op, "dy", a.dy);
  require_float(op, "gate", a.gate);
  require_float(op, "up", a.up);
  require_float(op, "dgate", a.dgate);
  require_float(op, "dup", a.dup);
  require_float(op, "y", a.y);
  const Tensor* const in[] = {&a.dy, &a.gate, &a.up};
  with_kind(a.kind, [&](auto activation) {
    using Activation = decltype(activation);
    const auto gradients = [](const f32v* x, f32v* y, f32v& f) {
      f32v slope;
      Activation::both(x[1], f, slope);
      y[0] = x[0] * x[2] * slope;
      y[1] = x[0] * f;
    };
    if (a.y.present) {
      const Tensor* const out[] = {&a.dgate, &a.dup, &a.y};
      map_elements(in, out, [&](const f32v* x, f32v* y) {
        f32v f;
        gradients(x, y, f);
        y[2] = f * x[2];
      });
    } else {
      const Tensor* const out[] = {&a.dgate, &a.dup};
      map_elements(in, out, [&](const f32v* x, f32v* y) {
        f32v f;
        gradients(x, y, f);
      });
    }
  });
}

}  // namespace nft::cpu::NFT_ISA
