#pragma once
// Norms of the rows of a weight, and of a weight with a low-rank change that is never added to it.
#include "fields.h"

namespace nft {

// out[m] = sum over k of x[m, k]^2. x [M, K] float; out [M] f32 (f64 on ref). Sums in f64.
struct RowSquares {
  static constexpr const char* kName = "row_squares";
  Tensor x, out;
  template <class V>
  void fields(V& v) {
    v.tensor("x", Access::in, x);
    v.tensor("out", Access::out, out);
  }
  void check() const {
    check::float_type(kName, "x", x);
    check::accumulator(kName, "out", out);
    check::shape(kName, "out", out, x.rows());
  }
};

// Column factors of DoRA (Liu et al. 2024, arXiv 2402.09353, equation 5) from parts as small as the adapter:
//   norm[m]^2 = |W[m] + s (B A)[m]|^2 = squares[m] + 2 s B[m] . wa[:, m] + s^2 B[m] aa B[m]^T, not below 0
//   factors[m] = magnitude[m] / norm[m], inverse_norms[m] = 1 / norm[m]; both 0 for a row without length
// magnitude, squares [M], wa [R, M] = A W^T, b [M, R], aa [R, R] = A A^T. All f32 (f64 on ref); sums in f64.
struct DoraFactors {
  static constexpr const char* kName = "dora_factors";
  Tensor magnitude, squares, wa, b, aa, factors, inverse_norms;
  double scale = 1;
  template <class V>
  void fields(V& v) {
    v.tensor("magnitude", Access::in, magnitude);
    v.tensor("squares", Access::in, squares);
    v.tensor("wa", Access::in, wa);
    v.tensor("b", Access::in, b);
    v.tensor("aa", Access::in, aa);
    v.tensor("factors", Access::out, factors);
    v.tensor("inverse_norms", Access::out, inverse_norms);
    v.real("scale", scale);
  }
  void check() const {
    const int64_t m = b.rows(), r = b.cols();
    check::accumulator(kName, "magnitude", magnitude);
    check::shape(kName, "magnitude", magnitude, m);
    check::accumulator(kName, "squares", squares);
    check::shape(kName, "squares", squares, m);
    check::accumulator(kName, "wa", wa);
    check::shape(kName, "wa", wa, r, m);
    check::accumulator(kName, "b", b);
    check::accumulator(kName, "aa", aa);
    check::shape(kName, "aa", aa, r, r);
    check::accumulator(kName, "factors", factors);
    check::shape(kName, "factors", factors, m);
    check::accumulator(kName, "inverse_norms", inverse_norms);
    check::shape(kName, "inverse_norms", inverse_norms, m);
  }
};

}  // namespace nft
