#include "matvec.h"

#include "../../../core/thread_pool.h"
#include "storage.h"

namespace nft::cpu::NFT_ISA::gemm {

namespace {

constexpr int64_t kParallelWork = 1 << 16;
constexpr int kGroup = 4;         // rows of the weight whose sums are folded together
constexpr int64_t kAhead = 3072;  // bytes to fetch ahead of blocks

// A as f32 in the workspace: T rows, each main then tail, both padded with zeros to whole vectors.
struct Input {
  const float* data;
  int64_t stride, main, tail;  // elements; padded lengths
  const float* block_sums;     // of one token: 0 and the sum of 32 elements of the main part, for every block
};

int64_t padded(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

void unpack_row(const Segment& s, int64_t row, int64_t length, float* dst) {
  const char* src = static_cast<const char*>(s.a.data) + row * s.a.stride_bytes;
  for (int64_t k = 0; k < length; k += kLanes) {
    const int count = s.inner - k < kLanes ? static_cast<int>(s.inner - k) : kLanes;
    F32::store(dst + k, load_float(s.a.dtype, src, k, count) * set1(s.a_scale));
  }
}

// Fetches the bytes behind those that are used now: of several rows at a time the processor's own prefetching loses track.
template <int64_t kBytes>
NFT_INLINE void prefetch(const char* p) {
#pragma GCC unroll 8
  for (int64_t i = 0; i < kBytes; i += 64) __builtin_prefetch(p + kAhead + i);
}

// For each block of x 0 and its sum: what meets the scale and the minimum of a block of the weight.
void sum_blocks(const float* x, int64_t inner, float* sums) {
  for (int64_t k = 0; k < inner; k += 32) {
    f32v total = zero();
    for (int i = 0; i < 32; i += kLanes) total += F32::load(x + k + i);
    sums[k / 16] = 0;
    sums[k / 16 + 1] = reduce_add(total);
  }
}

// sum[t] += products of a row of the weight and row t of the input. One row after the other: memory is then read from end to
// end, which the processor's own prefetching follows at full bandwidth. Several sums hide the latency of additions.
template <class Row, int T>
NFT_INLINE void add_products(const char* w, int64_t inner, const float* x, int64_t x_stride, f32v (&sum)[T]) {
  constexpr int kParts = T == 1 ? 4 : T == 2 ? 2 : 1;
  f32v part[kParts][T];
#pragma GCC unroll 4
  for (int u = 0; u < kParts; ++u)
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) part[u][t] = u == 0 ? sum[t] : zero();
  int64_t k = 0;
  for (; k + kParts * kLanes <= inner; k += kParts * kLanes)
#pragma GCC unroll 4
    for (int u = 0; u < kParts; ++u) {
      const f32v wu = Row::load(w, k + u * kLanes);
#pragma GCC unroll 8
      for (int t = 0; t < T; ++t) part[u][t] = fma(wu, F32::load(x + t * x_stride + k + u * kLanes), part[u][t]);
    }
  for (; k < inner; k += kLanes) {
    const f32v wk = inner - k < kLanes ? Row::load(w, k, static_cast<int>(inner - k)) : Row::load(w, k);
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) part[0][t] = fma(wk, F32::load(x + t * x_stride + k), part[0][t]);
  }
#pragma GCC unroll 8
  for (int t = 0; t < T; ++t) {
    if constexpr (kParts == 4)
      sum[t] = (part[0][t] + part[1][t]) + (part[2][t] + part[3][t]);
    else if constexpr (kParts == 2)
      sum[t] = part[0][t] + part[1][t];
    else
      sum[t] = part[0][t];
  }
}

// As add_products for R rows and one token, which unpacking bounds and not memory: the scale is applied once a block, and
// the minimum meets the sum of the block's x. Headers are converted for some blocks at a time, so that a scale reaches all
// lanes with its load and minima are summed as vectors.
template <class Block, int R>
NFT_INLINE void add_block_products(const Matrix& weight, int64_t row, int64_t inner, const float* x, const float* x_sums,
                                   f32v (&sum)[kGroup]) {
  constexpr int64_t kChunk = 32;
  alignas(64) float headers[R][2 * kChunk];
  const char* w[R];
  for (int r = 0; r < R; ++r) w[r] = static_cast<const char*>(weight.data) + (row + r) * weight.stride_bytes;
  const char* next = w[0];
  for (int64_t first = 0; first < inner / 32; first += kChunk) {
    const int64_t left = inner / 32 - first, blocks = left < kChunk ? left : kChunk;
    for (int64_t b = 0; b < blocks; ++b)
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        const f32x4 header = load_header(w[r] + b * Block::kBytes, Block::kHeader);
        std::memcpy(&headers[r][2 * b], &header, 8);
      }
    for (int64_t b = 0; b < blocks; ++b, x += 32, next += R * Block::kBytes) {
      prefetch<R * Block::kBytes>(next);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        f32v quants[32 / kLanes];
        Block::quants(w[r], quants);
        f32v products = quants[0] * F32::load(x);
#pragma GCC unroll 8
        for (int i = 1; i < 32 / kLanes; ++i) products = fma(quants[i], F32::load(x + i * kLanes), products);
        sum[r] = fma(products, set1(headers[r][2 * b]), sum[r]);
        w[r] += Block::kBytes;
      }
    }
    if constexpr (Block::kMinimum)
      for (int64_t i = 0; i < 2 * blocks; i += kLanes) {
        const int count = 2 * blocks - i < kLanes ? static_cast<int>(2 * blocks - i) : kLanes;
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r)
          sum[r] = fma(load_n(headers[r] + i, count), load_n(x_sums + 2 * first + i, count), sum[r]);
      }
  }
}

