// The error bounds stated in kernels/cpu/simd_math.h, for every instruction set this processor has.
#include <cmath>
#include <limits>

#include "simd_math_errors.h"
#include "test.h"

namespace nft::test {

namespace {

#if defined(__x86_64__)
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}
#endif

const VectorMath kSets[] = {
    {[] { return true; }, baseline::largest_error, baseline::evaluate},
#if defined(__x86_64__)
    {[] { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }, avx2::largest_error, avx2::evaluate},
    {has_avx512, avx512::largest_error, avx512::evaluate},
    {[] { return has_avx512() && __builtin_cpu_supports("avx512bf16"); }, avx512bf16::largest_error, avx512bf16::evaluate},
#endif
};

template <class F>
void for_each_set(F&& f) {
  for (const VectorMath& set : kSets)
    if (set.supported()) f(set);
}

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

}  // namespace

TEST(simd_math, exp_is_within_its_bound) {
  for_each_set([](const VectorMath& set) {
    CHECK(set.largest_error(VectorFunction::exp, -87.3f, 88.72f) <= 1);
    CHECK(set.largest_error(VectorFunction::exp, -104.f, -87.3f) <= 1);
    CHECK(set.largest_error(VectorFunction::exp, -1.f, 1.f) <= 1);
  });
}

TEST(simd_math, sigmoid_is_within_its_bound) {
  for_each_set([](const VectorMath& set) {
    CHECK(set.largest_error(VectorFunction::sigmoid, -87.f, 100.f) <= 2.5);
    CHECK(set.evaluate(VectorFunction::sigmoid, -100.f) <= 1.2e-38f);
  });
}

TEST(simd_math, tanh_is_within_its_bound) {
  for_each_set([](const VectorMath& set) {
    CHECK(set.largest_error(VectorFunction::tanh, -100.f, 100.f) <= 2);
    CHECK(set.largest_error(VectorFunction::tanh, 0.1f, 1.f) <= 2);
  });
}

TEST(simd_math, erf_is_within_its_bound) {
  for_each_set([](const VectorMath& set) {
    CHECK(set.largest_error(VectorFunction::erf, -10.f, 10.f) <= 3);
    CHECK(set.largest_error(VectorFunction::erf, 0.5f, 4.5f) <= 3);
  });
}

TEST(simd_math, limits) {
  for_each_set([](const VectorMath& set) {
    CHECK(set.evaluate(VectorFunction::exp, 0.f) == 1.f);
    CHECK(set.evaluate(VectorFunction::exp, -kInfinity) == 0.f);
    CHECK(set.evaluate(VectorFunction::exp, -1000.f) == 0.f);
    CHECK(set.evaluate(VectorFunction::exp, kInfinity) == kInfinity);
    CHECK(set.evaluate(VectorFunction::exp, 1000.f) == kInfinity);
    CHECK(set.evaluate(VectorFunction::sigmoid, kInfinity) == 1.f);
    CHECK(set.evaluate(VectorFunction::sigmoid, -kInfinity) == 0.f);
    CHECK(set.evaluate(VectorFunction::tanh, kInfinity) == 1.f);
    CHECK(set.evaluate(VectorFunction::tanh, -kInfinity) == -1.f);
    CHECK(set.evaluate(VectorFunction::erf, kInfinity) == 1.f);
    CHECK(set.evaluate(VectorFunction::erf, -kInfinity) == -1.f);
    for (const VectorFunction f : {VectorFunction::exp, VectorFunction::sigmoid, VectorFunction::tanh, VectorFunction::erf})
      CHECK(std::isnan(set.evaluate(f, kNan)));
  });
}

}  // namespace nft::test
