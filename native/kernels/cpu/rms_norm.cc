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

float sum_of_squares_of_row(const Tensor& x, int64_t row) {
  alignas(64) float buffer[kTile];
  f32v sum[4] = {};
  for (int64_t col = 0; col < x.cols(); col += kTile) {
    const int64_t n = min64(kTile, x.cols() - col);
    const float* p = load_tile(x, row, col, n, buffer);
    accumulate(n, sum, [&](int64_t i, int count, f32v s) {
      const f32v v = load_n(p + i, count);
      return fma(v, v, s);
    });
  }
  return total(sum);
}

void normalize_row(const RmsNormForward& a, int64_t row) {
  const int64_t cols = a.x.cols();
  const float mean = sum_of_squares_of_row(a.x, row) / static_cast<float>(cols);
  const float rstd = 1.f / __builtin_sqrtf(mean + static_cast<float>(a.eps));
  if (a.rstd.present) a.rstd.as<float>()[row] = rstd;
  const float offset = static_cast<float>(a.weight_offset);
  alignas(64) float x_buffer[kTile], w_buffer[kTile], y_buffer[kTile];
  for (int64_t col = 0; col < cols; col += kTile) {
    const int64_t n = min64(kTile, cols - col);
    const float *x = load_tile(a.x, row, col, n, x_buffer), *w = load_tile(a.weight, 0, col, n, w_buffer);
    float* y = tile_target(a.y, row, col, y_buffer);
    for_vectors(n, [&](int64_t i, int count) {
      store_n(y + i, load_n(x + i, count) * rstd * (load_n(w + i, count) + offset), count);
    });
    store_tile(a.y, row, col, n, y);
  }
}

// sum of dy * (weight + offset) * x over a row.
float weighted_dot(const RmsNormBackward& a, int64_t row) {
  const float offset = static_cast<float>(a.weight_offset);
  alignas(64) float dy_buffer[kTile], x_buffer[kTile], w_buffer[kTile];
  f32v sum[4] = {};
  for (int64_t col = 0; col < a.x.cols(); col += kTile) {
    const int64_t n = min64(kTile, a.x.cols() - col);
    const float *dy = load_tile(a.dy, row, col, n, dy_buffer), *x = load_tile(a.x, row, col, n, x_buffer);
    const float* w = load_tile(a.weight, 0, col, n, w_buffer);
    accumulate(n, sum, [&](int64_t i, int count, f32v s) {
      return fma(load_n(dy + i, count) * (load_n(w + i, count) + offset), load_n(x + i, count), s);
    });
  }
  return total(sum);
}

// dx of one row; partial[C], where given, += dy * xhat.
void backward_row(const RmsNormBackward& a, int64_t row, float* partial) {
  const int64_t cols = a.x.cols();
  const float rstd = a.rstd.as<float>()[row], offset = static_cast<float>(a.weight_offset);
  const float mean = weighted_dot(a, row) * rstd / static_cast<float>(cols);
  alignas(64) float buffer[5][kTile];
  for (int64_t col = 0; col < cols; col += kTile) {
    const int64_t n = min64(kTile, cols - col);
    const float *dy = load_tile(a.dy, row, col, n, buffer[0]), *x = load_tile(a.x, row, col, n, buffer[1]);
    const float* w = load_tile(a.weight, 0, col, n, buffer[2]);
    const float* dresidual = a.dresidual.present ? load_tile(a.dresidual, row, col, n, buffer[3]) : nullptr;
    float* dx = tile_target(a.dx, row, col, buffer[4]);
    for_vectors(n, [&](int64_t i, int count) {
      const f32v d = load_n(dy + i, count), xhat = load_n(x + i, count) * rstd;
      f32v r = (d * (load_n(w + i, count) + offset) - xhat * mean) * rstd;
      if (dresidual != nullptr) r += load_n(dresidual + i, count);
      if (partial != nullptr) store_n(partial + col + i, fma(d, xhat, load_n(partial + col + i, count)), count);
      store_n(dx + i, r, count);
    });
    store_tile(a.dx, row, col, n, dx);
  }
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
  ThreadPool::instance().run(ceil_div(rows, block), [&](int64_t item, int) {
    for (int64_t row = item * block; row < min64(rows, (item + 1) * block); ++row) normalize_row(a, row);
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
  ThreadPool::instance().run(blocks, [&](int64_t item, int) {
    float* partial = partials == nullptr ? nullptr : partials + item * cols;
    if (partial != nullptr) std::memset(partial, 0, static_cast<size_t>(cols) * sizeof(float));
    for (int64_t row = item * block; row < min64(rows, (item + 1) * block); ++row) backward_row(a, row, partial);
  });
  if (partials != nullptr) add_partials(partials, blocks, a.dweight);
}

}  // namespace nft::cpu::NFT_ISA
