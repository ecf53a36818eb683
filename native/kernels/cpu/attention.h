#pragma once
// What attention_forward.cc and attention_backward.cc share: how sequences are cut into blocks, packing, masks, and the
// split of work over threads.
//
// A unit of work belongs to one sequence and one key head. Its query rows are the `group` query heads that read that key
// head, query by query (row = query * group + head), so that packed keys serve all of them and rows near each other see
// nearly the same keys. Queries come in blocks (packed once), each cut into strips (the rows of one score matrix); keys come
// in blocks of kKeyBlock, aligned to the start of the sequence. Blocks do not depend on threads or on the other sequences of
// the batch.
#include "../../core/context.h"
#include "../../ops/attention.h"
#include "attention_operands.h"
#include "block_product.h"
#include "rows.h"
#include "simd_math.h"

namespace nft::cpu::NFT_ISA {

constexpr int64_t kKeyBlock = 64;
constexpr int64_t kStripRows = 48;        // 8 register blocks of 6
constexpr int64_t kMaxStripQueries = 24;  // short strips waste less on the diagonal
constexpr int64_t kStripsPerBlock = 4;

NFT_INLINE int64_t round_up(int64_t n, int64_t multiple) { return ceil_div(n, multiple) * multiple; }

struct AttentionBlocks {
  int64_t group, kv_heads, D, width;  // width = D rounded up to whole vectors
  int64_t strip, block;               // queries
  int64_t window;
  float scale, softcap;

  AttentionBlocks(const AttentionShape& s, const Tensor& q)
      : group(s.heads / s.kv_heads),
        kv_heads(s.kv_heads),
        D(q.cols() / s.heads),
        width(round_up(D, simd::kLanes)),
        strip(max64(1, min64(kMaxStripQueries, kStripRows / group))),
        block(strip * kStripsPerBlock),
        window(s.window),
        scale(static_cast<float>(s.scale)),
        softcap(static_cast<float>(s.softcap)) {}

  int64_t block_rows() const { return block * group; }
  int64_t strip_rows() const { return strip * group; }
  // A row of D values for a product over columns: units with values, and those that it takes in memory.
  template <class Operands>
  int64_t depth() const {
    return ceil_div(D, Operands::kPack);
  }
  template <class Operands>
  int64_t row_units() const {
    return round_up(depth<Operands>(), simd::kLanes);
  }
};

struct Sequence {
  int64_t q_begin, queries, k_begin, keys;
  int64_t shift() const { return keys - queries; }  // position of query 0
};

NFT_INLINE Sequence sequence_at(const Tensor& cu_q, const Tensor& cu_k, int64_t s) {
  const int32_t *q = cu_q.as<int32_t>(), *k = cu_k.as<int32_t>();
  return {q[s], q[s + 1] - q[s], k[s], k[s + 1] - k[s]};
}

// Keys [first, last) of the sequence that queries [begin, end) see.
struct KeyRange {
  int64_t first, last;
};
NFT_INLINE KeyRange visible_keys(const AttentionBlocks& b, const Sequence& s, int64_t begin, int64_t end) {
  const int64_t first = b.window > 0 ? max64(0, begin + s.shift() - b.window + 1) : 0;
  return {first, min64(s.keys, end + s.shift())};
}

// Bump allocator over one thread's part of the workspace; the query runs the same code with a null base and reads `bytes`.
struct Workspace {
  char* base;
  int64_t bytes = 0;

