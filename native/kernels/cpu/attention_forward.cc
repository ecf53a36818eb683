// Online softmax (Milakov & Gimelshein 2018, arXiv 1805.02867) over key blocks.
#include "attention.h"
#include "double_math.h"

namespace nft::cpu::NFT_ISA {

namespace {

using simd::f32v;
using simd::set1;

constexpr float kInfinity = __builtin_inff();
// Up to here scores are dot products over key rows as they lie: a transposed copy of the keys would cost more than it saves.
constexpr int64_t kDirectRows = 6;

struct Unit {
  Sequence sequence;
  int64_t head, begin, end;  // queries [begin, end) of the sequence
};

template <class Operands>
struct Buffers {
  using Unit = typename Operands::Unit;
  Unit *q, *keys, *values, *probability;
  float *scores, *o, *largest, *sum;
};

template <class Operands>
Buffers<Operands> take(const AttentionBlocks& b, Workspace& w) {
  using Unit = typename Operands::Unit;
  constexpr int64_t kPack = Operands::kPack;
  Buffers<Operands> buffers;
  buffers.q = w.take<Unit>(b.block_rows() * b.row_units<Operands>());
  buffers.keys = w.take<Unit>(kKeyBlock * b.depth<Operands>());
  buffers.values = w.take<Unit>(kKeyBlock / kPack * b.width);
  buffers.scores = w.take<float>(b.strip_rows() * kKeyBlock);
  // f32 probabilities take the place of their scores.
  if constexpr (kPack == 1)
    buffers.probability = buffers.scores;
  else
    buffers.probability = w.take<Unit>(b.strip_rows() * kKeyBlock / kPack);
  buffers.o = w.take<float>(b.block_rows() * b.width);
  buffers.largest = w.take<float>(b.block_rows());
  buffers.sum = w.take<float>(b.block_rows());
  return buffers;
}

// A row that has seen no score above -inf yet: differences from 0 instead of -inf stay defined.
NFT_INLINE f32v finite_maximum(f32v largest) { return simd::select(largest == -kInfinity, simd::zero(), largest); }

NFT_INLINE f32v add(f32v x, f32v y) { return x + y; }

// One vector of scores: a row of q with `count` keys, kLanes unless some are missing.
template <class Operands, class Type>
NFT_INLINE f32v scores_of_keys(const typename Operands::Unit* q, int64_t stride, const char* key, int64_t key_stride,
                               int64_t D, int count) {
  f32v sum[simd::kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < simd::kLanes; ++i) sum[i] = simd::zero();
  for (int64_t c = 0; c < stride; c += simd::kLanes) {
    const auto qc = Operands::load(q + c);
#pragma GCC unroll 16
    for (int i = 0; i < simd::kLanes; ++i)
      if (i < count)
        sum[i] = Operands::multiply_add(qc, Operands::template load_units<Type>(key + i * key_stride, D, c), sum[i]);
  }
  return simd::fold_rows(sum, add);
}

// scores[r, j] = q[r] . k[j] for few rows: keys are read as they lie.
template <class Operands>
void direct_scores(const AttentionBlocks& b, const typename Operands::Unit* q, int64_t rows, const Tensor& k, int64_t first,
                   int64_t keys, int64_t col, float* scores) {
  const int64_t stride = b.row_units<Operands>(), key_stride = k.stride_bytes();
  Operands::with_type(k.dtype, [&](auto type) {
    using Type = decltype(type);
    const char* key = element(k, first, col);
    for (int64_t j = 0; j < keys; j += simd::kLanes, key += simd::kLanes * key_stride)
      for (int64_t r = 0; r < rows; ++r) {
        const auto* row = q + r * stride;
        const f32v z = j + simd::kLanes <= keys
                           ? scores_of_keys<Operands, Type>(row, stride, key, key_stride, b.D, simd::kLanes)
                           : scores_of_keys<Operands, Type>(row, stride, key, key_stride, b.D, static_cast<int>(keys - j));
        simd::F32::store(scores + r * kKeyBlock + j, z);
      }
  });
}

// Asks for n rows of one head: they lie apart in memory, which the processor's own prefetching does not follow.
void prefetch_rows(const Tensor& t, int64_t first, int64_t n, int64_t col, int64_t D) {
  const char* p = element(t, first, col);
  const int64_t bytes = D * element_bytes(t);
  for (int64_t i = 0; i < n; ++i, p += t.stride_bytes())
    for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(p + at);
}

// kLanes rows or fewer of a strip and what their queries see of the key block.
struct ScoreRows {
  float* scores;
  int count;
  Columns visible[simd::kLanes];
};

// The largest visible z of each row. Capped scores are replaced by z.
f32v row_maxima(const ScoreRows& rows, int64_t cols, const ScoreMap& map) {
  f32v found[simd::kLanes];
  for (int i = 0; i < simd::kLanes; ++i) {
    found[i] = set1(-kInfinity);
    if (i >= rows.count) continue;
    float* row = rows.scores + i * kKeyBlock;
    const Columns visible = rows.visible[i];
    for (int64_t c = 0; c < cols; c += simd::kLanes) {
      f32v z = map(simd::F32::load(row + c));
      if (map.capped) simd::F32::store(row + c, z);
      if (c < visible.low || c + simd::kLanes > visible.high) z = simd::select(lane_mask(c, visible), z, set1(-kInfinity));
      found[i] = simd::max(found[i], z);
    }
  }
  return simd::fold_rows(found, [](f32v x, f32v y) { return simd::max(x, y); });
}

// p = exp(factor * score - maximum), 0 where a query does not see the key; returns the sum of each row.
template <class Operands>
f32v exponentials(const ScoreRows& rows, int64_t cols, f32v factor, f32v maximum, typename Operands::Unit* p) {
  constexpr int kPack = Operands::kPack;
  float row_maximum[simd::kLanes];
  simd::F32::store(row_maximum, maximum);
  f32v sum[simd::kLanes];
  for (int i = 0; i < simd::kLanes; ++i) {
    sum[i] = simd::zero();
    if (i >= rows.count) continue;
    const float* row = rows.scores + i * kKeyBlock;
    const Columns visible = rows.visible[i];
    for (int64_t c = 0; c < cols; c += kPack * simd::kLanes) {
      f32v e[kPack];
      for (int v = 0; v < kPack; ++v) {
        const int64_t at = c + v * simd::kLanes;
        e[v] = simd::exp_bounded(simd::F32::load(row + at) * factor - row_maximum[i]);
        if (at < visible.low || at + simd::kLanes > visible.high)
          e[v] = simd::select(lane_mask(at, visible), e[v], simd::zero());
        sum[i] += e[v];
      }
      Operands::store_row(e, p + (i * kKeyBlock + c) / kPack);
    }
  }
  return simd::fold_rows(sum, add);
}

// Scores of a strip to p = exp(z - largest), with the running maximum and sum of each row; o is rescaled where the maximum
// grew by more than kTolerated. kLanes rows at a time: their folds over lanes are one.
template <class Operands>
void softmax_strip(const AttentionBlocks& b, int64_t strip_rows, int64_t cols, int64_t position, int64_t first_key,
                   int64_t keys, const Buffers<Operands>& w, float* largest, float* sum, float* o) {
  constexpr float kTolerated = 5;  // p grows up to e^5, which costs an f32 or bf16 no accuracy
  const ScoreMap map(b);
  int64_t g = 0;
  for (int64_t r = 0; r < strip_rows; r += simd::kLanes) {
    ScoreRows rows;
    rows.scores = w.scores + r * kKeyBlock;
    rows.count = static_cast<int>(min64(simd::kLanes, strip_rows - r));
    for (int i = 0; i < rows.count; ++i) {
      rows.visible[i] = visible_columns(b, position, first_key, keys);
      if (++g == b.group) g = 0, ++position;
    }
    const f32v found = row_maxima(rows, cols, map), old = load_n(largest + r, rows.count);
    const f32v grown = simd::select(found > old + kTolerated, found, old), maximum = finite_maximum(grown);
    // While nothing is summed there is nothing to rescale.
    const f32v shrink = simd::select(old == -kInfinity, set1(1.f), simd::exp_bounded(old - maximum));
    const f32v factor = map.capped ? set1(1.f) : map.scale;
    const f32v total = exponentials<Operands>(rows, cols, factor, maximum, w.probability + r * kKeyBlock / Operands::kPack);
    store_n(largest + r, grown, rows.count);
    store_n(sum + r, simd::fma(load_n(sum + r, rows.count), shrink, total), rows.count);
    for (int i = 0; i < rows.count; ++i) {
      if (shrink[i] == 1) continue;
      float* at = o + (r + i) * b.width;
      for (int64_t c = 0; c < b.width; c += simd::kLanes) simd::F32::store(at + c, simd::F32::load(at + c) * shrink[i]);
    }
  }
}

template <class Operands>
void strip_forward(const AttentionForward& a, const AttentionBlocks& b, const Unit& u, int64_t strip, int64_t first_key,
                   int64_t keys, bool direct, const RowsView<typename Operands::Unit>& v, const Buffers<Operands>& w) {
  constexpr int64_t kPack = Operands::kPack;
  const int64_t begin = u.begin + strip, end = min64(u.end, begin + b.strip), rows = (end - begin) * b.group;
  const KeyRange range = visible_keys(b, u.sequence, begin, end);
  const int64_t high = min64(keys, range.last - first_key), cols = round_up(high, simd::kLanes);
  if (high <= 0 || range.first >= first_key + keys) return;
  const int64_t offset = strip * b.group, stride = b.row_units<Operands>();
  const auto* q = w.q + offset * stride;
  float* o = w.o + offset * b.width;
  if (direct)
    direct_scores<Operands>(b, q, rows, a.k, u.sequence.k_begin + first_key, high, u.head * b.D, w.scores);
  else
    block_product<Operands>({q, stride, 1, w.keys, kKeyBlock, w.scores, kKeyBlock}, rows, cols, b.depth<Operands>(), false);
  softmax_strip(b, rows, cols, begin + u.sequence.shift(), first_key, keys, w, w.largest + offset, w.sum + offset, o);
  block_product<Operands>({w.probability, kKeyBlock / kPack, 1, v.data, v.stride, o, b.width}, rows, b.width,
                          ceil_div(high, kPack), true);
}

template <class Operands>
void write_output(const AttentionForward& a, const AttentionBlocks& b, const Unit& u, const Buffers<Operands>& w) {
  for (int64_t i = u.begin; i < u.end; ++i) {
    const int64_t row = u.sequence.q_begin + i;
    for (int64_t g = 0; g < b.group; ++g) {
      const int64_t at = (i - u.begin) * b.group + g, head = u.head * b.group + g;
      const float sum = w.sum[at];
      // A sum of 0 means no keys; NaN must stay NaN.
      store_scaled(a.o, w.o + at * b.width, sum == 0 ? 0.f : 1.f / sum, element(a.o, row, head * b.D), b.D);
      if (!a.lse.present) continue;
      float lse = sum == 0 ? -kInfinity : sum;
      if (sum > 0 && sum < kInfinity) lse = w.largest[at] + static_cast<float>(log_positive(sum));
      reinterpret_cast<float*>(a.lse.row(row))[head] = lse;
    }
  }
}

template <class Operands>
void run_unit(const AttentionForward& a, const AttentionBlocks& b, const Unit& u, const Buffers<Operands>& w) {
  const Sequence& s = u.sequence;
  const int64_t queries = u.end - u.begin, rows = queries * b.group;
  pack_queries<Operands>(b, a.q, u.head, s.q_begin + u.begin, queries, w.q);
  std::memset(w.o, 0, static_cast<size_t>(rows * b.width) * sizeof(float));
  for (int64_t r = 0; r < rows; ++r) w.largest[r] = -kInfinity, w.sum[r] = 0;
  const bool direct = rows <= kDirectRows;
  const KeyRange range = visible_keys(b, s, u.begin, u.end);
  const int64_t col = u.head * b.D, start = range.first / kKeyBlock * kKeyBlock;
  const auto fetch_block = [&](int64_t first) {
    const int64_t row = max64(first, range.first), end = min64(first + kKeyBlock, range.last);
    for (const Tensor* t : {&a.k, &a.v}) prefetch_rows(*t, s.k_begin + row, end - row, col, b.D);
  };
  if (direct) fetch_block(start);
  for (int64_t first = start; first < range.last; first += kKeyBlock) {
    const int64_t keys = min64(kKeyBlock, s.keys - first), row = s.k_begin + first;
    if (direct) fetch_block(first + kKeyBlock);
    if (!direct) pack_transposed<Operands>(a.k, row, keys, col, b.D, w.keys);
    const auto v = Operands::over_rows(a.v, row, keys, col, b.D, b.width, w.values);
    for (int64_t strip = 0; strip < queries; strip += b.strip) strip_forward(a, b, u, strip, first, keys, direct, v, w);
  }
  write_output(a, b, u, w);
}

template <class Operands>
size_t bytes_per_thread(const AttentionBlocks& b) {
  Workspace w{nullptr};
  take<Operands>(b, w);
  return static_cast<size_t>(w.bytes);
}

// Calls f with the operands of these arguments.
template <class F>
void with_operands_of(const AttentionForward& a, F&& f) {
  with_operands(f, a.q, a.k, a.v);
}

}  // namespace

size_t attention_forward_workspace(const AttentionForward& a, const Context& context) {
  size_t bytes = 0;
  with_operands_of(a, [&](auto operands) { bytes = bytes_per_thread<decltype(operands)>(AttentionBlocks(a.shape, a.q)); });
  return bytes * static_cast<size_t>(context.threads);
}

void attention_forward(const AttentionForward& a, Context& context) {
  const char* op = AttentionForward::kName;
  require_float(op, "q", a.q);
  require_float(op, "k", a.k);
  require_float(op, "v", a.v);
  require_float(op, "o", a.o);
  require_f32(op, "lse", a.lse);
  check::offsets(op, "cu_q", a.cu_q, a.q.rows());
  check::offsets(op, "cu_k", a.cu_k, a.k.rows());
  const AttentionBlocks b(a.shape, a.q);
  const int64_t sequences = a.cu_q.num_elements() - 1;
  const int64_t covered_begin = a.cu_q.as<int32_t>()[0], covered_end = a.cu_q.as<int32_t>()[sequences];
  clear_outside(a.o, covered_begin, covered_end);
  for (int64_t i = 0; a.lse.present && i < a.lse.rows(); ++i)
    for (int64_t h = 0; (i < covered_begin || i >= covered_end) && h < a.shape.heads; ++h)
      reinterpret_cast<float*>(a.lse.row(i))[h] = -kInfinity;

  const auto units = [&](auto&& visit) {
    for (int64_t s = 0; s < sequences; ++s) {
      const Sequence sequence = sequence_at(a.cu_q, a.cu_k, s);
      for (int64_t head = 0; head < b.kv_heads; ++head)
        for (int64_t begin = 0; begin < sequence.queries; begin += b.block) {
          const int64_t end = min64(sequence.queries, begin + b.block);
          const KeyRange keys = visible_keys(b, sequence, begin, end);
          visit((end - begin) * b.group * b.D * 2 * max64(1, keys.last - keys.first), Unit{sequence, head, begin, end});
        }
    }
  };
  with_operands_of(a, [&](auto operands) {
    using Operands = decltype(operands);
    const size_t bytes = bytes_per_thread<Operands>(b);
    for_units<Unit>(context.threads, units, [&](const Unit& u, int64_t share) {
      Workspace w{static_cast<char*>(context.workspace) + share * static_cast<int64_t>(bytes)};
      run_unit(a, b, u, take<Operands>(b, w));
    });
  });
}

}  // namespace nft::cpu::NFT_ISA
