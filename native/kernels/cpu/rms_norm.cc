#include "../../ops/rms_norm.h"

#include "../../core/context.h"
#include "rows.h"

namespace nft::cpu::NFT_ISA {

namespace {

using simd::f32v;
using simd::fma;

// Row blocks of the weight gradient: each sums its rows in order into a row of the workspace, then the blocks are added in
// order. Their number depends on the rows alone, so the result does not depend on the threads.
constexpr int64_t kBlockRows = 16, kMaxBlocks = 64;
int64_t rows_per_block(int64_t rows) { return max64(kBlockRows, ceil_div(rows, kMaxBlocks)); }

// Sum over a row of f(i-th vectors of the two operands), with four partial sums in flight.
template <class F>
NFT_INLINE void accumulate(int64_t n, f32v (&sum)[4], F&& f) {
  int64_t i = 0;
  for (; i + 4 * simd::kLanes <= n; i += 4 * simd::kLanes)
    for (int k = 0; k < 4; ++k) sum[k] = f(i + k * simd::kLanes, simd::kLanes, sum[k]);
  for (int k = 0; i < n; i += simd::kLanes, ++k) sum[k] = f(i, static_cast<int>(min64(simd::kLanes, n - i)), sum[k]);
}
NFT_INLINE float total(const f32v (&sum)[4]) { return simd::reduce_add((sum[0] + sum[1]) + (sum[2] + sum[3])); }

template <class Row>
void normalize_row(const RmsNormForward& a, int64_t row) {
  const int64_t cols = a.x.cols();
  const Row x(a.x, row), y(a.y, row), w(a.weight, 0);
  f32v squares[4] = {};
  accumulate(cols, squares, [&](int64_t i, int count, f32v s) {
    const f32v v = x.load(i, count);
    return fma(v, v, s);
  });
  const float mean = total(squares) / static_cast<float>(cols);
  const float rstd = 1.f / __builtin_sqrtf(mean + static_cast<float>(a.eps));
  if (a.rstd.present) a.rstd.as<float>()[row] = rstd;
  const float offset = static_cast<float>(a.weight_offset);
  for_vectors(cols, [&](int64_t i, int count) { y.store(i, x.load(i, count) * rstd * (w.load(i, count) + offset), count); });
}

// dx of one row; partial[C], where given, += dy * xhat.
template <class Row>
void backward_row(const RmsNormBackward& a, int64_t row, float* partial) {
  const int64_t cols = a.x.cols();
  const float rstd = a.rstd.as<float>()[row], offset = static_cast<float>(a.weight_offset);
  const Row dy(a.dy, row), x(a.x, row), w(a.weight, 0), dx(a.dx, row),
      dresidual(a.dresidual.present ? a.dresidual : a.dy, row);
  f32v dot[4] = {};
  accumulate(cols, dot, [&](int64_t i, int count, f32v s) {
    return fma(dy.load(i, count) * (w.load(i, count) + offset), x.load(i, count), s);
  });
  const float mean = total(dot) * rstd / static_cast<float>(cols);
  for_vectors(cols, [&](int64_t i, int count) {
    const f32v d = dy.load(i, count), xhat = x.load(i, count) * rstd;
    f32v r = (d * (w.load(i, count) + offset) - xhat * mean) * rstd;
    if (a.dresidual.present) r += dresidual.load(i, count);
    if (partial != nullptr) store_n(partial + i, fma(d, xhat, load_n(partial + i, count)), count);
    dx.store(i, r, count);
  });
}

void add_partials(const float* partials, int64_t blocks, const Tensor& dweight) {
  const int64_t cols = dweight.num_elements();
  float* out = dweight.as<float>();
  for (int64_t i = 0; i < cols; i += simd::kLanes) {
    const int count = static_cast<int>(min64(simd::kLanes, cols - i));
    f32v sum = simd::zero();
    for (int64_t b = 0; b < blocks; ++b) sum += load_n(partials + b * cols + i, count);
    store_n(out + i, load_n(out + i, count) + sum, count);
  }
}

}  // namespace

void rms_norm_forward(const RmsNormForward& a, Context&) {
  const char* op = RmsNormForward::kName;
  require_float(op, "x", a.x);
  require_float(op, "weight", a.weight);
  require_float(op, "y", a.y);
  require_f32(op, "rstd", a.rstd);
  const int64_t rows = a.x.rows(), block = max64(1, kItemElements / max64(1, a.x.cols()));
  const Tensor* const tensors[] = {&a.x, &a.weight, &a.y};
  with_row_type(tensors, [&](auto row_type) {
    using Row = typename decltype(row_type)::Type;
    ThreadPool::instance().run(ceil_div(rows, block), [&](int64_t item, int) {
      for (int64_t row = item * block; row < min64(rows, (item + 1) * block); ++row) normalize_row<Row>(a, row);
    });
  });
}

size_t rms_norm_backward_workspace(const RmsNormBackward& a, const Context&) {
  if (!a.dweight.present) return 0;
  return static_cast<size_t>(min64(kMaxBlocks, ceil_div(a.x.rows(), kBlockRows)) * a.x.cols()) * sizeof(float);
}

void rms_norm_backward(const RmsNormBackward& a, Context& context) {
  const char* op = RmsNormBackward::kName;
  require_float(op, "dy", a.dy);
  require_float(op, "x", a.x);
  require_float(op, "weight", a.weight);
  require_float(op, "dresidual", a.dresidual);
  require_float(op, "dx", a.dx);
  require_f32(op, "rstd", a.rstd);
  require_f32(op, "dweight", a.dweight);
  const int64_t rows = a.x.rows(), cols = a.x.cols(), block = rows_per_block(rows), blocks = ceil_div(rows, block);
  float* partials = a.dweight.present ? static_cast<float*>(context.workspace) : nullptr;
  const Tensor* const tensors[] = {&a.dy, &a.x, &a.weight, &a.dx, &a.dresidual};
  with_row_type(tensors, [&](auto row_type) {
    using Row = typename decltype(row_type)::Type;
    ThreadPool::instance().run(blocks, [&](int64_t item, int) {
      float* partial = partials == nullptr ? nullptr : partials + item * cols;
      if (partial != nullptr) std::memset(partial, 0, static_cast<size_t>(cols) * sizeof(float));
      for (int64_t row = item * block; row < min64(rows, (item + 1) * block); ++row) backward_row<Row>(a, row, partial);
    });
  });
  if (partials != nullptr) add_partials(partials, blocks, a.dweight);
}

}  // namespace nft::cpu::NFT_ISA
