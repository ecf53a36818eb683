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
constexpr double kCutWork = 1.56;     // work of a unit that is cut, times that of a sweep (1 x 1024 tokens, D 64, Zen 4)

struct Unit {
  Sequence sequence;
  int64_t head, begin, end;  // queries of a query unit, keys of a key unit, all queries of a sweep
};

template <class Operands>
struct Buffers {
  using Unit = typename Operands::Unit;
  Unit *q, *dout, *q_over_rows, *dout_over_rows;  // one block of queries
  float *dq, *lse, *delta;
  Unit *keys_t, *values_t, *keys;  // one block of keys; _t: [depth][kKeyBlock]
  float *scores, *dp;              // one strip
  Unit *probability, *dscore, *dscore_over_rows;
  float *dk, *dv;  // [kSweepKeys or kKeyBlock, width]

  // Units of a strip of queries, packed for products over its rows.
  static int64_t strip_units(const AttentionBlocks& b) { return ceil_div(b.strip_rows(), Operands::kPack) * b.width; }
};

template <class Operands>
Buffers<Operands> take(const AttentionBlocks& b, int64_t key_rows, Workspace& w) {
  using Unit = typename Operands::Unit;
  constexpr int64_t kPack = Operands::kPack;
  const int64_t strip = round_up(b.strip_rows(), kPack) * kKeyBlock, rows = b.block_rows() + kPack - 1;
  Buffers<Operands> buffers;
  buffers.q = w.take<Unit>(b.block_rows() * b.row_units<Operands>());
  buffers.dout = w.take<Unit>(b.block_rows() * b.row_units<Operands>());
  buffers.dq = w.take<float>(b.block_rows() * b.width);
  buffers.lse = w.take<float>(rows);
  buffers.delta = w.take<float>(rows);
  buffers.keys_t = w.take<Unit>(kKeyBlock * b.depth<Operands>());
  buffers.values_t = w.take<Unit>(kKeyBlock * b.depth<Operands>());
  buffers.keys = w.take<Unit>(kKeyBlock / kPack * b.width);
  buffers.scores = w.take<float>(strip);
  buffers.dp = w.take<float>(strip);
  if constexpr (kPack == 1) {
    // An f32 operand serves products over columns and over rows; scores become probabilities and dp becomes dz in place.
    buffers.q_over_rows = buffers.q;
    buffers.dout_over_rows = buffers.dout;
    buffers.probability = buffers.scores;
    buffers.dscore = buffers.dscore_over_rows = buffers.dp;
  } else {
    buffers.q_over_rows = w.take<Unit>(kStripsPerBlock * Buffers<Operands>::strip_units(b));
    buffers.dout_over_rows = w.take<Unit>(kStripsPerBlock * Buffers<Operands>::strip_units(b));
    buffers.probability = w.take<Unit>(strip / kPack);
    buffers.dscore = w.take<Unit>(strip / kPack);
    buffers.dscore_over_rows = w.take<Unit>(strip / kPack);
  }
  buffers.dk = w.take<float>(key_rows * b.width);
  buffers.dv = w.take<float>(key_rows * b.width);
  return buffers;
}

int64_t gradient_rows(const AttentionBackward& a) { return max64(kKeyBlock, min64(kSweepKeys, a.k.rows())); }

template <class Operands>
size_t bytes_per_thread(const AttentionBlocks& b, int64_t key_rows) {
  Workspace w{nullptr};
  take<Operands>(b, key_rows, w);
  return static_cast<size_t>(w.bytes);
}

