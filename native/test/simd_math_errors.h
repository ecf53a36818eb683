#pragma once
// Largest errors of the vector functions, measured by code compiled for each instruction set.
namespace nft::test {

enum class VectorFunction { exp, sigmoid, tanh, erf };

// In units in the last place of the f32 result, over floats spread evenly by their bits in [low, high].
using LargestError = double (*)(VectorFunction f, float low, float high);
using Evaluate = float (*)(VectorFunction f, float x);

struct VectorMath {
  bool (*supported)();
  LargestError largest_error;
  Evaluate evaluate;
};

#define NFT_TEST_VECTOR_MATH(isa)                                \
  namespace isa {                                                \
  double largest_error(VectorFunction f, float low, float high); \
  float evaluate(VectorFunction f, float x);                     \
  }
NFT_TEST_VECTOR_MATH(baseline)
NFT_TEST_VECTOR_MATH(avx2)
NFT_TEST_VECTOR_MATH(avx512)
NFT_TEST_VECTOR_MATH(avx512bf16)
#undef NFT_TEST_VECTOR_MATH

}  // namespace nft::test
