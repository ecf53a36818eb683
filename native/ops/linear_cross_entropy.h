#pragma once
// Head and loss in one: logits = h weight^T are made block by block in the workspace, never whole.
//   z = logits; z = softcap * tanh(z / softcap) if softcap > 0;  nll[n] = logsumexp(z[n]) - z[n, targets[n]]
//   loss_sum += sum_n weights[n] * nll[n];   dz[n, v] = weights[n] * (softmax(z[n])[v] - [v == targets[n]])
//   dh = dlogits weight;  dweight += dlogits^T h
// h, dh [N, C] float; weight [V, C] any format; targets [N] i32 in [0, V), or negative = no loss (its weight and nll count
// as 0); weights [N] f32 (f64 on ref): the objective's per-token weights, normalisation included; loss_sum [1] f64, added
// to; dweight [V, C] f32 (f64 on ref), added to; lse, nll [N] f32 (f64 on ref), 0 for a token without a target, whose logits
// are not made at all; dlogits [N, V] bf16 where h is, else f32 (f64 on ref), rows without a target 0: the one way to have
// them whole, for linear_cross_entropy_update. dh, dweight, dlogits, lse, nll are each made only if present. Sums over V and
// over N are taken in a fixed order. Block sizes are the kernel's choice.
#include "fields.h"

namespace nft {

inline void check_logit_gradient(const char* op, const Tensor& h, const Tensor& weight, const Tensor& dlogits) {
  if (!dlogits.present) return;
  check::float_type(op, "dlogits", dlogits);
  check::that((dlogits.dtype == DType::bf16) == (h.dtype == DType::bf16), op, "dlogits", "bf16 where h is");
  check::shape(op, "dlogits", dlogits, h.rows(), weight.rows());
}

struct LinearCrossEntropy {
  static constexpr const char* kName = "linear_cross_entropy";
  Tensor h, weight, targets, weights, loss_sum, dh, dweight, lse, nll, dlogits;
  double softcap = 0;
  template <class V>
  void fields(V& v) {
    v.tensor("h", Access::in, h);
    v.tensor("weight", Access::in, weight);
    v.tensor("targets", Access::in, targets);
    v.tensor("weights", Access::in, weights);
    v.tensor("loss_sum", Access::inout, loss_sum);
    v.tensor_optional("dh", Access::out, dh);
    v.tensor_optional("dweight", Access::inout, dweight);
    v.tensor_optional("lse", Access::out, lse);
    v.tensor_optional("nll", Access::out, nll);
    v.tensor_optional("dlogits", Access::out, dlogits);
    v.real("softcap", softcap);
  }
  void check() const {
    check::float_type(kName, "h", h);
    check::contiguous(kName, "h", h);
    check::any_weight(kName, "weight", weight);
    check::that(h.cols() == weight.cols(), kName, "h", "as wide as weight");
    check::type(kName, "targets", targets, DType::i32);
    check::shape(kName, "targets", targets, h.rows());
    check::accumulator(kName, "weights", weights);
    check::shape(kName, "weights", weights, h.rows());
    check::type(kName, "loss_sum", loss_sum, DType::f64);
    check::shape(kName, "loss_sum", loss_sum, 1);
    check::contiguous(kName, "weight", weight);
    check::that(weight.rows() > 0, kName, "weight", "at least one row long");
    check::that(softcap >= 0, kName, "softcap", "0 (off) or more");
    if (dh.present) {
      check::float_type(kName, "dh", dh);
      check::same_shape(kName, "dh", dh, "h", h);
    }
    if (dweight.present) {
      check::accumulator(kName, "dweight", dweight);
      check::contiguous(kName, "dweight", dweight);
      check::same_shape(kName, "dweight", dweight, "weight", weight);
    }
    if (lse.present) {
      check::accumulator(kName, "lse", lse);
      check::shape(kName, "lse", lse, h.rows());
    }
    if (nll.present) {
      check::accumulator(kName, "nll", nll);
      check::shape(kName, "nll", nll, h.rows());
    }
    check_logit_gradient(kName, h, weight, dlogits);
  }
};

// Fused update of the head, and of a tied embedding with it, without a [V, C] gradient buffer: for each strip of rows of the
// vocabulary the gradient is formed from h and dlogits, or without dlogits from h and lse (logits are recomputed), the
// embedding's share
// embedding_scale * embedding_dy[n] is added to row ids[n], and weight = update(weight, gradient).
// To be called when nothing reads the old weight any more. lse [N] as linear_cross_entropy made it.
// ids [Ni] i32 and embedding_dy [Ni, C] are given together, for tied embeddings.
struct LinearCrossEntropyUpdate {
  static constexpr const char* kName = "linear_cross_entropy_update";
  Tensor h, weight, targets, weights, lse, ids, embedding_dy, dlogits;
  double softcap = 0, embedding_scale = 1;
  UpdateRule rule;
  template <class V>
  void fields(V& v) {
    v.tensor("h", Access::in, h);
    v.tensor("weight", Access::inout, weight);
    v.tensor("targets", Access::in, targets);
    v.tensor("weights", Access::in, weights);
    v.tensor("lse", Access::in, lse);
    v.tensor_optional("ids", Access::in, ids);
    v.tensor_optional("embedding_dy", Access::in, embedding_dy);
    v.tensor_optional("dlogits", Access::in, dlogits);
    v.real("softcap", softcap);
    v.real("embedding_scale", embedding_scale);
    rule.fields(v);
  }
  void check() const {
    check::float_type(kName, "h", h);
    check::contiguous(kName, "h", h);
    check::that(h.cols() == weight.cols(), kName, "h", "as wide as weight");
    check::that(softcap >= 0, kName, "softcap", "0 (off) or more");
    check::type(kName, "targets", targets, DType::i32);
    check::shape(kName, "targets", targets, h.rows());
    check::accumulator(kName, "weights", weights);
    check::shape(kName, "weights", weights, h.rows());
    check::accumulator(kName, "lse", lse);
    check::shape(kName, "lse", lse, h.rows());
    check::that(ids.present == embedding_dy.present, kName, "ids and embedding_dy", "given together");
    if (ids.present) {
      check::type(kName, "ids", ids, DType::i32);
      check::float_type(kName, "embedding_dy", embedding_dy);
      check::shape(kName, "embedding_dy", embedding_dy, ids.num_elements(), weight.cols());
    }
    check_logit_gradient(kName, h, weight, dlogits);
    rule.check(kName, weight);
  }
};

}  // namespace nft
