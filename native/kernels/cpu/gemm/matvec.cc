#include "matvec.h"

#include <type_traits>

#include "../../../core/thread_pool.h"
#include "storage.h"

namespace nft::cpu::NFT_ISA::gemm {

namespace {

constexpr int64_t kParallelWork = 1 << 16;
constexpr int kGroup = 4;         // rows of the weight whose sums are folded together
constexpr int64_t kAhead = 6144;  // bytes to fetch ahead of blocks

// A as f32 in the workspace: T rows, each main then tail, both padded with zeros to whole vectors.
struct Input {
  const float* data;
  int64_t stride, main, tail;  // elements; padded lengths
  const float* group_sums;     // of one token: 0 and the sum of the elements of the main part, for every group of a block
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

// For each group of x 0 and its sum: what meets the scale and the minimum of a group of the weight.
void sum_groups(const float* x, int64_t inner, int64_t group, float* sums) {
  for (int64_t k = 0; k < inner; k += group, sums += 2) {
    f32v total = zero();
    for (int64_t i = 0; i < group; i += kLanes) total += F32::load(x + k + i);
    sums[0] = 0;
    sums[1] = reduce_add(total);
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

// As add_products for R rows and one token, which unpacking bounds and not memory: the scale is applied once a group, and
// the minimum meets the sum of the group's x. Scales are decoded for some groups at a time, so that one reaches all lanes
// with its load and minima are summed as vectors.
template <class Row, int R>
NFT_INLINE void add_block_products(const Matrix& weight, int64_t row, int64_t inner, const float* x, const float* x_sums,
                                   f32v (&sum)[kGroup]) {
  constexpr int64_t kChunk = 32;
  static_assert(sizeof(formats::Affine) == 8 && kChunk % Row::kGroups == 0);
  alignas(64) float headers[R][2 * kChunk];
  const char* w[R];
  for (int r = 0; r < R; ++r) w[r] = static_cast<const char*>(weight.data) + (row + r) * weight.stride_bytes;
  const char* next = w[0];
  const int64_t all = inner / Row::kGroup;
  for (int64_t first = 0; first < all; first += kChunk) {
    const int64_t left = all - first, groups = left < kChunk ? left : kChunk;
    for (int64_t g = 0; g < groups; ++g)
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        const formats::Affine affine = Row::affine(w[r], first + g);
        std::memcpy(&headers[r][2 * g], &affine, sizeof(affine));
      }
    for (int64_t g = 0; g < groups; ++g, x += Row::kGroup) {
      if (Row::kGroups == 1 || (g & (Row::kGroups - 1)) == 0) {
        prefetch<R * Row::kBytes>(next);
        next += R * Row::kBytes;
      }
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        f32v quants[Row::kGroup / kLanes];
        Row::quants(w[r], first + g, quants);
        f32v products = quants[0] * F32::load(x);
#pragma GCC unroll 16
        for (int i = 1; i < Row::kGroup / kLanes; ++i) products = fma(quants[i], F32::load(x + i * kLanes), products);
        sum[r] = fma(products, set1(headers[r][2 * g]), sum[r]);
      }
    }
    if constexpr (Row::kMinimum)
      for (int64_t i = 0; i < 2 * groups; i += kLanes) {
        const int count = 2 * groups - i < kLanes ? static_cast<int>(2 * groups - i) : kLanes;
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

// Quantized rows of the weight as f32, for several tokens: elements k ... k + count - 1 of a row, whole vectors.
using Decode = void (*)(const char* row, int64_t k, int64_t count, float* out);
template <class Row>
void decode_row(const char* row, int64_t k, int64_t count, float* out) {
  for (int64_t i = 0; i < count; i += kLanes) F32::store(out + i, Row::load(row, k + i));
}
// Stands for all quantized formats where their elements are decoded first.
struct DecodedRow {};

template <int T>
NFT_INLINE void add_decoded_products(const char* w, Decode decode, int64_t inner, const float* x, int64_t x_stride,
                                     f32v (&sum)[T]) {
  constexpr int64_t kChunk = 512;
  alignas(64) float decoded[kChunk];
  for (int64_t k = 0; k < inner; k += kChunk) {
    const int64_t count = inner - k < kChunk ? inner - k : kChunk;
    decode(w, k, count, decoded);
    add_products<PlainRow<F32>, T>(reinterpret_cast<const char*>(decoded), count, x + k, x_stride, sum);
  }
}

template <class Row, int T, int R>
void outputs(const Problem& p, const Input& x, Decode decode, int64_t col) {
  constexpr bool kBlocks = is_blocked<Row>, kDecoded = std::is_same_v<Row, DecodedRow>;
  f32v sum[T][kGroup];
#pragma GCC unroll 8
  for (int t = 0; t < T; ++t)
#pragma GCC unroll 4
    for (int r = 0; r < kGroup; ++r) sum[t][r] = zero();
  if constexpr (kBlocks) add_block_products<Row, R>(p.main.b, col, p.main.inner, x.data, x.group_sums, sum[0]);
  for (int r = 0; r < R; ++r) {
    f32v row[T];
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) row[t] = sum[t][r];
    const char* w = weight_row(p.main, col + r);
    if constexpr (kDecoded)
      add_decoded_products<T>(w, decode, p.main.inner, x.data, x.stride, row);
    else if constexpr (!kBlocks)
      add_products<Row, T>(w, p.main.inner, x.data, x.stride, row);
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

// The share of a worker in the columns.
template <class Row, int T>
void share_of_outputs(const Problem& p, const Input& x, Decode decode, int64_t worker, int64_t workers) {
  const int64_t groups = (p.cols + kGroup - 1) / kGroup;
  for (int64_t g = groups * worker / workers; g < groups * (worker + 1) / workers; ++g) {
    const int64_t col = g * kGroup;
    if (col + kGroup <= p.cols)
      outputs<Row, T, kGroup>(p, x, decode, col);
    else
      for (int64_t c = col; c < p.cols; ++c) outputs<Row, T, 1>(p, x, decode, c);
  }
}

// Tokens, rounded up to a number that there is code for.
int tokens_of(const Problem& p) { return p.rows == 1 ? 1 : p.rows == 2 ? 2 : p.rows <= 4 ? 4 : 8; }

template <class Row>
void share_of_tokens(const Problem& p, const Input& x, Decode decode, int64_t worker, int64_t workers) {
  switch (tokens_of(p)) {
    case 1: return share_of_outputs<Row, 1>(p, x, decode, worker, workers);
    case 2: return share_of_outputs<Row, 2>(p, x, decode, worker, workers);
    case 4: return share_of_outputs<Row, 4>(p, x, decode, worker, workers);
    default: share_of_outputs<Row, 8>(p, x, decode, worker, workers);
  }
}

void run_share(const Problem& p, const Input& x, int64_t worker, int64_t workers) {
  with_storage(p.main.b.dtype, [&](auto row) {
    using Row = decltype(row);
    if constexpr (!is_blocked<Row>)
      share_of_tokens<Row>(p, x, nullptr, worker, workers);
    else if (p.rows > 1)
      share_of_tokens<DecodedRow>(p, x, decode_row<Row>, worker, workers);
    else
      share_of_outputs<Row, 1>(p, x, nullptr, worker, workers);
  });
}

Input unpack(const Problem& p, float* data) {
  const int tokens = tokens_of(p);
  Input x;
  x.main = padded(p.main.inner);
  x.tail = padded(p.tail.inner);
  x.stride = x.main + x.tail;
  x.data = data;
  for (int i = 0; i < tokens; ++i) {
    if (i < p.rows) {
      unpack_row(p.main, i, x.main, data + i * x.stride);
      unpack_row(p.tail, i, x.tail, data + i * x.stride + x.main);
    } else {
      std::memset(data + i * x.stride, 0, static_cast<size_t>(x.stride) * 4);
    }
  }
  x.group_sums = data + x.stride;
  if (tokens == 1)
    with_storage(p.main.b.dtype, [&](auto row) {
      using Row = decltype(row);
      if constexpr (is_blocked<Row>)
        if (Row::kMinimum) sum_groups(data, p.main.inner, Row::kGroup, data + x.stride);
    });
  return x;
}

}  // namespace

size_t matvec_workspace_bytes(const Problem& p) {
  return static_cast<size_t>(kMatvecRows * (p.main.inner + p.tail.inner + 2 * kLanes) * 4);
}

void matvec(const Problem* problems, int count, void* workspace, int threads) {
  Input inputs[kMaxParts];
  int64_t work = 0;
  char* memory = static_cast<char*>(workspace);
  for (int i = 0; i < count; ++i) {
    const Problem& p = problems[i];
    inputs[i] = unpack(p, reinterpret_cast<float*>(memory));
    memory += matvec_workspace_bytes(p);
    work += p.cols * inputs[i].stride;
  }
  const int64_t workers = work < kParallelWork ? 1 : threads;
  ThreadPool::instance().run(workers, [&](int64_t worker, int) {
    for (int i = 0; i < count; ++i) run_share(problems[i], inputs[i], worker, workers);
  });
}

}  // namespace nft::cpu::NFT_ISA::gemm