// delta[r] = dout[r] . o[r], each one chain of multiply-adds in the order of block_product: where a query sees a single key,
// o is that key's v and dp - delta cancels exactly. kLanes rows at a time, transposed.
template <class Operands>
void row_products(const AttentionBlocks& b, const typename Operands::Unit* dout, const typename Operands::Unit* o,
                  int64_t rows, float* delta) {
  using Vector = typename Operands::Vector;
  const int64_t stride = b.row_units<Operands>(), depth = b.depth<Operands>();
  for (int64_t r = 0; r < rows; r += simd::kLanes) {
    f32v sum = simd::zero();
    for (int64_t c0 = 0; c0 < depth; c0 += simd::kLanes) {
      f32v x[simd::kLanes], y[simd::kLanes];
      for (int i = 0; i < simd::kLanes; ++i) {
        const int64_t at = min64(r + i, rows - 1) * stride + c0;
        x[i] = reinterpret_cast<f32v>(Operands::load(dout + at));
        y[i] = reinterpret_cast<f32v>(Operands::load(o + at));
      }
      simd::transpose(x);
      simd::transpose(y);
      for (int c = 0; c < simd::kLanes; ++c)
        if (c0 + c < depth)
          sum = Operands::multiply_add(reinterpret_cast<Vector>(x[c]), reinterpret_cast<Vector>(y[c]), sum);
    }
    store_n(delta + r, sum, static_cast<int>(min64(simd::kLanes, rows - r)));
  }
}

// Queries [begin, end): q, dout, lse, delta = dout . o. dq's buffer serves as scratch for o.
template <class Operands>
void load_queries(const AttentionBackward& a, const AttentionBlocks& b, const Sequence& s, int64_t head, int64_t begin,
                  int64_t end, const Buffers<Operands>& w) {
  const int64_t first = s.q_begin + begin, n = end - begin;
  auto* o = reinterpret_cast<typename Operands::Unit*>(w.dq);
  pack_queries<Operands>(b, a.q, head, first, n, w.q);
  pack_queries<Operands>(b, a.dout, head, first, n, w.dout);
  pack_queries<Operands>(b, a.o, head, first, n, o);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t g = 0; g < b.group; ++g) {
      const int64_t r = i * b.group + g;
      w.lse[r] = reinterpret_cast<const float*>(a.lse.row(first + i))[head * b.group + g];
    }
  row_products<Operands>(b, w.dout, o, n * b.group, w.delta);
  if constexpr (Operands::kPack > 1)
    for (int64_t strip = 0; strip < n; strip += b.strip) {
      const int64_t stride = b.row_units<Operands>(), rows = min64(b.strip, n - strip) * b.group;
      const int64_t from = strip * b.group * stride, to = strip / b.strip * w.strip_units(b);
      Operands::over_rows(w.q + from, stride, rows, b.width, w.q_over_rows + to);
      Operands::over_rows(w.dout + from, stride, rows, b.width, w.dout_over_rows + to);
    }
}

// scores -> p = exp(z - lse), dp -> dz = p (dp - delta) [* (1 - (z / softcap)^2)]; 0 where the query does not see the key.
// One block of Operands::kPack rows and as many vectors of columns at a time.
template <class Operands>
void score_gradient(const AttentionBlocks& b, int64_t rows, int64_t cols, int64_t position, int64_t first_key, int64_t keys,
                    const float* lse, const float* delta, const Buffers<Operands>& w) {
  constexpr int kPack = Operands::kPack;
  const ScoreMap map(b);
  int64_t g = 0;
  for (int64_t r = 0; r < rows; r += kPack) {
    Columns visible[kPack];
    for (int i = 0; i < kPack; ++i) {
      visible[i] = r + i < rows ? visible_columns(b, position, first_key, keys) : Columns{0, 0};
      if (++g == b.group) g = 0, ++position;
    }
    for (int64_t c = 0; c < cols; c += kPack * simd::kLanes) {
      f32v p[kPack][kPack], dz[kPack][kPack];
      for (int i = 0; i < kPack; ++i)
        for (int v = 0; v < kPack; ++v) {
          const int64_t col = c + v * simd::kLanes, at = (r + i) * kKeyBlock + col;
          f32v slope;
          const f32v z = map(simd::F32::load(w.scores + at), slope);
          p[i][v] = simd::exp_bounded(z - lse[r + i]);
          dz[i][v] = p[i][v] * (simd::F32::load(w.dp + at) - delta[r + i]) * slope;
          if (col < visible[i].low || col + simd::kLanes > visible[i].high) {
            const simd::i32v mask = lane_mask(col, visible[i]);
            p[i][v] = simd::select(mask, p[i][v], simd::zero());
            dz[i][v] = simd::select(mask, dz[i][v], simd::zero());
          }
        }
      Operands::store_over_rows(p, w.probability + r / kPack * kKeyBlock + c);
      Operands::store_over_rows(dz, w.dscore_over_rows + r / kPack * kKeyBlock + c);
      if (kPack > 1) Operands::store_over_columns(dz, w.dscore + (r * kKeyBlock + c) / kPack, kKeyBlock / kPack);
    }
  }
}

