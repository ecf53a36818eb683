#include "../../ops/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "../../core/context.h"
#include "access.h"
#include "log_sum_exp.h"

namespace nft::ref {

// What query i of a sequence sees: keys [first, last) by row number in k, and their capped scores.
struct Scores {
  int64_t first = 0, last = 0;
  std::vector<double> z;      // softcap * tanh(raw / softcap), or raw
  std::vector<double> slope;  // dz / draw
};

struct Heads {
  const AttentionShape& shape;
  const Matrix q, k;
  const int64_t D;

  int64_t kv_head(int64_t h) const { return h / (shape.heads / shape.kv_heads); }

  Scores scores(int64_t h, int64_t query, int64_t position, int64_t k_begin, int64_t k_end) const {
    Scores s;
    s.first = shape.window > 0 ? std::max(k_begin, k_begin + position - shape.window + 1) : k_begin;
    s.last = std::min(k_end, k_begin + position + 1);
    for (int64_t j = s.first; j < s.last; ++j) {
      double raw = 0;
      for (int64_t d = 0; d < D; ++d) raw += q(query, h * D + d) * k(j, kv_head(h) * D + d);
      raw *= shape.scale;
      const double t = shape.softcap > 0 ? std::tanh(raw / shape.softcap) : 0;
      s.z.push_back(shape.softcap > 0 ? shape.softcap * t : raw);
      s.slope.push_back(1 - t * t);
    }
    return s;
  }
};

// f(head, query row, scores) for every query that belongs to a sequence.
template <class F>
static void for_each_query(const Heads& heads, const Tensor& cu_q, const Tensor& cu_k, F&& f) {
  for (int64_t s = 0; s + 1 < cu_q.num_elements(); ++s) {
    const int64_t q_begin = index_at(cu_q, s), q_end = index_at(cu_q, s + 1);
    const int64_t k_begin = index_at(cu_k, s), k_end = index_at(cu_k, s + 1);
    const int64_t shift = (k_end - k_begin) - (q_end - q_begin);
    for (int64_t i = q_begin; i < q_end; ++i)
      for (int64_t h = 0; h < heads.shape.heads; ++h) f(h, i, heads.scores(h, i, i - q_begin + shift, k_begin, k_end));
  }
}

void attention_forward(const AttentionForward& a, Context&) {
  check::offsets(a.kName, "cu_q", a.cu_q, a.q.rows());
  check::offsets(a.kName, "cu_k", a.cu_k, a.k.rows());
  const Heads heads{a.shape, load(a.q), load(a.k), a.q.cols() / a.shape.heads};
  const int64_t D = heads.D;
  const Matrix v = load(a.v);
  Matrix o(a.q.rows(), a.q.cols()), lse(a.q.rows(), a.shape.heads);
  std::fill(lse.data.begin(), lse.data.end(), -std::numeric_limits<double>::infinity());
  for_each_query(heads, a.cu_q, a.cu_k, [&](int64_t h, int64_t i, const Scores& s) {
    lse(i, h) = log_sum_exp(s.z);
    for (int64_t j = s.first; j < s.last; ++j) {
      const double p = std::exp(s.z[static_cast<size_t>(j - s.first)] - lse(i, h));
      for (int64_t d = 0; d < D; ++d) o(i, h * D + d) += p * v(j, heads.kv_head(h) * D + d);
    }
  });
  store(a.o, o);
  if (a.lse.present) store(a.lse, lse);
}

void attention_backward(const AttentionBackward& a, Context&) {
  check::offsets(a.kName, "cu_q", a.cu_q, a.q.rows());
  check::offsets(a.kName, "cu_k", a.cu_k, a.k.rows());
  const Heads heads{a.shape, load(a.q), load(a.k), a.q.cols() / a.shape.heads};
  const int64_t D = heads.D;
  const Matrix v = load(a.v), o = load(a.o), dout = load(a.dout), lse = load(a.lse);
  Matrix dq(a.q.rows(), a.q.cols()), dk(a.k.rows(), a.k.cols()), dv(a.k.rows(), a.k.cols());
  for_each_query(heads, a.cu_q, a.cu_k, [&](int64_t h, int64_t i, const Scores& s) {
    const int64_t qc = h * D, kc = heads.kv_head(h) * D;
    double delta = 0;
    for (int64_t d = 0; d < D; ++d) delta += dout(i, qc + d) * o(i, qc + d);
    for (int64_t j = s.first; j < s.last; ++j) {
      const size_t n = static_cast<size_t>(j - s.first);
      const double p = std::exp(s.z[n] - lse(i, h));
      double dp = 0;
      for (int64_t d = 0; d < D; ++d) dp += dout(i, qc + d) * v(j, kc + d);
      const double dz = p * (dp - delta) * s.slope[n] * a.shape.scale;
      for (int64_t d = 0; d < D; ++d) {
        dv(j, kc + d) += p * dout(i, qc + d);
        dq(i, qc + d) += dz * heads.k(j, kc + d);
        dk(j, kc + d) += dz * heads.q(i, qc + d);
      }
    }
  });
  store(a.dq, dq);
  store(a.dk, dk);
  store(a.dv, dv);
}

}  // namespace nft::ref
