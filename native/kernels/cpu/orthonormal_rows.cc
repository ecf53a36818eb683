#include "orthonormal_rows.h"

#include "low_rank.h"
#include "normal.h"
#include "squares.h"

namespace nft::cpu::NFT_ISA {

namespace {

constexpr int64_t kPanel = 32;
// A row of which less than this is new has nothing but rounding errors to offer.
constexpr double kLeastShare = 1e-5;

// coefficients [count, done] = panel done_rows^T
gemm::Problem coefficients_problem(const float* x, int64_t cols, int64_t done, int64_t count, float* coefficients) {
  const gemm::Layout rows = gemm::Layout::outer_rows;
  return f32_product(coefficients, count, done, cols, {x + done * cols, cols, rows}, {x, cols, rows});
}
// panel -= coefficients done_rows
gemm::Problem removal_problem(float* x, int64_t cols, int64_t done, int64_t count, const float* coefficients) {
  gemm::Problem p = f32_product(x + done * cols, count, cols, done, {coefficients, done, gemm::Layout::outer_rows},
                                {x, cols, gemm::Layout::inner_rows});
  p.main.a_scale = -1;
  p.out.accumulate = true;
  return p;
}

// row -= its part along the orthonormal rows of x
void remove_rows(const float* x, int64_t count, float* row, int64_t cols) {
  for (int64_t i = 0; i < count; ++i) {
    const float part = static_cast<float>(dot(x + i * cols, row, cols));
    for (int64_t j = 0; j < cols; ++j) row[j] -= part * x[i * cols + j];
  }
}

double norm_of(const float* row, int64_t cols) { return __builtin_sqrt(dot(row, row, cols)); }

void scale_row(float* row, int64_t cols, double factor) {
  for (int64_t j = 0; j < cols; ++j) row[j] = static_cast<float>(row[j] * factor);
}

// Row i of x in a random direction, orthogonal to the rows before it.
void redraw(float* x, int64_t i, int64_t cols, uint64_t seed) {
  float* row = x + i * cols;
  for (int64_t j = 0; j < cols; ++j)
    row[j] = static_cast<float>(normal(rng::bits(seed, static_cast<uint64_t>(i * cols + j))));
  for (int pass = 0; pass < 2; ++pass) {
    remove_rows(x, i, row, cols);
    scale_row(row, cols, 1 / norm_of(row, cols));
  }
}

}  // namespace

double dot(const float* x, const float* y, int64_t n) {
  f64x8 sum[4] = {};
  int64_t i = 0;
  for (; i + 32 <= n; i += 32)
    for (int k = 0; k < 4; ++k) {
      f32x8 a, b;
      std::memcpy(&a, x + i + 8 * k, sizeof(a));
      std::memcpy(&b, y + i + 8 * k, sizeof(b));
      sum[k] += __builtin_convertvector(a, f64x8) * __builtin_convertvector(b, f64x8);
    }
  const f64x8 t = (sum[0] + sum[1]) + (sum[2] + sum[3]);
  double total = ((t[0] + t[4]) + (t[1] + t[5])) + ((t[2] + t[6]) + (t[3] + t[7]));
  for (; i < n; ++i) total += static_cast<double>(x[i]) * static_cast<double>(y[i]);
  return total;
}

size_t orthonormalize_rows_workspace(int64_t rows, int64_t cols, int threads) {
  const int64_t count = min64(rows, kPanel);
  const size_t there = gemm::workspace_bytes(coefficients_problem(nullptr, cols, rows, count, nullptr), threads);
  const size_t back = gemm::workspace_bytes(removal_problem(nullptr, cols, rows, count, nullptr), threads);
  return static_cast<size_t>(ceil_div(count * rows * 4, 64) * 64) + largest(there, back);
}

void orthonormalize_rows(float* x, int64_t rows, int64_t cols, uint64_t seed, void* workspace, int threads) {
  Pieces pieces(workspace);
  float* coefficients = pieces.take<float>(min64(rows, kPanel) * rows);
  for (int64_t done = 0; done < rows; done += kPanel) {
    const int64_t count = min64(kPanel, rows - done);
    double before[kPanel];
    for (int64_t i = 0; i < count; ++i) before[i] = norm_of(x + (done + i) * cols, cols);
    for (int pass = 0; pass < 2 && done > 0; ++pass) {
      gemm::multiply(coefficients_problem(x, cols, done, count, coefficients), pieces.rest(), threads);
      gemm::multiply(removal_problem(x, cols, done, count, coefficients), pieces.rest(), threads);
    }
    for (int64_t i = 0; i < count; ++i) {
      float* row = x + (done + i) * cols;
      for (int pass = 0; pass < 2; ++pass) remove_rows(x + done * cols, i, row, cols);
      const double norm = norm_of(row, cols);
      if (norm > kLeastShare * before[i])
        scale_row(row, cols, 1 / norm);
      else
        redraw(x, done + i, cols, seed);
    }
  }
}

}  // namespace nft::cpu::NFT_ISA