template <class Operands>
struct KeyBlock {
  int64_t first, keys;  // within the sequence
  RowsView<typename Operands::Unit> rows;
};

template <bool kQueries, class Operands>
KeyBlock<Operands> load_keys(const AttentionBackward& a, const AttentionBlocks& b, const Sequence& s, int64_t head,
                             int64_t first, const Buffers<Operands>& w) {
  const int64_t keys = min64(kKeyBlock, s.keys - first), row = s.k_begin + first, col = head * b.D;
  pack_transposed<Operands>(a.k, row, keys, col, b.D, w.keys_t);
  pack_transposed<Operands>(a.v, row, keys, col, b.D, w.values_t);
  KeyBlock<Operands> block = {first, keys, {nullptr, 0}};
  if (kQueries) block.rows = Operands::over_rows(a.k, row, keys, col, b.D, b.width, w.keys);
  return block;
}

// One block of queries [begin, end) against one block of keys. dk, dv: rows of the key block.
template <bool kQueries, bool kKeys, class Operands>
void block_backward(const AttentionBlocks& b, const Sequence& s, int64_t begin, int64_t end, const KeyBlock<Operands>& key,
                    float* dk, float* dv, const Buffers<Operands>& w) {
  constexpr int64_t kPack = Operands::kPack;
  const int64_t stride = b.row_units<Operands>(), depth = b.depth<Operands>();
  for (int64_t strip = begin; strip < end; strip += b.strip) {
    const int64_t strip_end = min64(end, strip + b.strip), rows = (strip_end - strip) * b.group;
    const KeyRange range = visible_keys(b, s, strip, strip_end);
    const int64_t high = min64(key.keys, range.last - key.first), cols = round_up(high, simd::kLanes);
    if (high <= 0 || range.first >= key.first + key.keys) continue;
    const int64_t at = (strip - begin) * b.group;
    const auto *q = w.q + at * stride, *dout = w.dout + at * stride;
    block_product<Operands>({q, stride, 1, w.keys_t, kKeyBlock, w.scores, kKeyBlock}, rows, cols, depth, false);
    block_product<Operands>({dout, stride, 1, w.values_t, kKeyBlock, w.dp, kKeyBlock}, rows, cols, depth, false);
    score_gradient(b, rows, cols, strip + s.shift(), key.first, key.keys, w.lse + at, w.delta + at, w);
    if (kKeys) {
      const int64_t units = (strip - begin) / b.strip * w.strip_units(b), row_depth = ceil_div(rows, kPack);
      block_product<Operands>({w.probability, 1, kKeyBlock, w.dout_over_rows + units, b.width, dv, b.width}, high, b.width,
                              row_depth, true);
      block_product<Operands>({w.dscore_over_rows, 1, kKeyBlock, w.q_over_rows + units, b.width, dk, b.width}, high, b.width,
                              row_depth, true);
    }
    if (kQueries)
      block_product<Operands>({w.dscore, kKeyBlock / kPack, 1, key.rows.data, key.rows.stride, w.dq + at * b.width, b.width},
                              rows, b.width, ceil_div(high, kPack), true);
  }
}

