#include "../core/convert.h"

#include <cmath>
#include <limits>

#include "test.h"

namespace nft {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// The definition of IEEE binary16, in double.
double f16_value(uint32_t h) {
  const int exponent = (h >> 10) & 31, mantissa = h & 1023;
  const double magnitude = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return h & 0x8000u ? -magnitude : magnitude;
}

// Both neighbours, the point halfway between them and the f32 values around it, for every pair of adjacent 16-bit values.
template <class Decode, class Encode>
void check_rounding(uint32_t largest, Decode decode, Encode encode) {
  for (uint32_t h = 0; h < largest; ++h) {
    const float low = decode(static_cast<uint16_t>(h)), high = decode(static_cast<uint16_t>(h + 1));
    const float half = static_cast<float>((static_cast<double>(low) + high) / 2);
    for (const uint32_t sign : {0u, 0x8000u}) {
      const float s = sign ? -1.0f : 1.0f;
      CHECK(encode(s * low) == (h | sign));
      CHECK(encode(s * half) == ((h & 1u ? h + 1 : h) | sign));
      CHECK(encode(s * std::nextafter(half, 0.0f)) == (h | sign));
      CHECK(encode(s * std::nextafter(half, kInfinity)) == ((h + 1) | sign));
    }
  }
}

}  // namespace

TEST(convert, f16_decodes_every_value) {
  for (uint32_t h = 0; h < 0x10000u; ++h) {
    const float x = f16_to_f32(static_cast<f16_t>(h));
    if ((h & 0x7C00u) != 0x7C00u) {
      CHECK(x == f16_value(h));
      CHECK(std::signbit(x) == ((h & 0x8000u) != 0));
    } else if ((h & 0x3FFu) == 0) {
      CHECK(x == (h & 0x8000u ? -kInfinity : kInfinity));
    } else {
      CHECK(std::isnan(x));
    }
  }
}

TEST(convert, f16_rounds_to_nearest_even) {
  check_rounding(0x7BFF, f16_to_f32, f32_to_f16);
  CHECK(f32_to_f16(std::nextafter(65520.0f, 0.0f)) == 0x7BFF);
  CHECK(f32_to_f16(65520.0f) == 0x7C00);
  CHECK(f32_to_f16(-3e38f) == 0xFC00);
  CHECK(f32_to_f16(kInfinity) == 0x7C00);
  CHECK(f32_to_f16(std::numeric_limits<float>::denorm_min()) == 0);
  for (uint32_t h = 0x7C01; h < 0x8000u; ++h) CHECK(std::isnan(f16_to_f32(f32_to_f16(f16_to_f32(static_cast<f16_t>(h))))));
}

TEST(convert, bf16_rounds_to_nearest_even) {
  check_rounding(0x7F7F, bf16_to_f32, f32_to_bf16);
  CHECK(f32_to_bf16(std::numeric_limits<float>::max()) == 0x7F80);
  CHECK(f32_to_bf16(-kInfinity) == 0xFF80);
  for (uint32_t low = 1; low < 0x10000u; ++low)
    CHECK(std::isnan(bf16_to_f32(f32_to_bf16(f32_from_bits(0x7F800000u | low)))));
}

// Over all 2^16 draws the number of roundings up is the discarded fraction, so the mean is x itself.
TEST(convert, stochastic_rounding_is_exact_in_the_mean) {
  for (const float x : {1.0f, 1.00001f, -3.14159274f, 1e-30f, 0.0f, 6.5e37f}) {
    double sum = 0;
    for (uint32_t r = 0; r < 0x10000u; ++r) sum += bf16_to_f32(f32_to_bf16_stochastic(x, r));
    CHECK(sum / 0x10000 == x);
  }
  CHECK(f32_to_bf16_stochastic(kInfinity, 0xFFFF) == 0x7F80);
  CHECK(std::isnan(bf16_to_f32(f32_to_bf16_stochastic(std::nanf(""), 0xFFFF))));
}

}  // namespace nft
