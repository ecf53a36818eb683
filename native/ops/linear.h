#pragma once
// Linear layers over weights in any storage format, converted tile by tile while packing; no f32 copy of a weight exists.
// N tokens, K inputs, M outputs, R low-rank width. Accumulation in f32 (f64 on ref). x, y, dx, dy may have strided rows.
// Where activations and result are bf16, a kernel may round operands in a finer format (f32 adapters, quantized weights) to
// bf16 before it multiplies them.
#include "fields.h"

namespace nft {

// y = x weight^T [+ bias] [+ tail_scale * tail_x tail_weight^T] [+ residual]
// x [N, K]; weight [M, K] any format; bias [M]; tail_x [N, R] and tail_weight [M, R] extend the inner dimension by R
// (LoRA: tail_x = x A^T, tail_weight = B, Hu et al. 2021, arXiv 2106.09685); residual [N, M], may alias y; y [N, M].
struct LinearForward {
  static constexpr const char* kName = "linear_forward";
  Tensor x, weight, bias, tail_x, tail_weight, residual, y;
  double tail_scale = 1;
  template <class V>
  void fields(V& v) {
    v.tensor("x", Access::in, x);
    v.tensor("weight", Access::in, weight);
    v.tensor_optional("bias", Access::in, bias);
    v.tensor_optional("tail_x", Access::in, tail_x);
    v.tensor_optional("tail_weight", Access::in, tail_weight);
    v.tensor_optional("residual", Access::in, residual);
    v.tensor("y", Access::out, y);
    v.real("tail_scale", tail_scale);
  }
  void check() const {
    check::float_type(kName, "x", x);
    check::any_weight(kName, "weight", weight);
    check::contiguous(kName, "weight", weight);
    check::float_type(kName, "y", y);
    check::that(x.cols() == weight.cols(), kName, "x", "as wide as weight");
    check::shape(kName, "y", y, x.rows(), weight.rows());
    if (bias.present) {
      check::float_type(kName, "bias", bias);
      check::shape(kName, "bias", bias, weight.rows());
    }
    check::that(tail_x.present == tail_weight.present, kName, "tail_x and tail_weight", "given together");
    if (tail_x.present) {
      check::float_type(kName, "tail_x", tail_x);
      check::float_type(kName, "tail_weight", tail_weight);
      check::shape(kName, "tail_x", tail_x, x.rows(), tail_weight.cols());
      check::shape(kName, "tail_weight", tail_weight, weight.rows(), tail_x.cols());
    }
    if (residual.present) {
      check::float_type(kName, "residual", residual);
      check::same_shape(kName, "residual", residual, "y", y);
    }
  }
};

// dx = dy weight [+ tail_scale * tail_dy tail_weight], added to dx when accumulate = 1.
// dy [N, M]; weight [M, K]; tail_dy [N, R] (LoRA: dy B), tail_weight [R, K] (LoRA: A); dx [N, K].
struct LinearBackwardInput {
  static constexpr const char* kName = "linear_backward_input";
  Tensor dy, weight, tail_dy, tail_weight, dx;
  double tail_scale = 1;
  int64_t accumulate = 0;
  template <class V>
  void fields(V& v) {
    v.tensor("dy", Access::in, dy);
    v.tensor("weight", Access::in, weight);
    v.tensor_optional("tail_dy", Access::in, tail_dy);
    v.tensor_optional("tail_weight", Access::in, tail_weight);
    v.tensor("dx", Access::inout, dx);
    v.real("tail_scale", tail_scale);
    v.integer("accumulate", accumulate);
  }
  void check() const {
    check::float_type(kName, "dy", dy);
    check::any_weight(kName, "weight", weight);
    check::contiguous(kName, "weight", weight);
    check::float_type(kName, "dx", dx);
    check::that(dy.cols() == weight.rows(), kName, "dy", "as wide as weight has rows");
    check::shape(kName, "dx", dx, dy.rows(), weight.cols());
    check::that(tail_dy.present == tail_weight.present, kName, "tail_dy and tail_weight", "given together");
    if (tail_dy.present) {
      check::float_type(kName, "tail_dy", tail_dy);
      check::float_type(kName, "tail_weight", tail_weight);
      check::shape(kName, "tail_dy", tail_dy, dy.rows(), tail_weight.rows());
      check::shape(kName, "tail_weight", tail_weight, tail_dy.cols(), weight.cols());
    }
  }
};

// dweight = scale * dy^T x, added to dweight when accumulate = 1. dy [N, M]; x [N, K]; dweight [M, K] f32 (f64 on ref).
struct LinearBackwardWeight {
  static constexpr const char* kName = "linear_backward_weight";
  Tensor dy, x, dweight;
  double scale = 1;
  int64_t accumulate = 0;
  template <class V>
  void fields(V& v) {
    v.tensor("dy", Access::in, dy);
    v.tensor("x", Access::in, x);
    v.tensor("dweight", Access::inout, dweight);
    v.real("scale", scale);
    v.integer("accumulate", accumulate);
  }
  void check() const {
    check::float_type(kName, "dy", dy);
    check::float_type(kName, "x", x);
    check::that(dy.rows() == x.rows(), kName, "dy", "as long as x");
    check::accumulator(kName, "dweight", dweight);
    check::contiguous(kName, "dweight", dweight);
    check::shape(kName, "dweight", dweight, dy.cols(), x.cols());
  }
};

// dbias[m] += sum over rows of dy[n, m]. dy [N, M]; dbias [M] f32 (f64 on ref).
struct LinearBackwardBias {
  static constexpr const char* kName = "linear_backward_bias";
  Tensor dy, dbias;
  template <class V>
  void fields(V& v) {
    v.tensor("dy", Access::in, dy);
    v.tensor("dbias", Access::inout, dbias);
  }
  void check() const {
    check::float_type(kName, "dy", dy);
    check::accumulator(kName, "dbias", dbias);
    check::shape(kName, "dbias", dbias, dy.cols());
  }
};

// weight = update(weight, scale * dy^T x): the gradient exists only as a strip of rows in the workspace (LOMO, Lv et al.
// 2023, arXiv 2306.09782). Bit-equal to linear_backward_weight into zeros + optimizer_update.
struct LinearBackwardWeightUpdate {
  static constexpr const char* kName = "linear_backward_weight_update";
  Tensor dy, x, weight;
  double scale = 1;
  UpdateRule rule;
  template <class V>
  void fields(V& v) {
    v.tensor("dy", Access::in, dy);
    v.tensor("x", Access::in, x);
    v.tensor("weight", Access::inout, weight);
    v.real("scale", scale);
    rule.fields(v);
  }
  void check() const {
    check::float_type(kName, "dy", dy);
    check::float_type(kName, "x", x);
    check::that(dy.rows() == x.rows(), kName, "dy", "as long as x");
    check::shape(kName, "weight", weight, dy.cols(), x.cols());
    rule.check(kName, weight);
  }
};

}  // namespace nft
