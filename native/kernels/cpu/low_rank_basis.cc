// The leading singular vectors of a gradient by random directions: see ops/low_rank_basis.h.
#include "../../ops/low_rank_basis.h"

#include "low_rank.h"
#include "normal.h"
#include "orthonormal_rows.h"
#include "symmetric_eigen.h"

namespace nft::cpu::NFT_ISA {

namespace {

// G is the gradient with its shorter side S as rows, [S, L]; k directions are followed.
struct Scratch {
  int64_t k;
  float *narrow, *wide;  // [k, S], [k, L]
  double *gram, *values, *eigen;
  float *vectors, *basis;  // [rank, k], [rank, S]
  char* rest;
  size_t bytes;
};

Scratch scratch(const LowRankBasis& a, void* memory) {
  const LowRank s = a.sizes();
  Pieces pieces(memory);
  Scratch t;
  t.k = min64(s.side(), s.rank + a.kOversampling);
  t.narrow = pieces.take<float>(t.k * s.side());
  t.wide = pieces.take<float>(t.k * s.long_side());
  t.gram = pieces.take<double>(t.k * t.k);
  t.values = pieces.take<double>(t.k);
  t.eigen = pieces.take<double>(2 * t.k);
  t.vectors = pieces.take<float>(s.rank * t.k);
  t.basis = pieces.take<float>(s.basis_elements());
  t.rest = pieces.rest();
  t.bytes = pieces.bytes();
  return t;
}

// wide = narrow G
gemm::Problem widen_problem(const LowRank& s, const Scratch& t, const float* grad) {
  return f32_product(t.wide, t.k, s.long_side(), s.side(), {t.narrow, s.side(), gemm::Layout::outer_rows},
                     {grad, s.cols, s.is_right() ? gemm::Layout::outer_rows : gemm::Layout::inner_rows});
}
// narrow = wide G^T
gemm::Problem narrow_problem(const LowRank& s, const Scratch& t, const float* grad) {
  return f32_product(t.narrow, t.k, s.side(), s.long_side(), {t.wide, s.long_side(), gemm::Layout::outer_rows},
                     {grad, s.cols, s.is_right() ? gemm::Layout::inner_rows : gemm::Layout::outer_rows});
}
// basis = vectors narrow
gemm::Problem basis_problem(const LowRank& s, const Scratch& t) {
  return f32_product(t.basis, s.rank, s.side(), t.k, {t.vectors, t.k, gemm::Layout::outer_rows},
                     {t.narrow, s.side(), gemm::Layout::inner_rows});
}

// Orthonormal rows that nearly span the leading singular vectors, to narrow; all directions where k reaches them.
void find_range(const LowRankBasis& a, const LowRank& s, const Scratch& t, int threads) {
  const float* grad = a.grad.as<float>();
  const uint64_t seed = static_cast<uint64_t>(a.seed);
  if (t.k == s.side()) {
    std::memset(t.narrow, 0, static_cast<size_t>(t.k * t.k) * 4);
    for (int64_t i = 0; i < t.k; ++i) t.narrow[i * t.k + i] = 1;
    return;
  }
  const int64_t elements = t.k * s.long_side();
  ThreadPool::instance().run(ceil_div(elements, kItemElements), [&](int64_t item, int) {
    for (int64_t i = item * kItemElements; i < min64(elements, (item + 1) * kItemElements); ++i)
      t.wide[i] = static_cast<float>(normal(rng::bits(seed, static_cast<uint64_t>(i))));
  });
  for (int64_t iteration = 0; iteration <= a.kPowerIterations; ++iteration) {
    if (iteration > 0) {
      gemm::multiply(widen_problem(s, t, grad), t.rest, threads);
      orthonormalize_rows(t.wide, t.k, s.long_side(), seed + 1, t.rest, threads);
    }
    gemm::multiply(narrow_problem(s, t, grad), t.rest, threads);
    orthonormalize_rows(t.narrow, t.k, s.side(), seed + 1, t.rest, threads);
  }
}

// The eigenvectors of wide wide^T to gram, as rows.
void find_vectors(const LowRank& s, const Scratch& t) {
  ThreadPool::instance().run(t.k, [&](int64_t i, int) {
    for (int64_t j = 0; j <= i; ++j)
      t.gram[i * t.k + j] = t.gram[j * t.k + i] = dot(t.wide + i * s.long_side(), t.wide + j * s.long_side(), s.long_side());
  });
  double trace = 0;
  for (int64_t i = 0; i < t.k; ++i) trace += t.gram[i * t.k + i];
  if (!(trace < __builtin_inf()))  // NaN or Inf in the gradient: any basis will do
    for (int64_t i = 0; i < t.k * t.k; ++i) t.gram[i] = i % (t.k + 1) == 0 ? 1 : 0;
  symmetric_eigen(t.gram, t.k, t.values, t.eigen);
}

void turn_positive(float* row, int64_t n) {
  float largest = 0;
  for (int64_t i = 0; i < n; ++i)
    if (__builtin_fabsf(row[i]) > __builtin_fabsf(largest)) largest = row[i];
  if (largest < 0)
    for (int64_t i = 0; i < n; ++i) row[i] = -row[i];
}

}  // namespace

size_t low_rank_basis_workspace(const LowRankBasis& a, const Context& c) {
  const LowRank s = a.sizes();
  const Scratch t = scratch(a, nullptr);
  size_t most = gemm::workspace_bytes(widen_problem(s, t, nullptr), c.threads);
  most = largest(most, gemm::workspace_bytes(narrow_problem(s, t, nullptr), c.threads));
  most = largest(most, gemm::workspace_bytes(basis_problem(s, t), c.threads));
  most = largest(most, orthonormalize_rows_workspace(t.k, s.side(), c.threads));
  most = largest(most, orthonormalize_rows_workspace(t.k, s.long_side(), c.threads));
  return t.bytes + most;
}

void low_rank_basis(const LowRankBasis& a, Context& c) {
  require_f32(a.kName, "grad", a.grad);
  if (a.basis.dtype != DType::u8) require_f32(a.kName, "basis", a.basis);
  require_f32(a.kName, "ranges", a.ranges);
  require_f32(a.kName, "schedule", a.schedule);
  require_f32(a.kName, "leading", a.leading);
  if (!a.is_due<float>()) return;
  const LowRank s = a.sizes();
  const Scratch t = scratch(a, c.workspace);
  find_range(a, s, t, c.threads);
  gemm::multiply(widen_problem(s, t, a.grad.as<float>()), t.rest, c.threads);
  find_vectors(s, t);
  for (int64_t i = 0; i < s.rank * t.k; ++i) t.vectors[i] = static_cast<float>(t.gram[i]);
  gemm::multiply(basis_problem(s, t), t.rest, c.threads);
  for (int64_t i = 0; i < s.rank; ++i) turn_positive(t.basis + i * s.side(), s.side());

  a.advance_schedule(t.basis);
  if (a.basis.dtype != DType::u8) {
    std::memcpy(a.basis.data, t.basis, static_cast<size_t>(s.basis_elements()) * 4);
    return;
  }
  for_int4_groups(s.basis_elements(), [&](int64_t first, int64_t n) {
    updates::encode_int4(t.basis + first, n, a.basis.as<uint8_t>() + first / 2,
                         a.ranges.as<float>() + first / updates::kInt4Group * 2);
  });
}

}  // namespace nft::cpu::NFT_ISA