  template <class T>
  T* take(int64_t n) {
    T* p = base == nullptr ? nullptr : reinterpret_cast<T*>(base + bytes);
    bytes += round_up(n * static_cast<int64_t>(sizeof(T)), 64);
    return p;
  }
};

// The query heads of one key head, queries [first, first + n): rows of row_units, query * group + head, for products over
// columns.
template <class Operands>
static void pack_queries(const AttentionBlocks& b, const Tensor& t, int64_t head, int64_t first, int64_t n,
                         typename Operands::Unit* dst) {
  const int64_t units = b.row_units<Operands>(), stride = t.stride_bytes(), head_bytes = b.D * element_bytes(t);
  const char* query = element(t, first, head * b.group * b.D);
  for (int64_t i = 0; i < n; ++i, query += stride)
    for (int64_t g = 0; g < b.group; ++g, dst += units)
      for (int64_t c = 0; c < units; c += simd::kLanes)
        Operands::store(dst + c, Operands::load_units(t.dtype, query + g * head_bytes, b.D, c));
}

// dst[c * kKeyBlock + j] = unit c of n values from column col on of row first + j, zeros from row n up to whole vectors.
template <class Operands>
static void pack_transposed(const Tensor& t, int64_t first, int64_t rows, int64_t col, int64_t n,
                            typename Operands::Unit* dst) {
  constexpr int kEdge = simd::kLanes;
  const int64_t units = ceil_div(n, Operands::kPack), stride = t.stride_bytes();
  const char* p = element(t, first, col);
  for (int64_t j0 = 0; j0 < rows; j0 += kEdge, p += kEdge * stride)
    for (int64_t c0 = 0; c0 < units; c0 += kEdge) {
      simd::f32v square[kEdge];
      for (int j = 0; j < kEdge; ++j)
        square[j] = j0 + j < rows ? reinterpret_cast<simd::f32v>(Operands::load_units(t.dtype, p + j * stride, n, c0))
                                  : simd::zero();
      simd::transpose(square);
      for (int c = 0; c < kEdge; ++c)
        if (c0 + c < units)
          Operands::store(dst + (c0 + c) * kKeyBlock + j0, reinterpret_cast<typename Operands::Vector>(square[c]));
    }
}

// n values of t at p = factor * x.
static void store_scaled(const Tensor& t, const float* x, float factor, char* p, int64_t n) {
  simd::with_float_type(t.dtype, [&](auto type) {
    using Type = decltype(type);
    auto* y = reinterpret_cast<typename Type::Element*>(p);
    int64_t i = 0;
    for (; i + simd::kLanes <= n; i += simd::kLanes) Type::store(y + i, simd::F32::load(x + i) * factor);
    if (i < n) Type::store(y + i, simd::F32::load(x + i) * factor, static_cast<int>(n - i));
  });
}

// Columns [low, high) of a key block that one query sees.
struct Columns {
  int64_t low, high;
};
NFT_INLINE Columns visible_columns(const AttentionBlocks& b, int64_t position, int64_t first_key, int64_t keys) {
  return {b.window > 0 ? max64(0, position - b.window + 1 - first_key) : 0, min64(keys, position + 1 - first_key)};
}

// z = scale * score, capped. slope: dz / d(scale * score).
struct ScoreMap {
  simd::f32v scale, cap, inverse_cap;
  bool capped;

  explicit NFT_MEMBER ScoreMap(const AttentionBlocks& b)
      : scale(simd::set1(b.scale)),
        cap(simd::set1(b.softcap)),
        inverse_cap(simd::set1(b.softcap > 0 ? 1 / b.softcap : 0)),
        capped(b.softcap > 0) {}
  NFT_MEMBER simd::f32v operator()(simd::f32v score) const {
    const simd::f32v z = score * scale;
    return capped ? cap * simd::tanh(z * inverse_cap) : z;
  }
  NFT_MEMBER simd::f32v operator()(simd::f32v score, simd::f32v& slope) const {
    const simd::f32v z = score * scale;
    slope = simd::set1(1.f);
    if (!capped) return z;
    const simd::f32v t = simd::tanh(z * inverse_cap);
    slope = (1.f - t) * (1.f + t);
    return cap * t;
  }
};

NFT_INLINE simd::i32v lane_mask(int64_t col, const Columns& c) {
  simd::i32v index;
  for (int i = 0; i < simd::kLanes; ++i) index[i] = i;
  return (index >= static_cast<int32_t>(c.low - col)) & (index < static_cast<int32_t>(c.high - col));
}

// Calls f(unit) for every unit of enumerate(visit), visit(cost, unit), on the thread whose share of the total cost it falls
// in. f gets the share's number as well, for its part of the workspace. Which thread does a unit never changes its result.
template <class Unit, class Enumerate, class F>
void for_units(int threads, Enumerate&& enumerate, F&& f) {
  constexpr int64_t kLeastCost = int64_t{1} << 20;  // multiply-adds below which waking another thread does not pay
  int64_t total = 0;
  enumerate([&](int64_t cost, const Unit&) { total += cost; });
  const int64_t shares = total < kLeastCost ? 1 : threads;
  ThreadPool::instance().run(shares, [&](int64_t share, int) {
    int64_t before = 0;
    enumerate([&](int64_t cost, const Unit& unit) {
      const double middle = static_cast<double>(before) + 0.5 * static_cast<double>(cost);
      before += cost;
      if (static_cast<int64_t>(middle / static_cast<double>(total) * static_cast<double>(shares)) == share) f(unit, share);
    });
  });
}

// Rows of t outside [begin, end): zeros.
static void clear_outside(const Tensor& t, int64_t begin, int64_t end) {
  for (int64_t i = 0; i < t.rows(); ++i)
    if (i < begin || i >= end) std::memset(t.row(i), 0, static_cast<size_t>(t.row_bytes()));
}

}  // namespace nft::cpu::NFT_ISA
