#pragma once
// Rotary position embedding (Su et al. 2021, arXiv 2104.09864), "halves" layout as in Hugging Face checkpoints:
// within a head the pairs are (i, i + R), i < R; dimensions from 2R on are left as they are (partial rotary).
#include "fields.h"

namespace nft {

// cos[n,i] = scale * cos(positions[n] * inv_freq[i]), sin likewise. positions [N] i32; inv_freq [R] f32 or f64; cos, sin [N,
// R]. The product is formed in inv_freq's type, as the reference implementations do (f32), which matters for long contexts.
struct RopeTable {
  static constexpr const char* kName = "rope_table";
  Tensor positions, inv_freq, cos, sin;
  double scale = 1;
  template <class V>
  void fields(V& v) {
    v.tensor("positions", Access::in, positions);
    v.tensor("inv_freq", Access::in, inv_freq);
    v.tensor("cos", Access::out, cos);
    v.tensor("sin", Access::out, sin);
    v.real("scale", scale);
  }
  void check() const {
    check::type(kName, "positions", positions, DType::i32);
    check::accumulator(kName, "inv_freq", inv_freq);
    check::shape(kName, "inv_freq", inv_freq, inv_freq.num_elements());
    for (const Tensor* t : {&cos, &sin}) {
      check::accumulator(kName, t == &cos ? "cos" : "sin", *t);
      check::shape(kName, t == &cos ? "cos" : "sin", *t, positions.num_elements(), inv_freq.num_elements());
      check::contiguous(kName, t == &cos ? "cos" : "sin", *t);
    }
  }
};

// x [N, heads * D] float, rows may be strided, rotated in place. inverse = 1 rotates back: that is the backward pass.
struct RopeInplace {
  static constexpr const char* kName = "rope_inplace";
  Tensor x, cos, sin;
  int64_t heads = 1, inverse = 0;
  template <class V>
  void fields(V& v) {
    v.tensor("x", Access::inout, x);
    v.tensor("cos", Access::in, cos);
    v.tensor("sin", Access::in, sin);
    v.integer("heads", heads);
    v.integer("inverse", inverse);
  }
  void check() const {
    check::float_type(kName, "x", x);
    check::accumulator(kName, "cos", cos);
    check::accumulator(kName, "sin", sin);
    check::same_shape(kName, "sin", sin, "cos", cos);
    check::that(heads > 0 && x.cols() % heads == 0, kName, "heads", "a divisor of x's columns");
    check::that(cos.rows() == x.rows(), kName, "cos", "one row per row of x");
    check::that(2 * cos.cols() <= x.cols() / heads, kName, "cos", "at most half a head wide");
  }
};

}  // namespace nft
