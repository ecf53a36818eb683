#pragma once
// Reductions to one number, in a fixed order (blocks of 4096 elements in f64), independent of the thread count.
#include "fields.h"

namespace nft {

// out += sum x^2. NaN and Inf in x show in out. x float, contiguous; out [1] f64.
struct SumOfSquares {
  static constexpr const char* kName = "sum_of_squares";
  Tensor x, out;
  template <class V>
  void fields(V& v) {
    v.tensor("x", Access::in, x);
    v.tensor("out", Access::inout, out);
  }
  void check() const {
    check::float_type(kName, "x", x);
    check::contiguous(kName, "x", x);
    check::type(kName, "out", out, DType::f64);
    check::shape(kName, "out", out, 1);
  }
};

}  // namespace nft
