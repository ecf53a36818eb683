#include "matvec.h"

#include "../../../core/thread_pool.h"
#include "storage.h"

namespace nft::cpu::NFT_ISA::gemm {

namespace {

constexpr int64_t kParallelWork = 1 << 16;

// A as f32 in the workspace: T rows, each main then tail, both padded with zeros to whole vectors.
struct Input {
  const float* data;
  int64_t stride, main, tail;  // elements; padded lengths
};

int64_t padded(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

void unpack_row(const Segment& s, int64_t row, int64_t length, float* dst) {
  const char* src = static_cast<const char*>(s.a.data) + row * s.a.stride_bytes;
  for (int64_t k = 0; k < length; k += kLanes) {
    const int count = s.inner - k < kLanes ? static_cast<int>(s.inner - k) : kLanes;
    F32::store(dst + k, load_float(s.a.dtype, src, k, count) * set1(s.a_scale));
  }
}

// sum[r][t] += products of row r of the weight and row t of the input.
template <class Row, int T, int R>
NFT_INLINE void add_products(const Matrix& weight, int64_t row, int64_t inner, const float* x, int64_t x_stride,
                             f32v (*sum)[T]) {
  const char* w[R];
  for (int r = 0; r < R; ++r) w[r] = static_cast<const char*>(weight.data) + (row + r) * weight.stride_bytes;
  const int64_t whole = inner / kLanes * kLanes;
  for (int64_t k = 0; k < whole; k += kLanes) {
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const f32v wr = Row::load(w[r], k);
#pragma GCC unroll 8
      for (int t = 0; t < T; ++t) sum[r][t] = fma(wr, F32::load(x + t * x_stride + k), sum[r][t]);
    }
  }
  if (whole < inner) {
    for (int r = 0; r < R; ++r) {
      const f32v wr = Row::load(w[r], whole, static_cast<int>(inner - whole));
      for (int t = 0; t < T; ++t) sum[r][t] = fma(wr, F32::load(x + t * x_stride + whole), sum[r][t]);
    }
  }
}

float load_one(DType t, const void* data, int64_t i) { return load_float(t, static_cast<const char*>(data), i, 1)[0]; }

template <class Row, int T, int R>
void outputs(const Problem& p, const Input& x, int64_t col) {
  f32v sum[R][T];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) sum[r][t] = zero();
  add_products<Row, T, R>(p.main.b, col, p.main.inner, x.data, x.stride, sum);
  if (p.tail.inner > 0)
    with_float_type(p.tail.b.dtype, [&](auto type) {
      add_products<PlainRow<decltype(type)>, T, R>(p.tail.b, col, p.tail.inner, x.data + x.main, x.stride, sum);
    });
  const Output& out = p.out;
  for (int r = 0; r < R; ++r) {
    for (int t = 0; t < T && t < p.rows; ++t) {
      char* c = static_cast<char*>(out.data) + t * out.stride_bytes;
      float y = (out.accumulate ? load_one(out.dtype, c, col + r) : 0.0f) + out.scale * reduce_add(sum[r][t]);
      if (out.bias) y += load_one(out.bias_dtype, out.bias, col + r);
      if (out.residual)
        y += load_one(out.residual_dtype, static_cast<const char*>(out.residual) + t * out.residual_stride_bytes, col + r);
      store_float(out.dtype, c, col + r, set1(y), 1);
    }
  }
}

template <class Row, int T>
void all_outputs(const Problem& p, const Input& x, int threads) {
  constexpr int kGroup = T <= 4 ? 4 : 2;  // rows of the weight at a time: as many sums as registers allow
  const int64_t groups = (p.cols + kGroup - 1) / kGroup;
  const int workers = p.cols * (x.main + x.tail) < kParallelWork ? 1 : threads;
  ThreadPool::instance().run(workers, [&](int64_t worker, int) {
    for (int64_t g = groups * worker / workers; g < groups * (worker + 1) / workers; ++g) {
      const int64_t col = g * kGroup;
      if (col + kGroup <= p.cols)
        outputs<Row, T, kGroup>(p, x, col);
      else
        for (int64_t c = col; c < p.cols; ++c) outputs<Row, T, 1>(p, x, c);
    }
  });
}

}  // namespace

size_t matvec_workspace_bytes(int64_t inner) { return static_cast<size_t>(kMatvecRows * (inner + 2 * kLanes) * 4); }

void matvec(const Problem& p, void* workspace, int threads) {
  if (p.rows == 0 || p.cols == 0) return;
  const int t = p.rows == 1 ? 1 : p.rows == 2 ? 2 : p.rows <= 4 ? 4 : 8;
  Input x;
  x.main = padded(p.main.inner);
  x.tail = padded(p.tail.inner);
  x.stride = x.main + x.tail;
  float* data = static_cast<float*>(workspace);
  x.data = data;
  for (int i = 0; i < t; ++i) {
    if (i < p.rows) {
      unpack_row(p.main, i, x.main, data + i * x.stride);
      unpack_row(p.tail, i, x.tail, data + i * x.stride + x.main);
    } else {
      std::memset(data + i * x.stride, 0, static_cast<size_t>(x.stride) * 4);
    }
  }
  with_storage(p.main.b.dtype, [&](auto row) {
    using Row = decltype(row);
    switch (t) {
      case 1: all_outputs<Row, 1>(p, x, threads); break;
      case 2: all_outputs<Row, 2>(p, x, threads); break;
      case 4: all_outputs<Row, 4>(p, x, threads); break;
      default: all_outputs<Row, 8>(p, x, threads);
    }
  });
}

}  // namespace nft::cpu::NFT_ISA::gemm
