#pragma once
// Causal attention over variable-length packed sequences with grouped heads; no T x T matrix in memory
// (Dao et al. 2022, arXiv 2205.14135: forward keeps only the log-sum-exp, backward recomputes).
// Sequence s owns query rows [cu_q[s], cu_q[s+1]) and key rows [cu_k[s], cu_k[s+1]); with lq queries and lk keys, query i
// has position p = i + lk - lq and attends to keys j with p - window < j <= p (window 0 = all). Query head h reads key head
// h / (heads / kv_heads).
//   z = scale * q k^T;  z = softcap * tanh(z / softcap) if softcap > 0;  o = softmax(z) v;  lse = log sum exp z
// q, o [N, heads * D], k, v [Nk, kv_heads * D], all float, rows may be strided; lse [N, heads] f32 (f64 on ref).
// Scores, softmax and sums are f32 (f64 on ref); where all inputs are bf16, a kernel may round p and dz to bf16 before it
// multiplies them. A query without keys, or outside every sequence, gives o = 0 and lse = -inf; rows of q, k and v outside
// every sequence have gradient 0. cu_q, cu_k: 0 <= rising <= rows, else ERR_SHAPE.
#include "fields.h"

namespace nft {

struct AttentionShape {
  int64_t heads = 1, kv_heads = 1, window = 0;
  double scale = 1, softcap = 0;
  template <class V>
  void fields(V& v) {
    v.integer("heads", heads);
    v.integer("kv_heads", kv_heads);
    v.integer("window", window);
    v.real("scale", scale);
    v.real("softcap", softcap);
  }
  void check(const char* op, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& cu_q,
             const Tensor& cu_k) const {
    check::float_type(op, "q", q);
    check::float_type(op, "k", k);
    check::float_type(op, "v", v);
    check::same_shape(op, "v", v, "k", k);
    check::that(window >= 0, op, "window", "0 (all) or more");
    check::that(softcap >= 0, op, "softcap", "0 (off) or more");
    check::that(heads > 0 && kv_heads > 0 && heads % kv_heads == 0, op, "heads", "a multiple of kv_heads");
    check::that(q.cols() % heads == 0, op, "q", "heads * D wide");
    check::that(k.cols() == q.cols() / heads * kv_heads, op, "k", "kv_heads * D wide");
    check::type(op, "cu_q", cu_q, DType::i32);
    check::type(op, "cu_k", cu_k, DType::i32);
    check::that(cu_q.num_elements() >= 1 && cu_q.num_elements() == cu_k.num_elements(), op, "cu_q and cu_k",
                "of equal length, one more than there are sequences");
  }
};

struct AttentionForward {
  static constexpr const char* kName = "attention_forward";
  Tensor q, k, v, cu_q, cu_k, o, lse;
  AttentionShape shape;
  template <class V>
  void fields(V& visit) {
    visit.tensor("q", Access::in, q);
    visit.tensor("k", Access::in, k);
    visit.tensor("v", Access::in, v);
    visit.tensor("cu_q", Access::in, cu_q);
    visit.tensor("cu_k", Access::in, cu_k);
    visit.tensor("o", Access::out, o);
    visit.tensor_optional("lse", Access::out, lse);
    shape.fields(visit);
  }
  void check() const {
    shape.check(kName, q, k, v, cu_q, cu_k);
    check::float_type(kName, "o", o);
    check::same_shape(kName, "o", o, "q", q);
    if (lse.present) {
      check::accumulator(kName, "lse", lse);
      check::shape(kName, "lse", lse, q.rows(), shape.heads);
    }
  }
};

// do = dL/do. With p = exp(z - lse), dp = do v^T, delta = rowsum(do * o), dz = p * (dp - delta) [* (1 - (z/softcap)^2)]:
//   dv = p^T do;  dq = scale * dz k;  dk = scale * dz^T q. Written, not added. Summation order fixed: repeatable bit for
//   bit.
struct AttentionBackward {
  static constexpr const char* kName = "attention_backward";
  Tensor dout, q, k, v, o, lse, cu_q, cu_k, dq, dk, dv;
  AttentionShape shape;
  template <class V>
  void fields(V& visit) {
    visit.tensor("dout", Access::in, dout);
    visit.tensor("q", Access::in, q);
    visit.tensor("k", Access::in, k);
    visit.tensor("v", Access::in, v);
    visit.tensor("o", Access::in, o);
    visit.tensor("lse", Access::in, lse);
    visit.tensor("cu_q", Access::in, cu_q);
    visit.tensor("cu_k", Access::in, cu_k);
    visit.tensor("dq", Access::out, dq);
    visit.tensor("dk", Access::out, dk);
    visit.tensor("dv", Access::out, dv);
    shape.fields(visit);
  }
  void check() const {
    shape.check(kName, q, k, v, cu_q, cu_k);
    check::float_type(kName, "dout", dout);
    check::float_type(kName, "o", o);
    check::float_type(kName, "dq", dq);
    check::float_type(kName, "dk", dk);
    check::float_type(kName, "dv", dv);
    check::same_shape(kName, "dout", dout, "q", q);
    check::same_shape(kName, "o", o, "q", q);
    check::same_shape(kName, "dq", dq, "q", q);
    check::same_shape(kName, "dk", dk, "k", k);
    check::same_shape(kName, "dv", dv, "v", v);
    check::accumulator(kName, "lse", lse);
    check::shape(kName, "lse", lse, q.rows(), shape.heads);
  }
};

}  // namespace nft
