// Head and loss, a chunk of labelled tokens at a time: see ops/linear_cross_entropy.h.
#include "../../ops/linear_cross_entropy.h"

#include "../../core/context.h"
#include "cross_entropy.h"
#include "double_math.h"
#include "gemm/gemm.h"
#include "gemm/storage.h"

namespace nft::cpu::NFT_ISA {

using namespace gemm;

namespace {

constexpr int64_t kMaxChunk = 256;
// Exponentials summed in f32 before the sum goes on in double.
constexpr int64_t kSumBlock = 512;

int64_t aligned(int64_t bytes) { return ceil_div(bytes, 64) * 64; }

// log sum exp z. NaN if any z is NaN.
double log_sum_exp(const float* z, int64_t n) {
  f32v largest = set1(-__builtin_inff());
  for_vectors(
      n, [&](int64_t i, int count) __attribute__((always_inline)) {
        f32v x = load_n(z + i, count);
        if (count < kLanes) {  // lanes beyond the end repeat the last value
          for (int lane = count; lane < kLanes; ++lane) x[lane] = z[n - 1];
        }
        largest = simd::max(largest, x);
      });
  const float offset = reduce_max(largest);
  double sum = 0;
  for (int64_t begin = 0; begin < n; begin += kSumBlock) {
    f32v block = zero();
    for_vectors(
        min64(kSumBlock, n - begin), [&](int64_t i, int count) __attribute__((always_inline)) {
          f32v e = simd::exp(load_n(z + begin + i, count) - offset);
          for (int lane = count; lane < kLanes; ++lane) e[lane] = 0;
          block += e;
        });
    sum += reduce_add(block);
  }
  const bool finite = sum >= 1 && sum < 1e300;
  return finite ? offset + log_positive(sum) : offset + sum;
}

struct Sizes {
  int64_t chunk, logits, index, total_before_products;
};

Sizes sizes(const LinearCrossEntropy& a) {
  Sizes l;
  const int64_t tokens = a.h.rows(), vocabulary = a.weight.rows();
  l.chunk = min64(tokens, cross_entropy_chunk(a.weight));
  l.logits = aligned(l.chunk * vocabulary * 4);
  l.index = aligned(tokens * 4);
  l.total_before_products = l.logits + l.index;
  return l;
}

void zero_row(const Tensor& t, int64_t n) { std::memset(t.row(n), 0, static_cast<size_t>(t.row_bytes())); }

// Logits [rows, V] of the tokens listed.
Problem logits_problem(const LinearCrossEntropy& a, const int32_t* token, int64_t rows, float* logits) {
  Problem p;
  p.rows = rows;
  p.cols = a.weight.rows();
  p.main = {matrix(a.h, token), matrix(a.weight), Layout::outer_rows, Layout::outer_rows, a.h.cols(), 1};
  p.out.data = logits;
  p.out.stride_bytes = p.cols * 4;
  return p;
}

// dh of the tokens listed = gradient of their logits [rows, V] times the weight.
Problem input_problem(const LinearCrossEntropy& a, const int32_t* token, const Matrix& dlogits, int64_t rows) {
  Problem p;
  p.rows = rows;
  p.cols = a.h.cols();
  p.main = {dlogits, matrix(a.weight), Layout::outer_rows, Layout::inner_rows, a.weight.rows(), 1};
  p.out = output(a.dh);
  p.out.index = token;
  return p;
}

Problem weight_problem(const LinearCrossEntropy& a, const int32_t* token, const Matrix& dlogits, int64_t rows) {
  Problem p;
  p.rows = a.weight.rows();
  p.cols = a.h.cols();
  p.main = {dlogits, matrix(a.h, token), Layout::inner_rows, Layout::inner_rows, rows, 1};
  p.out = output(a.dweight);
  p.out.accumulate = true;
  return p;
}

// Gradients of logits by token, or, where they are not kept, of a chunk in place of its logits.
Matrix logit_gradients(const LinearCrossEntropy& a, const int32_t* token, const float* logits) {
  if (a.dlogits.present) return matrix(a.dlogits, token);
  return {logits, logit_gradient_type(a.h), a.weight.rows() * 4, nullptr};
}

}  // namespace

size_t linear_cross_entropy_workspace(const LinearCrossEntropy& a, const Context& c) {
  const Sizes l = sizes(a);
  const Matrix dlogits = logit_gradients(a, nullptr, nullptr);
  size_t products = workspace_bytes(logits_problem(a, nullptr, l.chunk, nullptr), c.threads);
  const size_t input = a.dh.present ? workspace_bytes(input_problem(a, nullptr, dlogits, l.chunk), c.threads) : 0;
  const size_t weight = a.dweight.present ? workspace_bytes(weight_problem(a, nullptr, dlogits, l.chunk), c.threads) : 0;
  if (input > products) products = input;
  if (weight > products) products = weight;
  return static_cast<size_t>(l.total_before_products) + products;
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
  const int64_t tokens = a.h.rows(), vocabulary = a.weight.rows();
  const float softcap = static_cast<float>(a.softcap);
  const int32_t* targets = a.targets.as<const int32_t>();
  const float* weights = a.weights.as<const float>();
  const Sizes l = sizes(a);
  char* memory = static_cast<char*>(c.workspace);
  float* logits = reinterpret_cast<float*>(memory);
  int32_t* index = reinterpret_cast<int32_t*>(memory + l.logits);
  void* rest = memory + l.total_before_products;

  for (int64_t n = 0; n < tokens; ++n) {
    if (targets[n] >= 0) continue;
    if (a.dh.present) zero_row(a.dh, n);
    if (a.dlogits.present) zero_row(a.dlogits, n);
    if (a.lse.present) a.lse.as<float>()[n] = 0;
    if (a.nll.present) a.nll.as<float>()[n] = 0;
  }
  const int64_t labelled = labelled_tokens(a.targets, index);
  double loss = *a.loss_sum.as<double>();
  for (int64_t first = 0; first < labelled; first += l.chunk) {
    const int64_t rows = min64(l.chunk, labelled - first);
    const int32_t* token = index + first;
    const Matrix dlogits = logit_gradients(a, token, logits);
    multiply(logits_problem(a, token, rows, logits), rest, c.threads);

    double nll[kMaxChunk];
    const bool gradient = a.dh.present || a.dweight.present || a.dlogits.present;
    ThreadPool::instance().run(rows, [&](int64_t r, int) {
      const int64_t n = token[r];
      float* z = logits + r * vocabulary;
      cap_logits(z, vocabulary, softcap);
      const double lse = log_sum_exp(z, vocabulary);
      nll[r] = lse - z[targets[n]];
      if (a.lse.present) a.lse.as<float>()[n] = static_cast<float>(lse);
      if (a.nll.present) a.nll.as<float>()[n] = static_cast<float>(nll[r]);
      if (gradient)
        logit_gradient(dlogits.dtype, z, vocabulary, static_cast<float>(lse), targets[n], weights[n], softcap,
                       const_cast<char*>(dlogits.row(r)));
    });
    for (int64_t r = 0; r < rows; ++r) {
      const double weight = weights[token[r]];
      if (weight != 0) loss += weight * nll[r];
    }

    if (a.dh.present) multiply(input_problem(a, token, dlogits, rows), rest, c.threads);
    if (a.dweight.present) multiply(weight_problem(a, token, dlogits, rows), rest, c.threads);
  }
  *a.loss_sum.as<double>() = loss;
}

}  // namespace nft::cpu::NFT_ISA