void clear(float* p, int64_t rows, int64_t width) { std::memset(p, 0, static_cast<size_t>(rows * width) * sizeof(float)); }

template <class Operands>
void write_dq(const AttentionBackward& a, const AttentionBlocks& b, const Sequence& s, int64_t head, int64_t begin,
              int64_t end, const Buffers<Operands>& w) {
  float* dq = w.dq;
  for (int64_t i = begin; i < end; ++i)
    for (int64_t g = 0; g < b.group; ++g, dq += b.width)
      store_scaled(a.dq, dq, b.scale, element(a.dq, s.q_begin + i, (head * b.group + g) * b.D), b.D);
}

template <class Operands>
void write_key_gradients(const AttentionBackward& a, const AttentionBlocks& b, const Sequence& s, int64_t head,
                         int64_t first, int64_t keys, const Buffers<Operands>& w) {
  for (int64_t j = 0; j < keys; ++j) {
    const int64_t row = s.k_begin + first + j;
    store_scaled(a.dk, w.dk + j * b.width, b.scale, element(a.dk, row, head * b.D), b.D);
    store_scaled(a.dv, w.dv + j * b.width, 1, element(a.dv, row, head * b.D), b.D);
  }
}

// dq of one block of queries; kKeys: dk and dv are accumulated as well, in buffers that span the sequence.
template <bool kKeys, class Operands>
void run_queries(const AttentionBackward& a, const AttentionBlocks& b, const Sequence& s, int64_t head, int64_t begin,
                 int64_t end, const Buffers<Operands>& w) {
  load_queries(a, b, s, head, begin, end, w);
  clear(w.dq, (end - begin) * b.group, b.width);
  const KeyRange range = visible_keys(b, s, begin, end);
  for (int64_t first = range.first / kKeyBlock * kKeyBlock; first < range.last; first += kKeyBlock)
    block_backward<true, kKeys>(b, s, begin, end, load_keys<true>(a, b, s, head, first, w),
                                kKeys ? w.dk + first * b.width : nullptr, kKeys ? w.dv + first * b.width : nullptr, w);
  write_dq(a, b, s, head, begin, end, w);
}

template <class Operands>
void run_sweep(const AttentionBackward& a, const AttentionBlocks& b, const Unit& u, const Buffers<Operands>& w) {
  const Sequence& s = u.sequence;
  clear(w.dk, s.keys, b.width);
  clear(w.dv, s.keys, b.width);
  for (int64_t begin = 0; begin < s.queries; begin += b.block)
    run_queries<true>(a, b, s, u.head, begin, min64(s.queries, begin + b.block), w);
  write_key_gradients(a, b, s, u.head, 0, s.keys, w);
}

