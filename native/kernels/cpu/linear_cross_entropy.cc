// Head and loss, a group of labelled tokens at a time: see ops/linear_cross_entropy.h and vocabulary_pass.h.
#include "../../ops/linear_cross_entropy.h"

#include "../../core/context.h"
#include "cross_entropy.h"
#include "double_math.h"
#include "gemm/gemm.h"
#include "gemm/storage.h"
#include "vocabulary_pass.h"

namespace nft::cpu::NFT_ISA {

using namespace gemm;

namespace {

// Tokens that share one pass over the weight where their logits are not kept.
constexpr int64_t kGroup = 1024;

int64_t aligned(int64_t bytes) { return ceil_div(bytes, 64) * 64; }

bool keeps_logits(const LinearCrossEntropy& a) { return a.dweight.present || a.dlogits.present; }

void zero_row(const Tensor& t, int64_t n) { std::memset(t.row(n), 0, static_cast<size_t>(t.row_bytes())); }

// A group of tokens and its parts of the workspace.
struct Group {
  VocabularyPass pass;
  int64_t most;       // tokens
  double* nll;        // [most]
  int32_t* labelled;  // all tokens with a target
  int64_t bytes;
};

// The largest group.
Group make_group(const LinearCrossEntropy& a, int threads, char* memory) {
  Group g;
  const bool keeps = keeps_logits(a);
  g.most = min64(a.h.rows(), keeps ? cross_entropy_chunk(a.weight) : kGroup);
  g.pass.h = matrix(a.h);
  g.pass.weight = a.weight;
  g.pass.targets = a.targets.as<const int32_t>();
  g.pass.softcap = static_cast<float>(a.softcap);
  g.pass.sums = a.dh.present;
  g.pass.tokens = g.most;
  g.pass.threads = threads;
  // Rows a power of two apart would compete for the same lines of the cache.
  g.pass.logit_stride = aligned(a.weight.rows() * 4) / 4 + 16;
  g.nll = reinterpret_cast<double*>(memory);
  g.bytes = aligned(g.most * 8);
  g.labelled = reinterpret_cast<int32_t*>(memory + g.bytes);
  g.bytes += aligned(a.h.rows() * 4);
  if (keeps) {
    g.pass.logits = reinterpret_cast<float*>(memory + g.bytes);
    g.bytes += aligned(g.most * g.pass.logit_stride * 4);
  }
  return g;
}

// Gradients of the logits of the group: those asked for, or in place of the logits.
Matrix logit_gradients(const LinearCrossEntropy& a, const VocabularyPass& pass) {
  if (a.dlogits.present) return matrix(a.dlogits, pass.h.index);
  return {pass.logits, logit_gradient_type(a.h), pass.logit_stride * 4, nullptr};
}

Problem weight_problem(const LinearCrossEntropy& a, const VocabularyPass& pass) {
  Problem p;
  p.rows = a.weight.rows();
  p.cols = a.h.cols();
  p.main = {logit_gradients(a, pass), pass.h, Layout::inner_rows, Layout::inner_rows, pass.tokens, 1};
  p.out = output(a.dweight);
  p.out.accumulate = true;
  return p;
}

// dh[n] = weight * (o / sum - (1 - p[target]) dz/dlogit[target] W[target]) for row i of panel p. 1 - p is the share of the
// others, which loses no digits where p is close to 1.
void input_gradient(const LinearCrossEntropy& a, const VocabularyPass& pass, int64_t p, int64_t i, int64_t n, double sum) {
  const float weight = a.weights.as<const float>()[n];
  if (weight == 0) return zero_row(a.dh, n);
  const VocabularyPass::Statistics& panel = pass.statistics[p];
  const float t = pass.softcap > 0 ? panel.target[i] / pass.softcap : 0;
  const float scale = static_cast<float>(weight / sum);
  const float at_target = static_cast<float>(weight * (panel.sum[i] / sum)) * (1 - t * t);
  const char* row = a.weight.row(pass.targets[n]);
  with_storage(a.weight.dtype, [&](auto storage) {
    for_vectors(
        a.h.cols(), [&](int64_t c, int count) __attribute__((always_inline)) {
          const f32v w = count == kLanes ? decltype(storage)::load(row, c) : decltype(storage)::load(row, c, count);
          const f32v o = F32::load(pass.sums_of(p, i, c / kTileCols) + c % kTileCols);
          store_float(a.dh.dtype, a.dh.row(n), c, o * scale - w * at_target, count);
        });
  });
}

// What a token's statistics give, for row i of panel p; returns its nll.
double finish(const LinearCrossEntropy& a, const VocabularyPass& pass, int64_t p, int64_t i) {
  const int64_t r = pass.panel_row(p) + i, n = pass.h.index[r];
  const VocabularyPass::Statistics& panel = pass.statistics[p];
  const double sum = panel.sum[i] + simd::exp(set1(panel.target[i] - panel.maximum[i]))[0];
  const bool finite = sum > 0 && sum < 1e300;
  const double lse = panel.maximum[i] + (finite ? log_positive(sum) : sum), nll = lse - panel.target[i];
  if (a.lse.present) a.lse.as<float>()[n] = static_cast<float>(lse);
  if (a.nll.present) a.nll.as<float>()[n] = static_cast<float>(nll);
  if (a.dh.present) input_gradient(a, pass, p, i, n, sum);
  if (pass.logits) {
    const Matrix dlogits = logit_gradients(a, pass);
    logit_gradient(dlogits.dtype, pass.logits + r * pass.logit_stride, a.weight.rows(), static_cast<float>(lse),
                   pass.targets[n], a.weights.as<const float>()[n], pass.softcap, const_cast<char*>(dlogits.row(r)));
  }
  return nll;
}

}  // namespace

size_t linear_cross_entropy_workspace(const LinearCrossEntropy& a, const Context& c) {
  Group g = make_group(a, c.threads, nullptr);
  int64_t rest = 0;
  with_vocabulary_pass(g.pass, [&](auto pass) { rest = decltype(pass)::take(g.pass, nullptr); });
  if (a.dweight.present) rest = max64(rest, static_cast<int64_t>(workspace_bytes(weight_problem(a, g.pass), c.threads)));
  return static_cast<size_t>(g.bytes + rest);
}

void linear_cross_entropy(const LinearCrossEntropy& a, Context& c) {
  require_float(a.kName, "h", a.h);
  require_weight(a.kName, "weight", a.weight);
  require_f32(a.kName, "weights", a.weights);
  require_float(a.kName, "dh", a.dh);
  require_f32(a.kName, "dweight", a.dweight);
  if (a.dlogits.present && a.dlogits.dtype != DType::bf16) require_f32(a.kName, "dlogits", a.dlogits);
  require_f32(a.kName, "lse", a.lse);
  require_f32(a.kName, "nll", a.nll);
  check::targets(a.kName, "targets", a.targets, a.weight.rows());
  const float* weights = a.weights.as<const float>();
  char* memory = static_cast<char*>(c.workspace);
  Group g = make_group(a, c.threads, memory);
  VocabularyPass& pass = g.pass;
  char* rest = memory + g.bytes;

  for (int64_t n = 0; n < a.h.rows(); ++n) {
    if (pass.targets[n] >= 0) continue;
    if (a.dh.present) zero_row(a.dh, n);
    if (a.dlogits.present) zero_row(a.dlogits, n);
    if (a.lse.present) a.lse.as<float>()[n] = 0;
    if (a.nll.present) a.nll.as<float>()[n] = 0;
  }
  const int64_t labelled = labelled_tokens(a.targets, g.labelled);
  double loss = *a.loss_sum.as<double>();
  for (int64_t first = 0; first < labelled; first += g.most) {
    pass.h.index = g.labelled + first;
    pass.tokens = min64(g.most, labelled - first);
    with_vocabulary_pass(pass, [&](auto on) {
      on.take(pass, rest);
      on.run();
    });
    ThreadPool::instance().run(pass.panel_count(), [&](int64_t p, int) {
      const int64_t row = pass.panel_row(p), end = pass.panel_row(p + 1);
      for (int64_t r = row; r < end; ++r) g.nll[r] = finish(a, pass, p, r - row);
    });
    for (int64_t r = 0; r < pass.tokens; ++r) {
      const double weight = weights[pass.h.index[r]];
      if (weight != 0) loss += weight * g.nll[r];
    }
    if (a.dweight.present) multiply(weight_problem(a, pass), rest, c.threads);
  }
  *a.loss_sum.as<double>() = loss;
}

}  // namespace nft::cpu::NFT_ISA
