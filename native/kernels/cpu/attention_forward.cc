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

struct Buffers {
  float *q, *keys, *values, *scores, *o, *largest, *sum, *shrink;
};

Buffers take(const AttentionBlocks& b, Workspace& w) {
  return {w.floats(b.block_rows() * b.width), w.floats(kKeyBlock * b.width),
          w.floats(kKeyBlock * b.width),      w.floats(b.strip_rows() * kKeyBlock),
          w.floats(b.block_rows() * b.width), w.floats(b.block_rows()),
          w.floats(b.block_rows()),           w.floats(b.strip_rows())};
}

// A row that has seen no score above -inf yet: differences from 0 instead of -inf stay defined.
NFT_INLINE f32v finite_maximum(f32v largest) { return simd::select(largest == -kInfinity, simd::zero(), largest); }

// scores[r, j] = q[r] . k[j] for few rows: keys are read once.
void direct_scores(const AttentionBlocks& b, const float* q, int64_t rows, const RowsView& k, int64_t keys, float* scores) {
  for (int64_t j = 0; j < keys; ++j) {
    const float* kj = k.data + j * k.stride;
    for (int64_t r = 0; r < rows; ++r) {
      f32v sum = simd::zero();
      for (int64_t c = 0; c < b.width; c += simd::kLanes)
        sum = simd::fma(simd::F32::load(q + r * b.width + c), simd::F32::load(kj + c), sum);
      scores[r * kKeyBlock + j] = simd::reduce_add(sum);
    }
  }
}

// Scores of a strip to p = exp(z - largest), 0 where a query does not see the key, with the running maximum and sum of each
// row; o is rescaled where the maximum grew. In passes over all rows, so that the latencies of one row hide behind the
// others.
void softmax_strip(const AttentionBlocks& b, int64_t rows, int64_t cols, int64_t first_position, int64_t first_key,
                   int64_t keys, float* scores, float* largest, float* sum, float* shrink, float* o) {
  const ScoreMap map(b);
  Columns visible = {0, 0};
  for (int64_t r = 0, g = 0; r < rows; ++r, g = g + 1 == b.group ? 0 : g + 1) {
    float* row = scores + r * kKeyBlock;
    if (g == 0) visible = visible_columns(b, first_position++, first_key, keys);
    f32v maximum = set1(-kInfinity);
    for (int64_t c = 0; c < cols; c += simd::kLanes) {
      f32v z = map(simd::F32::load(row + c));
      if (c < visible.low || c + simd::kLanes > visible.high) z = simd::select(lane_mask(c, visible), z, set1(-kInfinity));
      simd::F32::store(row + c, z);
      maximum = simd::max(maximum, z);
    }
    shrink[r] = simd::reduce_max(maximum);
  }
  for_vectors(rows, [&](int64_t r, int count) {
    const f32v old = load_n(largest + r, count), grown = simd::max(old, load_n(shrink + r, count));
    store_n(largest + r, grown, count);
    store_n(shrink + r, simd::exp(old - finite_maximum(grown)), count);
  });
  for (int64_t r = 0; r < rows; ++r) {
    float* row = scores + r * kKeyBlock;
    const f32v maximum = finite_maximum(set1(largest[r]));
    f32v total = simd::zero();
    for (int64_t c = 0; c < cols; c += simd::kLanes) {
      const f32v p = simd::exp(simd::F32::load(row + c) - maximum);
      simd::F32::store(row + c, p);
      total += p;
    }
    sum[r] = sum[r] * shrink[r] + simd::reduce_add(total);
  }
  for (int64_t r = 0; r < rows; ++r) {
    if (shrink[r] == 1) continue;
    const f32v factor = set1(shrink[r]);
    for (int64_t c = 0; c < b.width; c += simd::kLanes) {
      float* at = o + r * b.width + c;
      simd::F32::store(at, simd::F32::load(at) * factor);
    }
  }
}

void strip_forward(const AttentionBlocks& b, const Unit& u, int64_t strip, int64_t first_key, int64_t keys, bool direct,
                   const RowsView& k, const RowsView& v, const Buffers& w) {
  const int64_t begin = u.begin + strip, end = min64(u.end, begin + b.strip), rows = (end - begin) * b.group;
  const KeyRange range = visible_keys(b, u.sequence, begin, end);
  const int64_t high = min64(keys, range.last - first_key);
  if (high <= 0 || range.first >= first_key + keys) return;
  const int64_t offset = strip * b.group;
  const float* q = w.q + offset * b.width;
  if (direct)
    direct_scores(b, q, rows, k, high, w.scores);
  else
    block_product({q, b.width, 1, w.keys, kKeyBlock, w.scores, kKeyBlock}, rows, round_up(high, simd::kLanes), b.D, false);
  softmax_strip(b, rows, round_up(high, simd::kLanes), begin + u.sequence.shift(), first_key, keys, w.scores,
                w.largest + offset, w.sum + offset, w.shrink, w.o + offset * b.width);
  block_product({w.scores, kKeyBlock, 1, v.data, v.stride, w.o + offset * b.width, b.width}, rows, b.width, high, true);
}

