// weight = update(weight, scale * dy^T x), a strip of rows at a time: see ops/linear.h.
#include "../../core/context.h"
#include "../../ops/linear.h"
#include "gemm/gemm.h"
#include "rows.h"
#include "update.h"

namespace nft::cpu::NFT_ISA {

using namespace gemm;

namespace {

constexpr int64_t kStripBytes = 2 << 20;
// A strip has at least this many rows, so that packing x again for each strip stays cheap beside the products.
constexpr int64_t kLeastRows = 64;

int64_t strip_rows(const LinearBackwardWeightUpdate& a) {
  const int64_t multiple = update_row_multiple(a.rule, a.weight);
  const int64_t fit = kStripBytes / (4 * max64(1, a.weight.cols()));
  return min64(a.weight.rows(), max64(max64(kLeastRows, multiple), fit / multiple * multiple));
}

int64_t strip_bytes(const LinearBackwardWeightUpdate& a) { return ceil_div(strip_rows(a) * a.weight.cols() * 4, 64) * 64; }

// Rows [first, first + rows) of the gradient, into memory of their own.
Problem strip_problem(const LinearBackwardWeightUpdate& a, int64_t first, int64_t rows, float* grad) {
  Problem p;
  p.rows = rows;
  p.cols = a.weight.cols();
  p.main = {matrix(a.dy), matrix(a.x), Layout::inner_rows, Layout::inner_rows, a.x.rows(), 1};
  p.main.a.data = static_cast<const char*>(a.dy.data) + first * element_bytes(a.dy);
  p.out.data = grad;
  p.out.stride_bytes = p.cols * 4;
  p.out.scale = static_cast<float>(a.scale);
  return p;
}

}  // namespace

size_t linear_backward_weight_update_workspace(const LinearBackwardWeightUpdate& a, const Context& c) {
  return static_cast<size_t>(strip_bytes(a)) + workspace_bytes(strip_problem(a, 0, strip_rows(a), nullptr), c.threads);
}

void linear_backward_weight_update(const LinearBackwardWeightUpdate& a, Context& c) {
  require_float(a.kName, "dy", a.dy);
  require_float(a.kName, "x", a.x);
  require_update(a.kName, a.rule, a.weight);
  const int64_t rows = a.weight.rows(), cols = a.weight.cols(), step = strip_rows(a);
  float* grad = static_cast<float*>(c.workspace);
  char* rest = static_cast<char*>(c.workspace) + strip_bytes(a);
  for (int64_t first = 0; first < rows; first += step) {
    const Problem p = strip_problem(a, first, min64(step, rows - first), grad);
    multiply(p, rest, c.threads);
    update_range(a.rule, a.weight, first * cols, p.rows * cols, grad);
  }
}

}  // namespace nft::cpu::NFT_ISA
