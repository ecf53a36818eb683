// Fused update of the head (and of the embedding tied to it): see ops/linear_cross_entropy.h.
#include "../../core/context.h"
#include "../../ops/linear_cross_entropy.h"
#include "cross_entropy.h"
#include "embedding.h"
#include "gemm/gemm.h"
#include "gemm/storage.h"
#include "update.h"

namespace nft::cpu::NFT_ISA {

using namespace gemm;

namespace {

// Logits of all labelled tokens for a strip of the vocabulary: at most this, unless the strip has the fewest rows allowed.
constexpr int64_t kStripLogitBytes = 4 << 20;
constexpr int64_t kLeastRows = 64, kMostRows = 512;

int64_t aligned(int64_t bytes) { return ceil_div(bytes, 64) * 64; }

// The fewest rows a strip may have, and must be a multiple of.
int64_t least_rows(const LinearCrossEntropyUpdate& a) { return max64(kLeastRows, update_row_multiple(a.rule, a.weight)); }

// Rows of the vocabulary in one strip for so many tokens.
int64_t strip_rows(const LinearCrossEntropyUpdate& a, int64_t tokens) {
  const int64_t multiple = max64(kLanes, update_row_multiple(a.rule, a.weight));
  const int64_t fit = kStripLogitBytes / (4 * max64(1, tokens)) / multiple * multiple;
  return min64(a.weight.rows(), min64(kMostRows, max64(least_rows(a), fit)));
}

// Bytes of each part of the workspace for up to `tokens` labelled tokens: bounds that never fall when tokens grows.
struct Sizes {
  int64_t logits, gradient, index, total;
};

Sizes sizes(const LinearCrossEntropyUpdate& a) {
  const int64_t tokens = a.h.rows(), vocabulary = a.weight.rows(), most = min64(kMostRows, vocabulary);
  Sizes s;
  s.logits = a.dlogits.present
                 ? 0
                 : aligned(max64(min64(tokens * most * 4, kStripLogitBytes), tokens * min64(least_rows(a), vocabulary) * 4));
  s.gradient = aligned(most * a.weight.cols() * 4);
  s.index = aligned(tokens * 4);
  s.total = s.logits + s.gradient + s.index;
  return s;
}

// Logits [tokens, count] of rows [first, first + count) of the weight.
Problem logits_problem(const LinearCrossEntropyUpdate& a, const int32_t* token, int64_t tokens, int64_t first, int64_t count,
                       float* logits) {
  Problem p;
  p.rows = tokens;
  p.cols = count;
  p.main = {matrix(a.h, token), matrix(a.weight), Layout::outer_rows, Layout::outer_rows, a.weight.cols(), 1};
  p.main.b.data = static_cast<const char*>(a.weight.data) + first * a.weight.stride_bytes();
  p.out.data = logits;
  p.out.stride_bytes = count * 4;
  return p;
}

// Gradients of the logits of rows from first on: those kept, or the strip's in place of its logits.
Matrix logit_gradients(const LinearCrossEntropyUpdate& a, const int32_t* token, int64_t first, int64_t count,
                       const float* logits) {
  if (!a.dlogits.present) return {logits, logit_gradient_type(a.h), count * 4, nullptr};
  Matrix m = matrix(a.dlogits, token);
  m.data = static_cast<const char*>(m.data) + first * element_bytes(a.dlogits);
  return m;
}

// Gradient [count, C] of those rows of the weight.
Problem gradient_problem(const LinearCrossEntropyUpdate& a, const int32_t* token, int64_t tokens, int64_t first,
                         int64_t count, const float* logits, float* grad) {
  Problem p;
  p.rows = count;
  p.cols = a.weight.cols();
  const Matrix dlogits = logit_gradients(a, token, first, count, logits);
  p.main = {dlogits, matrix(a.h, token), Layout::inner_rows, Layout::inner_rows, tokens, 1};
  p.out.data = grad;
  p.out.stride_bytes = p.cols * 4;
  p.inner_block = cross_entropy_chunk(a.weight);  // the sums of linear_cross_entropy's chunks, in its order
  return p;
}

}  // namespace

size_t linear_cross_entropy_update_workspace(const LinearCrossEntropyUpdate& a, const Context& c) {
  const int64_t tokens = a.h.rows(), most = min64(kMostRows, a.weight.rows());
  const size_t logits = workspace_bytes(logits_problem(a, nullptr, tokens, 0, most, nullptr), c.threads);
  const size_t gradient = workspace_bytes(gradient_problem(a, nullptr, tokens, 0, most, nullptr, nullptr), c.threads);
  return static_cast<size_t>(sizes(a).total) + (logits > gradient ? logits : gradient);
}

void linear_cross_entropy_update(const LinearCrossEntropyUpdate& a, Context& c) {
  require_float(a.kName, "h", a.h);
  require_update(a.kName, a.rule, a.weight);
  require_f32(a.kName, "weights", a.weights);
  require_f32(a.kName, "lse", a.lse);
  require_float(a.kName, "embedding_dy", a.embedding_dy);
  if (a.dlogits.present && a.dlogits.dtype != DType::bf16) require_f32(a.kName, "dlogits", a.dlogits);
  check::targets(a.kName, "targets", a.targets, a.weight.rows());
  if (a.ids.present) {
    check::contiguous(a.kName, "ids", a.ids);
    check::ids(a.kName, "ids", a.ids, a.weight.rows());
  }
  const int64_t vocabulary = a.weight.rows(), width = a.weight.cols();
  const float softcap = static_cast<float>(a.softcap);
  const int32_t* targets = a.targets.as<const int32_t>();
  const float *weights = a.weights.as<const float>(), *lse = a.lse.as<const float>();
  const Sizes s = sizes(a);
  char* memory = static_cast<char*>(c.workspace);
  float* logits = reinterpret_cast<float*>(memory);
  float* grad = reinterpret_cast<float*>(memory + s.logits);
  int32_t* token = reinterpret_cast<int32_t*>(memory + s.logits + s.gradient);
  void* rest = memory + s.total;
  const DType gradient_type = logit_gradient_type(a.h);
  const int64_t tokens = labelled_tokens(a.targets, token);
  const int64_t step = a.dlogits.present ? min64(kMostRows, vocabulary) : strip_rows(a, tokens);

  for (int64_t first = 0; first < vocabulary; first += step) {
    const int64_t count = min64(step, vocabulary - first);
    if (!a.dlogits.present) {
      multiply(logits_problem(a, token, tokens, first, count, logits), rest, c.threads);

      const int64_t item_rows = max64(1, kItemElements / count);
      ThreadPool::instance().run(ceil_div(tokens, item_rows), [&](int64_t item, int) {
        for (int64_t r = item * item_rows; r < min64(tokens, (item + 1) * item_rows); ++r) {
          const int64_t n = token[r];
          cap_logits(logits + r * count, count, softcap);
          logit_gradient(gradient_type, logits + r * count, count, lse[n], targets[n] - first, weights[n], softcap,
                         logits + r * count);
        }
      });
    }
    multiply(gradient_problem(a, token, tokens, first, count, logits, grad), rest, c.threads);
    if (a.ids.present) add_embedding_rows(a.ids, a.embedding_dy, static_cast<float>(a.embedding_scale), first, count, grad);
    update_range(a.rule, a.weight, first * width, count * width, grad);
  }
}

}  // namespace nft::cpu::NFT_ISA