void write_output(const AttentionForward& a, const AttentionBlocks& b, const Unit& u, const Buffers& w) {
  for (int64_t i = u.begin; i < u.end; ++i) {
    const int64_t row = u.sequence.q_begin + i;
    for (int64_t g = 0; g < b.group; ++g) {
      const int64_t at = (i - u.begin) * b.group + g, head = u.head * b.group + g;
      const float sum = w.sum[at];
      float* o = w.o + at * b.width;
      // A sum of 0 means no keys; NaN must stay NaN.
      const f32v factor = set1(sum == 0 ? 0.f : 1.f / sum);
      for (int64_t c = 0; c < b.width; c += simd::kLanes) simd::F32::store(o + c, simd::F32::load(o + c) * factor);
      store_f32(a.o.dtype, o, element(a.o, row, head * b.D), b.D);
      if (!a.lse.present) continue;
      float lse = sum == 0 ? -kInfinity : sum;
      if (sum > 0 && sum < kInfinity) lse = w.largest[at] + static_cast<float>(log_positive(sum));
      reinterpret_cast<float*>(a.lse.row(row))[head] = lse;
    }
  }
}

void run_unit(const AttentionForward& a, const AttentionBlocks& b, const Unit& u, const Buffers& w) {
  const Sequence& s = u.sequence;
  const int64_t queries = u.end - u.begin, rows = queries * b.group;
  pack_queries(b, a.q, u.head, s.q_begin + u.begin, queries, w.q);
  std::memset(w.o, 0, static_cast<size_t>(rows * b.width) * sizeof(float));
  for (int64_t r = 0; r < rows; ++r) w.largest[r] = -kInfinity, w.sum[r] = 0;
  const bool direct = rows <= kDirectRows;
  const KeyRange range = visible_keys(b, s, u.begin, u.end);
  for (int64_t first = range.first / kKeyBlock * kKeyBlock; first < range.last; first += kKeyBlock) {
    const int64_t keys = min64(kKeyBlock, s.keys - first);
    RowsView k = {nullptr, 0};
    if (direct)
      k = key_rows(b, a.k, s.k_begin + first, keys, u.head, w.keys);
    else
      pack_transposed(a.k, s.k_begin + first, keys, u.head * b.D, b.D, w.keys);
    const RowsView v = key_rows(b, a.v, s.k_begin + first, keys, u.head, w.values);
    for (int64_t strip = 0; strip < queries; strip += b.strip) strip_forward(b, u, strip, first, keys, direct, k, v, w);
  }
  write_output(a, b, u, w);
}

size_t bytes_per_thread(const AttentionBlocks& b) {
  Workspace w{nullptr};
  take(b, w);
  return static_cast<size_t>(w.bytes);
}

}  // namespace

size_t attention_forward_workspace(const AttentionForward& a, const Context& context) {
  return bytes_per_thread(AttentionBlocks(a.shape, a.q)) * static_cast<size_t>(context.threads);
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

  const size_t bytes = bytes_per_thread(b);
  for_units<Unit>(
      context.threads,
      [&](auto&& visit) {
        for (int64_t s = 0; s < sequences; ++s) {
          const Sequence sequence = sequence_at(a.cu_q, a.cu_k, s);
          for (int64_t head = 0; head < b.kv_heads; ++head)
            for (int64_t begin = 0; begin < sequence.queries; begin += b.block) {
              const int64_t end = min64(sequence.queries, begin + b.block);
              const KeyRange keys = visible_keys(b, sequence, begin, end);
              visit((end - begin) * b.group * b.D * 2 * max64(1, keys.last - keys.first), Unit{sequence, head, begin, end});
            }
        }
      },
      [&](const Unit& u, int64_t share) {
        Workspace w{static_cast<char*>(context.workspace) + share * static_cast<int64_t>(bytes)};
        run_unit(a, b, u, take(b, w));
      });
}

}  // namespace nft::cpu::NFT_ISA
