// Adafactor's and AdaLomo's update of one matrix, in three passes over its gradient: see ops/factored_update.h.
#include "../../ops/factored_update.h"

#include "../../core/context.h"
#include "rows.h"
#include "squares.h"
#include "weight_tile.h"

namespace nft::cpu::NFT_ISA {

namespace {

// Rows whose column sums are formed together: the partial sums take 1/32 of the gradient's memory.
constexpr int64_t kBlockRows = 64;

// What the passes leave for each other.
struct Scratch {
  double* col_sums;                // [blocks, K] over the rows of a block
  double *u_squares, *w_squares;   // [M] of a row each
  float *row_factor, *col_factor;  // u = g * row_factor[i] * col_factor[j]
  int64_t blocks, bytes;
};

Scratch scratch(const FactoredUpdate& a, void* memory) {
  const int64_t rows = a.weight.rows(), cols = a.weight.cols();
  Scratch s;
  s.blocks = ceil_div(rows, kBlockRows);
  s.col_sums = static_cast<double*>(memory);
  s.u_squares = s.col_sums + s.blocks * cols;
  s.w_squares = s.u_squares + rows;
  s.row_factor = reinterpret_cast<float*>(s.w_squares + rows);
  s.col_factor = s.row_factor + rows;
  s.bytes = (s.blocks * cols + 2 * rows) * 8 + (rows + cols) * 4;
  return s;
}

// The moments of every row, and the column sums of each block of rows.
void sum_squares(const FactoredUpdate& a, const Scratch& s) {
  const int64_t rows = a.weight.rows(), cols = a.weight.cols();
  const float scale = static_cast<float>(a.grad_scale), eps = static_cast<float>(a.eps1);
  ThreadPool::instance().run(s.blocks, [&](int64_t block, int) {
    double* col = s.col_sums + block * cols;
    std::memset(col, 0, static_cast<size_t>(cols) * 8);
    for (int64_t i = block * kBlockRows; i < min64(rows, (block + 1) * kBlockRows); ++i) {
      const float* g = reinterpret_cast<const float*>(a.grad.row(i));
      double lanes[8] = {};
      int64_t j = 0;
      for (; j + 8 <= cols; j += 8)
        for (int k = 0; k < 8; ++k) {
          const float x = scale * g[j + k], square = x * x + eps;
          col[j + k] += square;
          lanes[k] += square;
        }
      for (; j < cols; ++j) {
        const float x = scale * g[j], square = x * x + eps;
        col[j] += square;
        lanes[0] += square;
      }
      if (!a.row.present) continue;
      const double sum = ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5])) + ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7]));
      float& r = a.row.as<float>()[i];
      r = static_cast<float>(a.beta2 * r + (1 - a.beta2) * sum / static_cast<double>(cols));
    }
  });
}

void finish_moments(const FactoredUpdate& a, const Scratch& s) {
  const int64_t rows = a.weight.rows(), cols = a.weight.cols();
  ThreadPool::instance().run(ceil_div(cols, kTile), [&](int64_t item, int) {
    for (int64_t j = item * kTile; j < min64(cols, (item + 1) * kTile); ++j) {
      double sum = 0;
      for (int64_t b = 0; b < s.blocks; ++b) sum += s.col_sums[b * cols + j];
      float& c = a.col.as<float>()[j];
      c = static_cast<float>(a.beta2 * c + (1 - a.beta2) * sum / static_cast<double>(rows));
      s.col_factor[j] = static_cast<float>(1 / __builtin_sqrt(static_cast<double>(c)));
    }
  });
  double mean = 0;
  if (a.row.present)
    for (int64_t i = 0; i < rows; ++i) mean += a.row.as<float>()[i];
  mean /= static_cast<double>(rows);
  for (int64_t i = 0; i < rows; ++i)
    s.row_factor[i] = a.row.present ? static_cast<float>(__builtin_sqrt(mean / a.row.as<float>()[i])) : 1.f;
}

// f(i, begin, end, u, w): updates u of a tile of row i, and the weights there.
template <class F>
void for_tiles(const FactoredUpdate& a, const Scratch& s, F&& f) {
  const int64_t rows = a.weight.rows(), cols = a.weight.cols(), item_rows = max64(1, kItemElements / cols);
  const float scale = static_cast<float>(a.grad_scale);
  ThreadPool::instance().run(ceil_div(rows, item_rows), [&](int64_t item, int) {
    alignas(64) float u[kTile], w[kTile];
    for (int64_t i = item * item_rows; i < min64(rows, (item + 1) * item_rows); ++i) {
      const float* g = reinterpret_cast<const float*>(a.grad.row(i));
      for (int64_t begin = 0; begin < cols; begin += kTile) {
        const int64_t n = min64(kTile, cols - begin);
        for (int64_t j = 0; j < n; ++j) u[j] = scale * g[begin + j] * (s.row_factor[i] * s.col_factor[begin + j]);
        load_weight(a.weight, i * cols + begin, n, w);
        f(i, begin, n, u, w);
      }
    }
  });
}

double root_mean(const double* row_sums, const Tensor& weight) {
  double sum = 0;
  for (int64_t i = 0; i < weight.rows(); ++i) sum += row_sums[i];
  return __builtin_sqrt(sum / static_cast<double>(weight.num_elements()));
}

}  // namespace

size_t factored_update_workspace(const FactoredUpdate& a, const Context&) {
  return static_cast<size_t>(scratch(a, nullptr).bytes);
}

void factored_update(const FactoredUpdate& a, Context& c) {
  require_float(a.kName, "weight", a.weight);
  require_f32(a.kName, "grad", a.grad);
  require_f32(a.kName, "row", a.row);
  require_f32(a.kName, "col", a.col);
  if (a.weight.num_elements() == 0) return;
  const int64_t cols = a.weight.cols();
  const Scratch s = scratch(a, c.workspace);
  sum_squares(a, s);
  finish_moments(a, s);

  for_tiles(a, s, [&](int64_t i, int64_t begin, int64_t n, const float* u, const float* w) {
    Squares us, ws;
    us.add(u, n);
    ws.add(w, n);
    s.u_squares[i] = (begin == 0 ? 0 : s.u_squares[i]) + us.total();
    s.w_squares[i] = (begin == 0 ? 0 : s.w_squares[i]) + ws.total();
  });
  const double u_rms = root_mean(s.u_squares, a.weight), w_rms = root_mean(s.w_squares, a.weight);
  const double rate = a.learning_rate * (a.scale_parameter ? (w_rms > a.eps2 ? w_rms : a.eps2) : 1);
  const double excess = u_rms / a.clip_threshold;
  const float step = static_cast<float>(excess > 1 ? rate / excess : rate);
  const float decay = static_cast<float>(1 - rate * a.weight_decay);
  for_tiles(a, s, [&](int64_t i, int64_t begin, int64_t n, const float* u, float* w) {
    for (int64_t j = 0; j < n; ++j) w[j] = w[j] * decay - step * u[j];
    store_weight(a.weight, a.stochastic_rounding, a.seed, i * cols + begin, n, w);
  });
}

}  // namespace nft::cpu::NFT_ISA
