// Compiled once per instruction set (NFT_ISA), as the kernels are.
#include "simd_math_errors.h"

#include <math.h>

#include "../kernels/cpu/simd_math.h"

namespace nft::test::NFT_ISA {

namespace simd = cpu::NFT_ISA::simd;

static simd::f32v apply(VectorFunction f, simd::f32v x) {
  switch (f) {
    case VectorFunction::exp: return simd::exp(x);
    case VectorFunction::sigmoid: return simd::sigmoid(x);
    case VectorFunction::tanh: return simd::tanh(x);
    default: return simd::erf(x);
  }
}

static double exact(VectorFunction f, double x) {
  switch (f) {
    case VectorFunction::exp: return ::exp(x);
    case VectorFunction::sigmoid: return 1 / (1 + ::exp(-x));
    case VectorFunction::tanh: return ::tanh(x);
    default: return ::erf(x);
  }
}

float evaluate(VectorFunction f, float x) { return apply(f, simd::set1(x))[simd::kLanes - 1]; }

// Negative floats first, rising: a map of all finite floats to consecutive integers.
static int64_t order(float x) {
  const int64_t u = f32_bits(x);
  return u & 0x80000000 ? 0x80000000 - u : u;
}
static float from_order(int64_t i) { return f32_from_bits(static_cast<uint32_t>(i < 0 ? 0x80000000 - i : i)); }

double largest_error(VectorFunction f, float low, float high) {
  constexpr int64_t kPoints = 1 << 20;
  const int64_t first = order(low), count = order(high) - first;
  double worst = 0;
  for (int64_t i = 0; i <= kPoints; i += simd::kLanes) {
    float x[simd::kLanes];
    for (int k = 0; k < simd::kLanes; ++k) {
      const int64_t at = i + k < kPoints ? i + k : kPoints;
      x[k] = from_order(first + static_cast<int64_t>(static_cast<double>(count) * static_cast<double>(at) / kPoints));
    }
    const simd::f32v y = apply(f, simd::F32::load(x));
    for (int k = 0; k < simd::kLanes; ++k) {
      const double wanted = exact(f, static_cast<double>(x[k]));
      int exponent;
      frexp(wanted, &exponent);
      const double ulp = ldexp(1.0, (exponent > -125 ? exponent : -125) - 24);
      const double error = fabs(static_cast<double>(y[k]) - wanted) / ulp;
      if (!(error <= worst)) worst = error;
    }
  }
  return worst;
}

}  // namespace nft::test::NFT_ISA
