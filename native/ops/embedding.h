#pragma once
// Embedding lookup. y[n] = scale * weight[ids[n]].
// ids [N] i32 in [0, V), else ERR_SHAPE; weight [V, C] any format; y, dy [N, C] float. Gemma scales by sqrt(C).
#include "fields.h"

namespace nft {

struct EmbeddingForward {
  static constexpr const char* kName = "embedding_forward";
  Tensor ids, weight, y;
  double scale = 1;
  template <class V>
  void fields(V& v) {
    v.tensor("ids", Access::in, ids);
    v.tensor("weight", Access::in, weight);
    v.tensor("y", Access::out, y);
    v.real("scale", scale);
  }
  void check() const {
    check::type(kName, "ids", ids, DType::i32);
    check::any_weight(kName, "weight", weight);
    check::float_type(kName, "y", y);
    check::shape(kName, "y", y, ids.num_elements(), weight.cols());
  }
};

// dweight[ids[n]] += scale * dy[n], rows that occur several times in the order of n. dweight [V, C] f32 (f64 on ref).
struct EmbeddingBackward {
  static constexpr const char* kName = "embedding_backward";
  Tensor ids, dy, dweight;
  double scale = 1;
  template <class V>
  void fields(V& v) {
    v.tensor("ids", Access::in, ids);
    v.tensor("dy", Access::in, dy);
    v.tensor("dweight", Access::inout, dweight);
    v.real("scale", scale);
  }
  void check() const {
    check::type(kName, "ids", ids, DType::i32);
    check::float_type(kName, "dy", dy);
    check::accumulator(kName, "dweight", dweight);
    check::contiguous(kName, "dweight", dweight);
    check::shape(kName, "dy", dy, ids.num_elements(), dweight.cols());
  }
};

// The same gradient, consumed at once: weight = update(weight, gradient), for all V rows (rows without a token have gradient
// 0, so that weight decay and moments behave as with a buffer). Bit-equal to embedding_backward into zeros +
// optimizer_update.
struct EmbeddingUpdate {
  static constexpr const char* kName = "embedding_update";
  Tensor ids, dy, weight;
  double scale = 1;
  UpdateRule rule;
  template <class V>
  void fields(V& v) {
    v.tensor("ids", Access::in, ids);
    v.tensor("dy", Access::in, dy);
    v.tensor("weight", Access::inout, weight);
    v.real("scale", scale);
    rule.fields(v);
  }
  void check() const {
    check::type(kName, "ids", ids, DType::i32);
    check::float_type(kName, "dy", dy);
    check::shape(kName, "dy", dy, ids.num_elements(), weight.cols());
    rule.check(kName, weight);
  }
};

}  // namespace nft
