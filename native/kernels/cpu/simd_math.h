#pragma once
// exp, sigmoid, tanh and erf of f32 vectors. Minimax polynomials (Remez exchange) fitted for these ranges; the errors stated
// are bounds of the whole function in units in the last place (ulp), held by native/test/simd_math_test.cc. NaN gives NaN.
#include "simd.h"

namespace nft::cpu::NFT_ISA::simd {

// p * 2^n for integers n, so that results down to the subnormals and up to infinity come out as IEEE demands. |n| <= 252
// except with AVX-512.
NFT_INLINE f32v scale_by_power(f32v p, f32v n) {
#if defined(__AVX512F__)
  return _mm512_scalef_ps(p, n);
#else
  const i32v whole = round_to_i32(n), half = whole >> 1;
  const f32v low = as_f32((half + 127) << 23), high = as_f32((whole - half + 127) << 23);
  return p * low * high;
#endif
}

// e^x for x <= 89, at most 1 ulp. x < -104 gives 0.
NFT_INLINE f32v exp_bounded(f32v x) {
  x = max(set1(-104.f), x);  // keeps NaN
  const f32v n = round(x * 1.44269504f);
  // r = x - n ln 2: ln 2 is split so that n * 0.693359375 is exact.
  const f32v r = fma(n, set1(2.12194440e-4f), fma(n, set1(-0.693359375f), x));
  f32v q = set1(1.3814585e-3f);  // (e^r - 1 - r) / r^2 on |r| <= ln 2 / 2, 3.1e-9
  q = fma(q, r, set1(8.368731e-3f));
  q = fma(q, r, set1(4.166839e-2f));
  q = fma(q, r, set1(1.6666521e-1f));
  q = fma(q, r, set1(4.9999994e-1f));
  return scale_by_power(fma(q, r * r, r) + 1.f, n);
}

// e^x, at most 1 ulp. x < -104 gives 0, x > 88.73 infinity.
NFT_INLINE f32v exp(f32v x) { return exp_bounded(min(set1(89.f), x)); }

// 1 / (1 + e^-x), at most 2.5 ulp for x > -87; below, within 1.2e-38.
NFT_INLINE f32v sigmoid(f32v x) { return 1.f / (1.f + exp(-x)); }
// With complement = 1 - sigmoid(x), as accurate relative to itself. Takes x < -87 for -87: beyond, e^-x leaves f32.
NFT_INLINE f32v sigmoid(f32v x, f32v& complement) {
  const f32v e = exp_bounded(min(set1(87.f), -x)), s = 1.f / (1.f + e);
  complement = e * s;
  return s;
}

// tanh x, at most 2 ulp.
NFT_INLINE f32v tanh(f32v x) {
  const f32v a = abs(x), u = x * x;
  f32v q = set1(-6.27423e-3f);  // (tanh x - x) / x^3 in u = x^2 on |x| <= 0.55, 1.1e-9
  q = fma(q, u, set1(2.107167e-2f));
  q = fma(q, u, set1(-5.385231e-2f));
  q = fma(q, u, set1(1.3332586e-1f));
  q = fma(q, u, set1(-3.3333316e-1f));
  const f32v small = fma(q * u, x, x);
  const f32v large = 1.f - 2.f / (exp(a + a) + 1.f);
  const f32v signed_large = as_f32(as_u32(large) | (as_u32(x) & 0x80000000u));
  return select(a < set1(0.55f), small, signed_large);
}

// erf x, at most 3 ulp. Below 1 an odd polynomial, above 1 - exp(-g(|x|)) with g = -ln(1 - erf).
NFT_INLINE f32v erf(f32v x) {
  const f32v u = x * x;
  f32v p = set1(7.853863e-5f);  // erf(x) / x in u = x^2 on |x| <= 1, 1.2e-9
  p = fma(p, u, set1(-8.010194e-4f));
  p = fma(p, u, set1(5.1883277e-3f));
  p = fma(p, u, set1(-2.6853813e-2f));
  p = fma(p, u, set1(1.12835854e-1f));
  p = fma(p, u, set1(-3.7612626e-1f));
  p = fma(p, u, set1(1.1283791f));
  const f32v a = min(set1(4.f), abs(x));  // erf(4) rounds to 1
  f32v g = set1(1.2339416e-5f);           // g(x) / x on [0.95, 4], 5.8e-10 of erf
  g = fma(g, a, set1(-3.339599e-4f));
  g = fma(g, a, set1(3.6881068e-3f));
  g = fma(g, a, set1(-2.385927e-2f));
  g = fma(g, a, set1(1.0635056e-1f));
  g = fma(g, a, set1(6.35082e-1f));
  g = fma(g, a, set1(1.1286657f));
  const f32v large = 1.f - exp(-(g * a));
  const f32v signed_large = as_f32(as_u32(large) | (as_u32(x) & 0x80000000u));
  return select(abs(x) < set1(1.f), p * x, signed_large);
}

}  // namespace nft::cpu::NFT_ISA::simd