// Lane r of the result is the sum over the lanes of x[r], for the first kGroup lanes.
NFT_INLINE f32v reduce_group(f32v (&x)[kGroup]) {
  exchange<2>(x[0], x[2], LaneSequence{});
  exchange<2>(x[1], x[3], LaneSequence{});
  f32v even = x[0] + x[2], odd = x[1] + x[3];
  exchange<1>(even, odd, LaneSequence{});
  f32v sum = even + odd;
  if constexpr (kLanes >= 16) sum += rotate_lanes<kLanes / 2>(sum, LaneSequence{});
  if constexpr (kLanes >= 8) sum += rotate_lanes<4>(sum, LaneSequence{});
  return sum;
}

const char* weight_row(const Segment& s, int64_t row) { return static_cast<const char*>(s.b.data) + row * s.b.stride_bytes; }

template <class Row, int T, int R>
void outputs(const Problem& p, const Input& x, int64_t col) {
  constexpr bool kBlocks = T == 1 && is_blocked<Row>;
  f32v sum[T][kGroup];
#pragma GCC unroll 8
  for (int t = 0; t < T; ++t)
#pragma GCC unroll 4
    for (int r = 0; r < kGroup; ++r) sum[t][r] = zero();
  if constexpr (kBlocks) add_block_products<Row, R>(p.main.b, col, p.main.inner, x.data, x.block_sums, sum[0]);
  for (int r = 0; r < R; ++r) {
    f32v row[T];
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) row[t] = sum[t][r];
    if constexpr (!kBlocks) add_products<Row, T>(weight_row(p.main, col + r), p.main.inner, x.data, x.stride, row);
    if (p.tail.inner > 0)
      with_float_type(p.tail.b.dtype, [&](auto type) {
        add_products<PlainRow<decltype(type)>, T>(weight_row(p.tail, col + r), p.tail.inner, x.data + x.main, x.stride, row);
      });
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) sum[t][r] = row[t];
  }
  const Output& out = p.out;
  const f32v bias = out.bias ? load_float(out.bias_dtype, static_cast<const char*>(out.bias), col, R) : zero();
#pragma GCC unroll 8
  for (int t = 0; t < T; ++t) {
    if (t >= p.rows) break;
    char* c = static_cast<char*>(out.data) + t * out.stride_bytes;
    f32v y = set1(out.scale) * reduce_group(sum[t]);
    if (out.accumulate) y = load_float(out.dtype, c, col, R) + y;
    if (out.bias) y += bias;
    if (out.residual)
      y += load_float(out.residual_dtype, static_cast<const char*>(out.residual) + t * out.residual_stride_bytes, col, R);
    store_float(out.dtype, c, col, y, R);
  }
}

template <class Row, int T>
void all_outputs(const Problem& p, const Input& x, int threads) {
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
    if constexpr (is_blocked<Row>)
      if (t == 1) {
        sum_blocks(data, x.main, data + x.stride);
        x.block_sums = data + x.stride;
      }
    switch (t) {
      case 1: all_outputs<Row, 1>(p, x, threads); break;
      case 2: all_outputs<Row, 2>(p, x, threads); break;
      case 4: all_outputs<Row, 4>(p, x, threads); break;
      default: all_outputs<Row, 8>(p, x, threads);
    }
  });
}

}  // namespace nft::cpu::NFT_ISA::gemm
