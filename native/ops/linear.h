#pragma once
// Linear layers over weights in any storage format, converted tile by tile while packing; no f32 copy of a weight exists.
// N tokens, K inputs, M outputs, R low-rank width. Accumulation in f32 (f64 on ref). x, y, dx, dy may have strided rows.
// Where activations and result are bf16, a kernel may round operands in a finer format (f32 adapters, quantized weights) to
// bf16 before it multiplies them.
#include "fields.h"

namespace nft {

// Arguments of a layer as errors name them. Constants of the namespace: members would be symbols that all instruction sets
// share.
struct ForwardNames {
  const char *op, *weight, *bias, *tail_x, *tail_weight, *y;
};
struct BackwardInputNames {
  const char *op, *dy, *weight, *tail_dy, *tail_weight;
};
constexpr int kSharedLayers = 3;
constexpr ForwardNames kForwardNames = {"linear_forward", "weight", "bias", "tail_x", "tail_weight", "y"};
constexpr ForwardNames kForwardSharedNames[kSharedLayers] = {
    {"linear_forward_shared", "weight0", "bias0", "tail_x0", "tail_weight0", "y0"},
    {"linear_forward_shared", "weight1", "bias1", "tail_x1", "tail_weight1", "y1"},
    {"linear_forward_shared", "weight2", "bias2", "tail_x2", "tail_weight2", "y2"},
};
constexpr BackwardInputNames kBackwardInputNames = {"linear_backward_input", "dy", "weight", "tail_dy", "tail_weight"};
constexpr BackwardInputNames kBackwardInputSharedNames[kSharedLayers] = {
    {"linear_backward_input_shared", "dy0", "weight0", "tail_dy0", "tail_weight0"},
    {"linear_backward_input_shared", "dy1", "weight1", "tail_dy1", "tail_weight1"},
    {"linear_backward_input_shared", "dy2", "weight2", "tail_dy2", "tail_weight2"},
};
struct BackwardWeightNames {
  const char *op, *dy, *dweight;
};
constexpr BackwardWeightNames kBackwardWeightSharedNames[kSharedLayers] = {
    {"linear_backward_weight_shared", "dy0", "dweight0"},
    {"linear_backward_weight_shared", "dy1", "dweight1"},
    {"linear_backward_weight_shared", "dy2", "dweight2"},
};
constexpr const char* kSharedAccumulateNames[kSharedLayers] = {"accumulate0", "accumulate1", "accumulate2"};
constexpr const char* kSharedScaleNames[kSharedLayers] = {"tail_scale0", "tail_scale1", "tail_scale2"};
constexpr const char* kSharedGradientScaleNames[kSharedLayers] = {"scale0", "scale1", "scale2"};

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
  void check() const { check(kForwardNames); }
  void check(const ForwardNames& n) const {
    check::float_type(n.op, "x", x);
    check::any_weight(n.op, n.weight, weight);
    check::contiguous(n.op, n.weight, weight);
    check::float_type(n.op, n.y, y);
    check::that(x.cols() == weight.cols(), n.op, "x", "as wide as weight");
    check::shape(n.op, n.y, y, x.rows(), weight.rows());
    if (bias.present) {
      check::float_type(n.op, n.bias, bias);
      check::shape(n.op, n.bias, bias, weight.rows());
    }
    check::that(tail_x.present == tail_weight.present, n.op, n.tail_x, "given together with the tail's weight");
    if (tail_x.present) {
      check::float_type(n.op, n.tail_x, tail_x);
      check::float_type(n.op, n.tail_weight, tail_weight);
      check::shape(n.op, n.tail_x, tail_x, x.rows(), tail_weight.cols());
      check::shape(n.op, n.tail_weight, tail_weight, weight.rows(), tail_x.cols());
    }
    if (residual.present) {
      check::float_type(n.op, "residual", residual);
      check::same_shape(n.op, "residual", residual, n.y, y);
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
  void check() const { check(kBackwardInputNames); }
  void check(const BackwardInputNames& n) const {
    check::float_type(n.op, n.dy, dy);
    check::any_weight(n.op, n.weight, weight);
    check::contiguous(n.op, n.weight, weight);
    check::float_type(n.op, "dx", dx);
    check::that(dy.cols() == weight.rows(), n.op, n.dy, "as wide as weight has rows");
    check::shape(n.op, "dx", dx, dy.rows(), weight.cols());
    check::that(tail_dy.present == tail_weight.present, n.op, n.tail_dy, "given together with the tail's weight");
    if (tail_dy.present) {
      check::float_type(n.op, n.tail_dy, tail_dy);
      check::float_type(n.op, n.tail_weight, tail_weight);
      check::shape(n.op, n.tail_dy, tail_dy, dy.rows(), tail_weight.rows());
      check::shape(n.op, n.tail_weight, tail_weight, tail_dy.cols(), weight.cols());
    }
  }
};

// Up to three layers that read the same x (q, k, v; gate, up): for each, y = x weight^T [+ bias] [+ tail_scale * tail_x
// tail_weight^T], as linear_forward to the bit where all are stored in the same types. Shapes as there; layers 1 and 2 may
// be left out.
struct LinearForwardShared {
  static constexpr const char* kName = "linear_forward_shared";
  static constexpr int kLayers = kSharedLayers;
  struct Layer {
    Tensor weight, bias, tail_x, tail_weight, y;
    double tail_scale = 1;
  };
  Tensor x;
  Layer layers[kLayers];
  template <class V>
  void fields(V& v) {
    v.tensor("x", Access::in, x);
    for (int i = 0; i < kLayers; ++i) {
      Layer& l = layers[i];
      const ForwardNames& n = kForwardSharedNames[i];
      if (i == 0) {
        v.tensor(n.weight, Access::in, l.weight);
        v.tensor(n.y, Access::out, l.y);
      } else {
        v.tensor_optional(n.weight, Access::in, l.weight);
        v.tensor_optional(n.y, Access::out, l.y);
      }
      v.tensor_optional(n.bias, Access::in, l.bias);
      v.tensor_optional(n.tail_x, Access::in, l.tail_x);
      v.tensor_optional(n.tail_weight, Access::in, l.tail_weight);
      v.real(kSharedScaleNames[i], l.tail_scale);
    }
  }
  // The op of one layer alone.
  LinearForward alone(int i) const {
    LinearForward a;
    const Layer& l = layers[i];
    a.x = x;
    a.weight = l.weight;
    a.bias = l.bias;
    a.tail_x = l.tail_x;
    a.tail_weight = l.tail_weight;
    a.y = l.y;
    a.tail_scale = l.tail_scale;
    return a;
  }
  void check() const {
    for (int i = 0; i < kLayers; ++i) {
      const Layer& l = layers[i];
      check::that(l.weight.present == l.y.present, kName, kForwardSharedNames[i].weight, "given together with its y");
      check::that(l.weight.present || !(l.bias.present || l.tail_x.present || l.tail_weight.present), kName,
                  kForwardSharedNames[i].weight, "given where its layer has a bias or a tail");
      if (l.weight.present) alone(i).check(kForwardSharedNames[i]);
    }
  }
};

// Their input gradient: dx = the sum over the layers of dy weight [+ tail_scale * tail_dy tail_weight], rounded once. Shapes
// as in linear_backward_input; layers 1 and 2 may be left out.
struct LinearBackwardInputShared {
  static constexpr const char* kName = "linear_backward_input_shared";
  static constexpr int kLayers = kSharedLayers;
  struct Layer {
    Tensor dy, weight, tail_dy, tail_weight;
    double tail_scale = 1;
  };
  Tensor dx;
  Layer layers[kLayers];
  template <class V>
  void fields(V& v) {
    for (int i = 0; i < kLayers; ++i) {
      Layer& l = layers[i];
      const BackwardInputNames& n = kBackwardInputSharedNames[i];
      if (i == 0) {
        v.tensor(n.dy, Access::in, l.dy);
        v.tensor(n.weight, Access::in, l.weight);
      } else {
        v.tensor_optional(n.dy, Access::in, l.dy);
        v.tensor_optional(n.weight, Access::in, l.weight);
      }
      v.tensor_optional(n.tail_dy, Access::in, l.tail_dy);
      v.tensor_optional(n.tail_weight, Access::in, l.tail_weight);
      v.real(kSharedScaleNames[i], l.tail_scale);
    }
    v.tensor("dx", Access::out, dx);
  }
  LinearBackwardInput alone(int i) const {
    LinearBackwardInput a;
    const Layer& l = layers[i];
    a.dy = l.dy;
    a.weight = l.weight;
    a.tail_dy = l.tail_dy;
    a.tail_weight = l.tail_weight;
    a.dx = dx;
    a.tail_scale = l.tail_scale;
    return a;
  }
  void check() const {
    for (int i = 0; i < kLayers; ++i) {
      const Layer& l = layers[i];
      check::that(l.weight.present == l.dy.present, kName, kBackwardInputSharedNames[i].weight,
                  "given together with its dy");
      check::that(l.weight.present || !(l.tail_dy.present || l.tail_weight.present), kName,
                  kBackwardInputSharedNames[i].weight, "given where its layer has a tail");
      if (l.weight.present) alone(i).check(kBackwardInputSharedNames[i]);
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
  void check() const { check({kName, "dy", "dweight"}); }
  void check(const BackwardWeightNames& n) const {
    check::float_type(n.op, n.dy, dy);
    check::float_type(n.op, "x", x);
    check::that(dy.rows() == x.rows(), n.op, n.dy, "as long as x");
    check::accumulator(n.op, n.dweight, dweight);
    check::contiguous(n.op, n.dweight, dweight);
    check::shape(n.op, n.dweight, dweight, dy.cols(), x.cols());
  }
};

// Up to three layers that read the same x: for each, dweight = scale * dy^T x, as linear_backward_weight to the bit. Shapes
// as there; layers 1 and 2 may be left out. Where the outputs are narrow (LoRA's A) x is read once.
struct LinearBackwardWeightShared {
  static constexpr const char* kName = "linear_backward_weight_shared";
  static constexpr int kLayers = kSharedLayers;
  struct Layer {
    Tensor dy, dweight;
    double scale = 1;
    int64_t accumulate = 0;
  };
  Tensor x;
  Layer layers[kLayers];
  template <class V>
  void fields(V& v) {
    v.tensor("x", Access::in, x);
    for (int i = 0; i < kLayers; ++i) {
      Layer& l = layers[i];
      const BackwardWeightNames& n = kBackwardWeightSharedNames[i];
      if (i == 0) {
        v.tensor(n.dy, Access::in, l.dy);
        v.tensor(n.dweight, Access::inout, l.dweight);
      } else {
        v.tensor_optional(n.dy, Access::in, l.dy);
        v.tensor_optional(n.dweight, Access::inout, l.dweight);
      }
      v.real(kSharedGradientScaleNames[i], l.scale);
      v.integer(kSharedAccumulateNames[i], l.accumulate);
    }
  }
  // The op of one layer alone.
  LinearBackwardWeight alone(int i) const {
    LinearBackwardWeight a;
    a.dy = layers[i].dy;
    a.x = x;
    a.dweight = layers[i].dweight;
    a.scale = layers[i].scale;
    a.accumulate = layers[i].accumulate;
    return a;
  }
  void check() const {
    for (int i = 0; i < kLayers; ++i) {
      const BackwardWeightNames& n = kBackwardWeightSharedNames[i];
      check::that(layers[i].dy.present == layers[i].dweight.present, kName, n.dy, "given together with its dweight");
      if (layers[i].dy.present) alone(i).check(n);
    }
  }
};

// Both gradients of a layer: dx = dy weight, and dweight = scale * dy^T x, added to dweight when accumulate = 1. To the bit
// as linear_backward_input and linear_backward_weight; where weight and x are narrow (LoRA's B) dy is read once. Shapes as
// there.
struct LinearBackward {
  static constexpr const char* kName = "linear_backward";
  Tensor dy, weight, x, dx, dweight;
  double scale = 1;
  int64_t accumulate = 0;
  template <class V>
  void fields(V& v) {
    v.tensor("dy", Access::in, dy);
    v.tensor("weight", Access::in, weight);
    v.tensor("x", Access::in, x);
    v.tensor("dx", Access::out, dx);
    v.tensor("dweight", Access::inout, dweight);
    v.real("scale", scale);
    v.integer("accumulate", accumulate);
  }
  LinearBackwardInput input() const {
    LinearBackwardInput a;
    a.dy = dy;
    a.weight = weight;
    a.dx = dx;
    return a;
  }
  LinearBackwardWeight gradient() const {
    LinearBackwardWeight a;
    a.dy = dy;
    a.x = x;
    a.dweight = dweight;
    a.scale = scale;
    a.accumulate = accumulate;
    return a;
  }
  void check() const {
    input().check({kName, "dy", "weight", "", ""});
    gradient().check({kName, "dy", "dweight"});
    check::same_shape(kName, "dx", dx, "x", x);
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
