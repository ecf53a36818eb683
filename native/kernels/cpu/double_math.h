#pragma once
// sin, cos and log in double for tables and random numbers: branch-free loops that the compiler vectorises, with the same
// bits on every machine, unlike the C library's. Polynomials fitted by Remez exchange.
#include <cstdint>
#include <cstring>

#include "../../core/inline.h"

namespace nft::cpu::NFT_ISA {

// sin and cos of r + quadrant * pi/2, |r| <= pi/4; absolute error at most 1e-14.
NFT_INLINE void sin_cos_reduced(double r, int64_t quadrant, double& s, double& c) {
  const double u = r * r;
  double p = -2.476045310716258e-08;
  p = p * u + 2.7555339636070814e-06;
  p = p * u - 0.00019841263728540267;
  p = p * u + 0.008333333325077626;
  p = p * u - 0.1666666666663035;
  const double sine = r + r * u * p;
  double q = 2.0645118489631193e-09;
  q = q * u - 2.7555523103755556e-07;
  q = q * u + 2.4801580707285757e-05;
  q = q * u - 0.0013888888877611708;
  q = q * u + 0.04166666666659654;
  const double cosine = 1 - 0.5 * u + u * u * q;
  const double a = (quadrant & 1) ? cosine : sine, b = (quadrant & 1) ? sine : cosine;
  s = (quadrant & 2) ? -a : a;
  c = ((quadrant + 1) & 2) ? -b : b;
}

// sin and cos of x, absolute error at most 2e-14 for |x| < 2^25. pi/2 = its upper 26 bits + the rest, so that n times the
// first is exact.
NFT_INLINE void sin_cos(double x, double& s, double& c) {
  const double n = __builtin_rint(x * 0.6366197723675814);
  const double r = (x - n * 1.5707963109016418) - n * 1.5893254773528196e-08;
  sin_cos_reduced(r, static_cast<int64_t>(n), s, c);
}

// ln x of a normal x > 0, relative error at most 1e-15: x = m 2^e with m in [sqrt(1/2), sqrt(2)), ln m = 2
// atanh((m-1)/(m+1)).
NFT_INLINE double log_positive(double x) {
  uint64_t bits;
  std::memcpy(&bits, &x, 8);
  const uint64_t shifted = bits - 0x3FE6A09E667F3BCDull;  // less sqrt(1/2): the exponent field is then e
  const int64_t e = static_cast<int64_t>(shifted) >> 52;
  const uint64_t mantissa = bits - (static_cast<uint64_t>(e) << 52);
  double m;
  std::memcpy(&m, &mantissa, 8);
  const double t = (m - 1) / (m + 1), u = t * t;
  double p = 0.16819297633561325;
  p = p * u + 0.18123688074535566;
  p = p * u + 0.22223370213463167;
  p = p * u + 0.28571417151353173;
  p = p * u + 0.4000000005213548;
  p = p * u + 0.6666666666658749;
  return static_cast<double>(e) * 0.6931471805599453 + (2 * t + t * u * p);
}

}  // namespace nft::cpu::NFT_ISA
