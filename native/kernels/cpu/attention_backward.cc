// Backward of attention, scores recomputed block by block.
// Two schedules with the same result bit for bit, because every gradient element is one chain of multiply-adds in the same
// order (block_product.h): a sweep makes dq, dk and dv of one (sequence, key head) together, 5 products per block; where
// those units would not spread evenly over the threads, dk and dv are made per key block and then dq per query block, 7
// products.
#include "attention.h"

namespace nft::cpu::NFT_ISA {

namespace {

using simd::f32v;
using simd::set1;

constexpr int64_t kSweepKeys = 2048;  // longest sequence a sweep has gradient buffers for
constexpr double kSweepExcess = 1.5;  // most that the busiest thread of a sweep may exceed the mean: the other schedule
                                      // takes 1.56 times the work (1 x 1024 tokens, D 64, Zen 4)

struct Unit {
  Sequence sequence;
  int64_t head, begin, end;  // queries of a query unit, keys of a key unit, all queries of a sweep
};

struct Buffers {
  float *q, *dout, *dq, *lse, *delta;  // one block of queries
  float *keys_t, *values_t, *keys;     // one block of keys; _t: [D][kKeyBlock]
  float *probability, *dscore;         // one strip of scores
  float *dk, *dv;                      // [kSweepKeys or kKeyBlock, width]
};

Buffers take(const AttentionBlocks& b, int64_t key_rows, Workspace& w) {
  const int64_t queries = b.block_rows() * b.width, keys = kKeyBlock * b.width, strip = b.strip_rows() * kKeyBlock;
  return {w.floats(queries),
          w.floats(queries),
          w.floats(queries),
          w.floats(b.block_rows()),
          w.floats(b.block_rows()),
          w.floats(keys),
          w.floats(keys),
          w.floats(keys),
          w.floats(strip),
          w.floats(strip),
          w.floats(key_rows * b.width),
          w.floats(key_rows * b.width)};
}

int64_t gradient_rows(const AttentionBackward& a) { return max64(kKeyBlock, min64(kSweepKeys, a.k.rows())); }

size_t bytes_per_thread(const AttentionBlocks& b, int64_t key_rows) {
  Workspace w{nullptr};
  take(b, key_rows, w);
  return static_cast<size_t>(w.bytes);
}

float fma1(float x, float y, float sum) {
#if defined(__FMA__)
  return __builtin_fmaf(x, y, sum);
#else
  return x * y + sum;
#endif
}

// delta[r] = dout[r] . o[r], each one chain of multiply-adds in the order of block_product: where a query sees a single key,
// o is that key's v and dp - delta cancels exactly. Eight rows at a time, since one chain would wait for itself.
void row_products(const float* dout, const float* o, int64_t rows, int64_t width, int64_t D, float* delta) {
  constexpr int64_t kRows = 8;
  for (int64_t r = 0; r < rows; r += kRows) {
    float sum[kRows] = {};
    const int64_t n = min64(kRows, rows - r);
    for (int64_t c = 0; c < D; ++c)
      for (int64_t i = 0; i < n; ++i) sum[i] = fma1(dout[(r + i) * width + c], o[(r + i) * width + c], sum[i]);
    for (int64_t i = 0; i < n; ++i) delta[r + i] = sum[i];
  }
}

// Queries [begin, end): q, dout, lse, delta = dout . o. dq's buffer serves as scratch for o.
void load_queries(const AttentionBackward& a, const AttentionBlocks& b, const Sequence& s, int64_t head, int64_t begin,
                  int64_t end, const Buffers& w) {
  const int64_t first = s.q_begin + begin, n = end - begin;
  pack_queries(b, a.q, head, first, n, w.q);
  pack_queries(b, a.dout, head, first, n, w.dout);
  pack_queries(b, a.o, head, first, n, w.dq);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t g = 0; g < b.group; ++g) {
      const int64_t r = i * b.group + g;
      w.lse[r] = reinterpret_cast<const float*>(a.lse.row(first + i))[head * b.group + g];
    }
  row_products(w.dout, w.dq, n * b.group, b.width, b.D, w.delta);
}

// scores -> p = exp(z - lse), dp -> dz = p (dp - delta) [* (1 - (z / softcap)^2)]; 0 where the query does not see the key.
void score_gradient(const AttentionBlocks& b, float* p, float* dp, Columns visible, int64_t cols, float lse, float delta) {
  const ScoreMap map(b);
  for (int64_t c = 0; c < cols; c += simd::kLanes) {
    f32v slope;
    const f32v z = map(simd::F32::load(p + c), slope);
    f32v probability = simd::exp(z - lse), gradient = probability * (simd::F32::load(dp + c) - delta) * slope;
    if (c < visible.low || c + simd::kLanes > visible.high) {
      const simd::i32v mask = lane_mask(c, visible);
      probability = simd::select(mask, probability, simd::zero());
      gradient = simd::select(mask, gradient, simd::zero());
    }
    simd::F32::store(p + c, probability);
    simd::F32::store(dp + c, gradient);
  }
}

struct KeyBlock {
  int64_t first, keys;  // within the sequence
  RowsView rows;
};

template <bool kQueries>
KeyBlock load_keys(const AttentionBackward& a, const AttentionBlocks& b, const Sequence& s, int64_t head, int64_t first,
                   const Buffers& w) {
  const int64_t keys = min64(kKeyBlock, s.keys - first), row = s.k_begin + first;
  pack_transposed(a.k, row, keys, head * b.D, b.D, w.keys_t);
  pack_transposed(a.v, row, keys, head * b.D, b.D, w.values_t);
  return {first, keys, kQueries ? key_rows(b, a.k, row, keys, head, w.keys) : RowsView{nullptr, 0}};
}

// One block of queries [begin, end) against one block of keys. dk, dv: rows of the key block.
template <bool kQueries, bool kKeys>
void block_backward(const AttentionBlocks& b, const Sequence& s, int64_t begin, int64_t end, const KeyBlock& key, float* dk,
                    float* dv, const Buffers& w) {
  for (int64_t strip = begin; strip < end; strip += b.strip) {
    const int64_t strip_end = min64(end, strip + b.strip), rows = (strip_end - strip) * b.group;
    const KeyRange range = visible_keys(b, s, strip, strip_end);
    const int64_t high = min64(key.keys, range.last - key.first), cols = round_up(high, simd::kLanes);
    if (high <= 0 || range.first >= key.first + key.keys) continue;
    const int64_t at = (strip - begin) * b.group;
    const float *q = w.q + at * b.width, *dout = w.dout + at * b.width;
    block_product({q, b.width, 1, w.keys_t, kKeyBlock, w.probability, kKeyBlock}, rows, cols, b.D, false);
    block_product({dout, b.width, 1, w.values_t, kKeyBlock, w.dscore, kKeyBlock}, rows, cols, b.D, false);
    for (int64_t i = strip, r = 0; i < strip_end; ++i) {
      const Columns visible = visible_columns(b, i + s.shift(), key.first, key.keys);
      for (int64_t g = 0; g < b.group; ++g, ++r)
        score_gradient(b, w.probability + r * kKeyBlock, w.dscore + r * kKeyBlock, visible, cols, w.lse[at + r],
                       w.delta[at + r]);
    }
    if (kKeys) {
      block_product({w.probability, 1, kKeyBlock, dout, b.width, dv, b.width}, high, b.width, rows, true);
      block_product({w.dscore, 1, kKeyBlock, q, b.width, dk, b.width}, high, b.width, rows, true);
    }
    if (kQueries)
      block_product({w.dscore, kKeyBlock, 1, key.rows.data, key.rows.stride, w.dq + at * b.width, b.width}, rows, b.width,
                    high, true);
  }
}

void multiply(float* p, int64_t n, float factor) {
  for (int64_t c = 0; c < n; c += simd::kLanes) simd::F32::store(p + c, simd::F32::load(p + c) * factor);
}
void clear(float* p, int64_t rows, int64_t width) { std::memset(p, 0, static_cast<size_t>(rows * width) * sizeof(float)); }

void write_dq(const AttentionBackward& a, const AttentionBlocks& b, const Sequence& s, int64_t head, int64_t begin,
              int64_t end, const Buffers& w) {
  float* dq = w.dq;
  for (int64_t i = begin; i < end; ++i)
    for (int64_t g = 0; g < b.group; ++g, dq += b.width) {
      multiply(dq, b.width, b.scale);
      store_f32(a.dq.dtype, dq, element(a.dq, s.q_begin + i, (head * b.group + g) * b.D), b.D);
    }
}

void write_key_gradients(const AttentionBackward& a, const AttentionBlocks& b, const Sequence& s, int64_t head,
                         int64_t first, int64_t keys, const Buffers& w) {
  for (int64_t j = 0; j < keys; ++j) {
    const int64_t row = s.k_begin + first + j;
    multiply(w.dk + j * b.width, b.width, b.scale);
    store_f32(a.dk.dtype, w.dk + j * b.width, element(a.dk, row, head * b.D), b.D);
    store_f32(a.dv.dtype, w.dv + j * b.width, element(a.dv, row, head * b.D), b.D);
  }
}

// dq of one block of queries; kKeys: dk and dv are accumulated as well, in buffers that span the sequence.
template <bool kKeys>
void run_queries(const AttentionBackward& a, const AttentionBlocks& b, const Sequence& s, int64_t head, int64_t begin,
                 int64_t end, const Buffers& w) {
  load_queries(a, b, s, head, begin, end, w);
  clear(w.dq, (end - begin) * b.group, b.width);
  const KeyRange range = visible_keys(b, s, begin, end);
  for (int64_t first = range.first / kKeyBlock * kKeyBlock; first < range.last; first += kKeyBlock)
    block_backward<true, kKeys>(b, s, begin, end, load_keys<true>(a, b, s, head, first, w),
                                kKeys ? w.dk + first * b.width : nullptr, kKeys ? w.dv + first * b.width : nullptr, w);
  write_dq(a, b, s, head, begin, end, w);
}

void run_sweep(const AttentionBackward& a, const AttentionBlocks& b, const Unit& u, const Buffers& w) {
  const Sequence& s = u.sequence;
  clear(w.dk, s.keys, b.width);
  clear(w.dv, s.keys, b.width);
  for (int64_t begin = 0; begin < s.queries; begin += b.block)
    run_queries<true>(a, b, s, u.head, begin, min64(s.queries, begin + b.block), w);
  write_key_gradients(a, b, s, u.head, 0, s.keys, w);
}

// dk and dv of keys [begin, end), one key block.
void run_keys(const AttentionBackward& a, const AttentionBlocks& b, const Unit& u, const Buffers& w) {
  const Sequence& s = u.sequence;
  clear(w.dk, u.end - u.begin, b.width);
  clear(w.dv, u.end - u.begin, b.width);
  const KeyBlock key = load_keys<false>(a, b, s, u.head, u.begin, w);
  // The first query that sees the first key, and the first that sees none any more.
  const int64_t first = max64(0, u.begin - s.shift());
  const int64_t last = b.window > 0 ? min64(s.queries, u.end - 1 + b.window - s.shift()) : s.queries;
  for (int64_t begin = first / b.block * b.block; begin < last; begin += b.block) {
    const int64_t end = min64(s.queries, begin + b.block);
    load_queries(a, b, s, u.head, begin, end, w);
    block_backward<false, true>(b, s, begin, end, key, w.dk, w.dv, w);
  }
  write_key_gradients(a, b, s, u.head, u.begin, u.end - u.begin, w);
}

// visit(cost, unit) for each (sequence, key head).
template <class F>
void for_each_head(const AttentionBackward& a, const AttentionBlocks& b, F&& visit) {
  for (int64_t s = 0; s + 1 < a.cu_q.num_elements(); ++s) {
    const Sequence sequence = sequence_at(a.cu_q, a.cu_k, s);
    int64_t pairs = 0;
    for (int64_t begin = 0; begin < sequence.queries; begin += b.block) {
      const int64_t end = min64(sequence.queries, begin + b.block);
      const KeyRange range = visible_keys(b, sequence, begin, end);
      pairs += (end - begin) * max64(0, range.last - range.first);
    }
    for (int64_t head = 0; head < b.kv_heads; ++head)
      visit(max64(1, pairs) * b.group * b.D * 5, Unit{sequence, head, 0, sequence.queries});
  }
}

// Whether whole (sequence, head) units fit the buffers and spread evenly: shares as for_units makes them.
bool sweep_pays(const AttentionBackward& a, const AttentionBlocks& b, int threads) {
  int64_t total = 0, longest = 0;
  for_each_head(a, b, [&](int64_t cost, const Unit& u) {
    total += cost;
    longest = max64(longest, u.sequence.keys);
  });
  if (longest > kSweepKeys) return false;
  int64_t before = 0, share_cost = 0, worst = 0;
  int64_t share = 0;
  for_each_head(a, b, [&](int64_t cost, const Unit&) {
    const double middle = static_cast<double>(before) + 0.5 * static_cast<double>(cost);
    const int64_t owner = static_cast<int64_t>(middle / static_cast<double>(total) * threads);
    if (owner != share) share = owner, share_cost = 0;
    share_cost += cost;
    before += cost;
    worst = max64(worst, share_cost);
  });
  return static_cast<double>(worst) * threads <= kSweepExcess * static_cast<double>(total);
}

}  // namespace