// dk and dv of keys [begin, end), one key block.
template <class Operands>
void run_keys(const AttentionBackward& a, const AttentionBlocks& b, const Unit& u, const Buffers<Operands>& w) {
  const Sequence& s = u.sequence;
  clear(w.dk, u.end - u.begin, b.width);
  clear(w.dv, u.end - u.begin, b.width);
  const KeyBlock<Operands> key = load_keys<false>(a, b, s, u.head, u.begin, w);
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

// visit(cost, unit) for each (sequence, key head) from number `begin` up to `end`.
template <class F>
void for_heads(const AttentionBackward& a, const AttentionBlocks& b, int64_t begin, int64_t end, F&& visit) {
  for (int64_t s = begin / b.kv_heads; s * b.kv_heads < end; ++s) {
    const Sequence sequence = sequence_at(a.cu_q, a.cu_k, s);
    int64_t pairs = 0;
    for (int64_t first = 0; first < sequence.queries; first += b.block) {
      const int64_t last = min64(sequence.queries, first + b.block);
      const KeyRange range = visible_keys(b, sequence, first, last);
      pairs += (last - first) * max64(0, range.last - range.first);
    }
    const int64_t head0 = s * b.kv_heads;
    for (int64_t i = max64(begin, head0); i < min64(end, head0 + b.kv_heads); ++i)
      visit(max64(1, pairs) * b.group * b.D * 5, Unit{sequence, i - head0, 0, sequence.queries});
  }
}

// Cost of the busiest thread when the first `count` (sequence, head) units are swept: shares as for_units makes them.
int64_t busiest_share(const AttentionBackward& a, const AttentionBlocks& b, int64_t count, int64_t total, int threads) {
  int64_t before = 0, share = 0, share_cost = 0, worst = 0;
  for_heads(a, b, 0, count, [&](int64_t cost, const Unit&) {
    const double middle = static_cast<double>(before) + 0.5 * static_cast<double>(cost);
    const int64_t owner = static_cast<int64_t>(middle / static_cast<double>(total) * threads);
    if (owner != share) share = owner, share_cost = 0;
    share_cost += cost;
    before += cost;
    worst = max64(worst, share_cost);
  });
  return worst;
}

// How many (sequence, head) units, from the first on, are swept whole; the others are cut, so that all threads share them:
// those that would leave threads idle, and all of them where a sequence is too long for the buffers.
int64_t swept_units(const AttentionBackward& a, const AttentionBlocks& b, int64_t units, int threads) {
  int64_t total = 0, longest = 0;
  for_heads(a, b, 0, units, [&](int64_t cost, const Unit& u) {
    total += cost;
    longest = max64(longest, u.sequence.keys);
  });
  if (longest > kSweepKeys) return 0;
  int64_t best = 0, swept_cost = total;
  double least = kCutWork * static_cast<double>(total) / threads;
  for (int64_t count = units; count > 0 && count > units - threads; --count) {
    const double time = static_cast<double>(busiest_share(a, b, count, swept_cost, threads)) +
                        kCutWork * static_cast<double>(total - swept_cost) / threads;
    if (time < least) least = time, best = count;
    for_heads(a, b, count - 1, count, [&](int64_t cost, const Unit&) { swept_cost -= cost; });
  }
  return best;
}

template <class Operands>
void run(const AttentionBackward& a, const AttentionBlocks& b, const Context& context) {
  const int64_t key_rows = gradient_rows(a), bytes = static_cast<int64_t>(bytes_per_thread<Operands>(b, key_rows));
  const auto buffers = [&](int64_t share) {
    Workspace w{static_cast<char*>(context.workspace) + share * bytes};
    return take<Operands>(b, key_rows, w);
  };
  const int64_t units = (a.cu_q.num_elements() - 1) * b.kv_heads, swept = swept_units(a, b, units, context.threads);
  for_units<Unit>(
      context.threads, [&](auto&& visit) { for_heads(a, b, 0, swept, visit); },
      [&](const Unit& u, int64_t share) { run_sweep(a, b, u, buffers(share)); });
  if (swept == units) return;
  for_units<Unit>(
      context.threads,
      [&](auto&& visit) {
        for_heads(a, b, swept, units, [&](int64_t, const Unit& whole) {
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
        for_heads(a, b, swept, units, [&](int64_t, const Unit& whole) {
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

// Calls f with the operands of these arguments.
template <class F>
void with_operands_of(const AttentionBackward& a, F&& f) {
  with_operands(f, a.q, a.k, a.v, a.o, a.dout);
}

}  // namespace

size_t attention_backward_workspace(const AttentionBackward& a, const Context& context) {
  size_t bytes = 0;
  with_operands_of(a, [&](auto operands) {
    bytes = bytes_per_thread<decltype(operands)>(AttentionBlocks(a.shape, a.q), gradient_rows(a));
  });
  return bytes * static_cast<size_t>(context.threads);
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
  with_operands_of(a, [&](auto operands) { run<decltype(operands)>(a, b, context); });
}

}  // namespace nft::cpu::NFT_ISA
