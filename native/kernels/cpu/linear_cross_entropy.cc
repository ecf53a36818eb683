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

// Most tokens that share one pass over the weight.
constexpr int64_t kGroup = 1024;
// Tokens whose logits find room in the workspace where the gradients asked for serve as room for the others'.
constexpr int64_t kLastTokens = 64;

int64_t aligned(int64_t bytes) { return ceil_div(bytes, 64) * 64; }

void zero_row(const Tensor& t, int64_t n) { std::memset(t.row(n), 0, static_cast<size_t>(t.row_bytes())); }

// A group of tokens and its parts of the workspace.
struct Group {
  VocabularyPass pass;
  int64_t most;       // tokens
  double* nll;        // [most]
  float* lse;         // [most]
  int32_t* labelled;  // all tokens with a target
  int64_t kept = 0;   // tokens whose logits have room in the workspace, where they are kept
  float* logits = nullptr;
  int64_t bytes;
};

// The largest group.
Group make_group(const LinearCrossEntropy& a, int threads, char* memory) {
  Group g;
  const int64_t tokens = a.h.rows();
  g.most = min64(tokens, a.dweight.present ? cross_entropy_chunk(a.weight) : kGroup);
  g.pass.h = matrix(a.h);
  g.pass.weight = a.weight;
  g.pass.targets = a.targets.as<const int32_t>();
  g.pass.softcap = static_cast<float>(a.softcap);
  g.pass.sums = a.dh.present;
  g.pass.tokens = g.most;
  g.pass.threads = threads;
  // Rows a power of two apart would compete for the same lines of the cache.
  g.pass.logit_stride = aligned(a.weight.rows() * 4) / 4 + 16;
  int64_t at = 0;
  const auto part = [&](int64_t bytes) {
    char* p = memory + at;
    at += aligned(bytes);
    return p;
  };
  g.nll = reinterpret_cast<double*>(part(g.most * 8));
  g.lse = reinterpret_cast<float*>(part(g.most * 4));
  g.labelled = reinterpret_cast<int32_t*>(part(tokens * 4));
  if (a.dweight.present || a.dlogits.present) {
    g.kept = a.dweight.present ? g.most : min64(tokens, kLastTokens);
    g.logits = reinterpret_cast<float*>(part(g.kept * g.pass.logit_stride * 4));
  }
  g.bytes = at;
  return g;
}

const char* gradient_end(const LinearCrossEntropy& a, int64_t n) { return a.dlogits.row(n) + a.dlogits.row_bytes(); }

// Whether the logits of the group's tokens may lie at z, in rows of dlogits that wait for gradients, until each token in
// turn has got its own: it must not be written over a later one's logits, nor behind what is read of its own.
bool has_room(const LinearCrossEntropy& a, const VocabularyPass& pass, const float* z) {
  for (int64_t r = 0; r < pass.tokens; ++r) {
    const char *row = reinterpret_cast<const char*>(z + r * pass.logit_stride), *next = row + pass.logit_stride * 4;
    const int64_t n = pass.h.index[r];
    if (a.dlogits.row(n) > row || (r + 1 < pass.tokens && gradient_end(a, n) > next)) return false;
  }
  return true;
}

// Takes as many of the `left` tokens from the pass's index on as have room for their logits, where these are kept.
void choose_tokens(const LinearCrossEntropy& a, const Group& g, int64_t left, VocabularyPass& pass) {
  if (a.dlogits.present && a.dlogits.contiguous() && !a.dweight.present) {
    const char *begin = a.dlogits.row(pass.h.index[0]), *end = gradient_end(a, a.h.rows() - 1);
    end -= reinterpret_cast<uintptr_t>(end) % 64;
    pass.tokens = min64(min64(g.most, left), (end - begin) / (pass.logit_stride * 4));
    for (; pass.tokens > g.kept; --pass.tokens) {
      pass.logits = reinterpret_cast<float*>(const_cast<char*>(end)) - pass.tokens * pass.logit_stride;
      if (has_room(a, pass, pass.logits)) return;
    }
  }
  pass.logits = g.logits;
  pass.tokens = min64(g.logits ? g.kept : g.most, left);
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

// What a token's statistics give, for row i of panel p.
void finish(const LinearCrossEntropy& a, const Group& g, int64_t p, int64_t i) {
  const VocabularyPass& pass = g.pass;
  const int64_t r = pass.panel_row(p) + i, n = pass.h.index[r];
  const VocabularyPass::Statistics& panel = pass.statistics[p];
  const double sum = panel.sum[i] + simd::exp(set1(panel.target[i] - panel.maximum[i]))[0];
  const bool finite = sum > 0 && sum < 1e300;
  const double lse = panel.maximum[i] + (finite ? log_positive(sum) : sum);
  g.nll[r] = lse - panel.target[i];
  g.lse[r] = static_cast<float>(lse);
  if (a.lse.present) a.lse.as<float>()[n] = g.lse[r];
  if (a.nll.present) a.nll.as<float>()[n] = static_cast<float>(g.nll[r]);
  if (a.dh.present) input_gradient(a, pass, p, i, n, sum);
}

// Logits of the group to their gradients.
void make_logit_gradients(const LinearCrossEntropy& a, const Group& g) {
  const VocabularyPass& pass = g.pass;
  const Matrix dlogits = logit_gradients(a, pass);
  const auto logits = [&](int64_t r) { return pass.logits + r * pass.logit_stride; };
  const auto make = [&](int64_t r) {
    const int64_t n = pass.h.index[r];
    logit_gradient(dlogits.dtype, logits(r), a.weight.rows(), g.lse[r], pass.targets[n], a.weights.as<const float>()[n],
                   pass.softcap, const_cast<char*>(dlogits.row(r)));
  };
  for (int64_t begin = 0, end; begin < pass.tokens; begin = end) {
    end = pass.tokens;
    if (pass.logits != g.logits) {  // as many as may be written before any is read
      for (end = begin + 1; end < pass.tokens; ++end)
        if (gradient_end(a, pass.h.index[end]) > reinterpret_cast<const char*>(logits(begin))) break;
    }
    ThreadPool::instance().run(end - begin, [&](int64_t i, int) { make(begin + i); });
  }
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
    if (a.lse.present) a.lse.as<float>()[n] = 0;
    if (a.nll.present) a.nll.as<float>()[n] = 0;
  }
  const int64_t labelled = labelled_tokens(a.targets, g.labelled);
  double loss = *a.loss_sum.as<double>();
  for (int64_t first = 0; first < labelled; first += pass.tokens) {
    pass.h.index = g.labelled + first;
    choose_tokens(a, g, labelled - first, pass);
    with_vocabulary_pass(pass, [&](auto on) {
      on.take(pass, rest);
      on.run();
    });
    ThreadPool::instance().run(pass.panel_count(), [&](int64_t p, int) {
      const int64_t row = pass.panel_row(p), end = pass.panel_row(p + 1);
      for (int64_t r = row; r < end; ++r) finish(a, g, p, r - row);
    });
    if (pass.logits) make_logit_gradients(a, g);
    for (int64_t r = 0; r < pass.tokens; ++r) {
      const double weight = weights[pass.h.index[r]];
      if (weight != 0) loss += weight * g.nll[r];
    }
    if (a.dweight.present) multiply(weight_problem(a, pass), rest, c.threads);
  }
  // Last: until here rows without a target are room for logits.
  for (int64_t n = 0; a.dlogits.present && n < a.h.rows(); ++n)
    if (pass.targets[n] < 0) zero_row(a.dlogits, n);
  *a.loss_sum.as<double>() = loss;
}

}  // namespace nft::cpu::NFT_ISA
