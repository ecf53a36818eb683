#include "../../ops/linear_cross_entropy.h"

#include <cmath>

#include "../../core/context.h"
#include "access.h"
#include "embedding.h"
#include "log_sum_exp.h"
#include "update.h"

namespace nft::ref {

// Row n of the capped logits and their slope dz / dlogits.
struct Logits {
  std::vector<double> z, slope;
};

static Logits logits(const Matrix& h, const Matrix& weight, int64_t n, double softcap) {
  Logits row;
  for (int64_t v = 0; v < weight.rows; ++v) {
    double raw = 0;
    for (int64_t c = 0; c < weight.cols; ++c) raw += h(n, c) * weight(v, c);
    const double t = softcap > 0 ? std::tanh(raw / softcap) : 0;
    row.z.push_back(softcap > 0 ? softcap * t : raw);
    row.slope.push_back(1 - t * t);
  }
  return row;
}

// dlogits[v] = weight * (exp(z[v] - lse) - [v == target]) * slope[v]
static std::vector<double> logit_gradient(const Logits& row, double lse, int64_t target, double token_weight) {
  std::vector<double> d(row.z.size());
  for (size_t v = 0; v < d.size(); ++v)
    d[v] = token_weight * (std::exp(row.z[v] - lse) - (static_cast<int64_t>(v) == target ? 1 : 0)) * row.slope[v];
  return d;
}

void linear_cross_entropy(const LinearCrossEntropy& a, Context&) {
  check::targets(a.kName, "targets", a.targets, a.weight.rows());
  const Matrix h = load(a.h), weight = load(a.weight);
  const int64_t N = h.rows, V = weight.rows, C = weight.cols;
  Matrix dh(N, C), dweight(a.dweight.present ? V : 0, C);
  double loss_sum = 0;
  for (int64_t n = 0; n < N; ++n) {
    const Logits row = logits(h, weight, n, a.softcap);
    const double lse = log_sum_exp(row.z);
    const int64_t target = index_at(a.targets, n);
    const double nll = target < 0 ? 0 : lse - row.z[static_cast<size_t>(target)];
    if (a.lse.present) set(a.lse, n, target < 0 ? 0 : lse);
    if (a.nll.present) set(a.nll, n, nll);
    if (a.dlogits.present)
      for (int64_t v = 0; v < V; ++v) set(a.dlogits, n, v, 0);
    if (target < 0) continue;
    const double token_weight = at(a.weights, n);
    loss_sum += token_weight * nll;
    const std::vector<double> d = logit_gradient(row, lse, target, token_weight);
    if (a.dlogits.present)
      for (int64_t v = 0; v < V; ++v) set(a.dlogits, n, v, d[static_cast<size_t>(v)]);
    for (int64_t v = 0; v < V; ++v)
      for (int64_t c = 0; c < C; ++c) {
        dh(n, c) += d[static_cast<size_t>(v)] * weight(v, c);
        if (a.dweight.present) dweight(v, c) += d[static_cast<size_t>(v)] * h(n, c);
      }
  }
  set(a.loss_sum, 0, at(a.loss_sum, 0) + loss_sum);
  if (a.dh.present) store(a.dh, dh);
  if (a.dweight.present)
    for (int64_t v = 0; v < V; ++v)
      for (int64_t c = 0; c < C; ++c) set(a.dweight, v, c, at(a.dweight, v, c) + dweight(v, c));
}

void linear_cross_entropy_update(const LinearCrossEntropyUpdate& a, Context&) {
  check::targets(a.kName, "targets", a.targets, a.weight.rows());
  const Matrix h = load(a.h), weight = load(a.weight);
  Matrix dweight(weight.rows, weight.cols);
  for (int64_t n = 0; n < h.rows; ++n) {
    const int64_t target = index_at(a.targets, n);
    if (target < 0) continue;
    std::vector<double> d;
    if (a.dlogits.present)
      for (int64_t v = 0; v < weight.rows; ++v) d.push_back(at(a.dlogits, n, v));
    else
      d = logit_gradient(logits(h, weight, n, a.softcap), at(a.lse, n), target, at(a.weights, n));
    for (int64_t v = 0; v < weight.rows; ++v)
      for (int64_t c = 0; c < weight.cols; ++c) dweight(v, c) += d[static_cast<size_t>(v)] * h(n, c);
  }
  if (a.ids.present) add_embedding_gradient(a.kName, a.ids, a.embedding_dy, a.embedding_scale, dweight);
  update(a.rule, a.weight, dweight);
}

}  // namespace nft::ref