size_t attention_backward_workspace(const AttentionBackward& a, const Context& context) {
  return bytes_per_thread(AttentionBlocks(a.shape, a.q), gradient_rows(a)) * static_cast<size_t>(context.threads);
}

void attention_backward(const AttentionBackward& a, Context& context) {
  const char* op = AttentionBackward::kName;
  require_float(op, "dout", a.dout);
  require_float(op, "q", a.q);
  require_float(op, "k", a.k);
  require_float(op, "v", a.v);
  require_float(op, "o", a.o);
  require_float(op, "dq", a.dq);
  require_float(op, "dk", a.dk);
  require_float(op, "dv", a.dv);
  require_f32(op, "lse", a.lse);
  check::offsets(op, "cu_q", a.cu_q, a.q.rows());
  check::offsets(op, "cu_k", a.cu_k, a.k.rows());
  const AttentionBlocks b(a.shape, a.q);
  const int64_t sequences = a.cu_q.num_elements() - 1;
  clear_outside(a.dq, a.cu_q.as<int32_t>()[0], a.cu_q.as<int32_t>()[sequences]);
  clear_outside(a.dk, a.cu_k.as<int32_t>()[0], a.cu_k.as<int32_t>()[sequences]);
  clear_outside(a.dv, a.cu_k.as<int32_t>()[0], a.cu_k.as<int32_t>()[sequences]);

  const int64_t key_rows = gradient_rows(a), bytes = static_cast<int64_t>(bytes_per_thread(b, key_rows));
  const auto buffers = [&](int64_t share) {
    Workspace w{static_cast<char*>(context.workspace) + share * bytes};
    return take(b, key_rows, w);
  };
  if (sweep_pays(a, b, context.threads)) {
    for_units<Unit>(
        context.threads, [&](auto&& visit) { for_each_head(a, b, visit); },
        [&](const Unit& u, int64_t share) { run_sweep(a, b, u, buffers(share)); });
    return;
  }
  for_units<Unit>(
      context.threads,
      [&](auto&& visit) {
        for_each_head(a, b, [&](int64_t, const Unit& whole) {
          const Sequence& s = whole.sequence;
          for (int64_t begin = 0; begin < s.keys; begin += kKeyBlock) {
            const int64_t end = min64(s.keys, begin + kKeyBlock), first = max64(0, begin - s.shift());
            const int64_t last = b.window > 0 ? min64(s.queries, end - 1 + b.window - s.shift()) : s.queries;
            visit(max64(1, (last - first) * (end - begin)) * b.group * b.D * 4, Unit{s, whole.head, begin, end});
          }
        });
      },
      [&](const Unit& u, int64_t share) { run_keys(a, b, u, buffers(share)); });
  for_units<Unit>(
      context.threads,
      [&](auto&& visit) {
        for_each_head(a, b, [&](int64_t, const Unit& whole) {
          const Sequence& s = whole.sequence;
          for (int64_t begin = 0; begin < s.queries; begin += b.block) {
            const int64_t end = min64(s.queries, begin + b.block);
            const KeyRange range = visible_keys(b, s, begin, end);
            visit(max64(1, (end - begin) * (range.last - range.first)) * b.group * b.D * 3, Unit{s, whole.head, begin, end});
          }
        });
      },
      [&](const Unit& u, int64_t share) { run_queries<false>(a, b, u.sequence, u.head, u.begin, u.end, buffers(share)); });
}

}  // namespace nft::cpu::NFT_ISA
