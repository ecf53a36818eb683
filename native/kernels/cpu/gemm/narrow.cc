#include "narrow.h"

#include "../../../core/thread_pool.h"
#include "epilogue.h"
#include "pack.h"

namespace nft::cpu::NFT_ISA::gemm {

namespace {

// Registers: kRows x kVectors sums where the wide operand lies along the inner dimension, kMostRows x 1 where it lies
// across.
#if defined(__AVX512F__)
constexpr int kRows = 8, kVectors = 3, kMostRows = 16;
#else
constexpr int kRows = 4, kVectors = 2, kMostRows = 8;
#endif
constexpr int64_t kParallelWork = 1 << 17;
// Slots below which one thread packs sooner than the others wake.
constexpr int64_t kParallelSlots = 1 << 15;

// The narrow operands, one a part, side by side as slots [step][stride], each padded with zeros to whole vectors.
struct Narrow {
  Slot* slots;
  int parts;
  const Matrix* matrix[kMaxParts];
  int64_t width[kMaxParts];
  int64_t stride;
};

struct Blocks {
  int64_t inner, block;  // elements
};

NFT_INLINE int64_t padded(int64_t width) { return ceil_div(width, kLanes) * kLanes; }

// Inner elements [begin, end) of one part, from column `first` of the slots on.
template <class Panel>
void pack_part(const Matrix& m, Layout layout, int64_t width, int64_t begin, int64_t end, const Narrow& narrow,
               int64_t first) {
  with_storage(m.dtype, [&](auto row) {
    using Row = decltype(row);
    for (int64_t v = 0; v < width; v += kLanes) {
      const int count = static_cast<int>(min64(kLanes, width - v));
      Slot* dst = narrow.slots + begin / Panel::kDepth * narrow.stride + first + v;
      const int stride = static_cast<int>(narrow.stride);
      if (layout == Layout::outer_rows)
        pack_rows<Panel, Row>(m, v, count, begin, end - begin, 1, dst, stride);
      else
        pack_columns<Panel, Row>(m, v, count, begin, end - begin, 1, dst, stride);
    }
  });
}

template <class Panel>
void pack_narrow(const Narrow& narrow, Layout layout, int64_t inner, int threads) {
  constexpr int64_t kChunk = 256;
  const int64_t chunks = ceil_div(inner, kChunk), workers = min64(chunks, threads);
  ThreadPool::instance().run(workers, [&](int64_t t, int) {
    const int64_t begin = chunks * t / workers * kChunk, end = min64(inner, chunks * (t + 1) / workers * kChunk);
    int64_t first = 0;
    for (int i = 0; i < narrow.parts; first += padded(narrow.width[i++]))
      pack_part<Panel>(*narrow.matrix[i], layout, narrow.width[i], begin, end, narrow, first);
  });
}

// tile [kRows][kVectors * kLanes] (+)= rows of the wide operand from element k on, times V vectors of the narrow one.
template <class Panel, int V>
void along_kernel(const char* const* rows, int64_t k, int64_t length, const Slot* narrow, int64_t stride, float* tile,
                  bool first) {
  constexpr int kSlotBytes = sizeof(Slot), kElementBytes = kSlotBytes / Panel::kDepth;
  f32v sum[kRows][V];
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 3
    for (int v = 0; v < V; ++v) sum[i][v] = zero();
  const char* p[kRows];
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) p[i] = rows[i] + k * kElementBytes;
  const int64_t whole = length / Panel::kDepth;
  for (int64_t s = 0; s < whole; ++s, narrow += stride) {
    u32v b[V];
#pragma GCC unroll 3
    for (int v = 0; v < V; ++v) b[v] = load_slots(narrow + v * kLanes);
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      Slot slot;
      std::memcpy(&slot, p[i] + s * kSlotBytes, kSlotBytes);
#pragma GCC unroll 3
      for (int v = 0; v < V; ++v) sum[i][v] = Panel::multiply_add(set1_u32(slot), b[v], sum[i][v]);
    }
  }
  if (whole * Panel::kDepth < length) {  // half a slot: what follows it in memory is not read
    for (int i = 0; i < kRows; ++i) {
      uint16_t last;
      std::memcpy(&last, p[i] + whole * kSlotBytes, sizeof(last));
      for (int v = 0; v < V; ++v)
        sum[i][v] = Panel::multiply_add(set1_u32(last), load_slots(narrow + v * kLanes), sum[i][v]);
    }
  }
  for (int i = 0; i < kRows; ++i)
    for (int v = 0; v < V; ++v) {
      float* t = tile + (i * kVectors + v) * kLanes;
      F32::store(t, first ? sum[i][v] : F32::load(t) + sum[i][v]);
    }
}

// Vectors [begin, end) of the narrow operands' columns, from a tile, to the parts they belong to.
NFT_INLINE void finish_vectors(const JointProblem& p, const float* tile, int tile_stride, int64_t row0, int rows,
                               int64_t begin, int64_t end) {
  int64_t first = 0;  // vector
  for (int i = 0; i < p.part_count; ++i) {
    const int64_t vectors = ceil_div(p.parts[i].cols, kLanes), from = begin > first ? begin : first;
    const int64_t to = min64(end, first + vectors), col = (from - first) * kLanes;
    if (from < to)
      finish_tile(p.parts[i].out, tile + (from - begin) * kLanes, tile_stride, row0, rows, col,
                  static_cast<int>(min64((to - from) * kLanes, p.parts[i].cols - col)));
    first += vectors;
  }
}

// Elements of rows of another type than the panel's that are converted at a time.
constexpr int64_t kConverted = 256;

// lines [kRows][kConverted] = elements [k, k + length) of rows.
template <class Float>
NFT_INLINE void convert_rows(const char* const* rows, int64_t k, int64_t length, float* lines) {
  for (int i = 0; i < kRows; ++i)
    for (int64_t j = 0; j < length; j += kLanes) {
      const f32v x = length - j < kLanes ? PlainRow<Float>::load(rows[i], k + j, static_cast<int>(length - j))
                                         : PlainRow<Float>::load(rows[i], k + j);
      F32::store(lines + i * kConverted + j, x);
    }
}

// C [rows, width] = wide [rows, inner] narrow, for all parts.
template <class Panel, class Float>
void multiply_along(const JointProblem& p, const Narrow& narrow, const Blocks& blocks, int threads) {
  constexpr bool kConverts = Panel::kDepth == 1 && Float::kDType != DType::f32;
  const int64_t groups = ceil_div(p.rows, kRows);
  const auto group_rows = [&](int64_t g) {
    const int64_t row0 = g * kRows;
    const int count = static_cast<int>(min64(kRows, p.rows - row0));
    const char* rows[kRows];
    for (int i = 0; i < kRows; ++i) rows[i] = p.segments[0].a.row(row0 + (i < count ? i : count - 1));
    alignas(64) float lines[kConverts ? kRows * kConverted : 1];
    const char* converted[kRows];
    for (int i = 0; i < kRows; ++i) converted[i] = reinterpret_cast<const char*>(lines + i * kConverted);
    for (int64_t v = 0; v < narrow.stride / kLanes; v += kVectors) {
      alignas(64) float tile[kRows * kVectors * kLanes];
      const int64_t vectors = min64(kVectors, narrow.stride / kLanes - v);
      for (int64_t k = 0; k < blocks.inner; k += blocks.block) {
        const int64_t length = min64(blocks.block, blocks.inner - k);
        const Slot* slots = narrow.slots + k / Panel::kDepth * narrow.stride + v * kLanes;
        if (kConverts) convert_rows<Float>(rows, k, length, lines);
        const char* const* from = kConverts ? converted : rows;
        const int64_t at = kConverts ? 0 : k;
        switch (vectors) {
          case 1: along_kernel<Panel, 1>(from, at, length, slots, narrow.stride, tile, k == 0); break;
          case 2: along_kernel<Panel, 2>(from, at, length, slots, narrow.stride, tile, k == 0); break;
          default: along_kernel<Panel, kVectors>(from, at, length, slots, narrow.stride, tile, k == 0);
        }
      }
      finish_vectors(p, tile, kVectors * kLanes, row0, count, v, v + vectors);
    }
  };
  ThreadPool::instance().run(threads, [&](int64_t t, int) {
    for (int64_t g = groups * t / threads; g < groups * (t + 1) / threads; ++g) group_rows(g);
  });
}

// How far ahead of the columns at hand memory is asked for.
constexpr int64_t kAheadBytes = 256;

// chain [R][kLanes] (+)= R columns of the narrow operand, times count columns of the wide one in rows [k, k + length).
template <class Panel, class Float, int R>
void across_kernel(const Matrix& wide, int64_t col, int count, int64_t k, int64_t length, const Slot* narrow, int64_t stride,
                   float* chain, bool first) {
  using Source = Slots<Panel, PlainRow<Float>>;
  f32v sum[R];
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) sum[i] = first ? zero() : F32::load(chain + i * kLanes);
  const f32v one = set1(1);
  const char* ahead = wide.row(k) + row_offset(wide.dtype, col) + kAheadBytes;
  for (int64_t n = 0; n < length; n += Panel::kDepth, narrow += stride) {
    const int depth = length - n < Panel::kDepth ? static_cast<int>(length - n) : Panel::kDepth;
    const u32v x = as_u32(count == kLanes ? Source::across(wide, k + n, depth, col, one)
                                          : Source::across(wide, k + n, depth, col, count, one));
    for (int i = 0; i < Panel::kDepth; ++i) prefetch(ahead + (n + i) * wide.stride_bytes);
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) sum[i] = Panel::multiply_add(set1_u32(narrow[i]), x, sum[i]);
  }
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) F32::store(chain + i * kLanes, sum[i]);
}

constexpr int kTile = kMostRows * kLanes, kTiles = 16;  // chains that stay in the first-level cache

// narrow^T wide: [width, columns of wide], stored as C or, with `transposed`, as C^T. Few rows of the wide operand at a time
// are read from left to right: its columns lie too far apart in memory to be followed downwards.
template <class Panel, class Float>
void multiply_across(const Output& out, const Matrix& wide, int64_t columns, bool transposed, const Narrow& narrow,
                     const Blocks& blocks, int threads) {
  constexpr int64_t kRowsAtOnce = 16 * Panel::kDepth;
  const int64_t width = narrow.width[0], groups = ceil_div(width, kMostRows), vectors = ceil_div(columns, kLanes);
  // Equal shares of the columns, as many for every thread.
  const int64_t items = min64(vectors, ceil_div(ceil_div(vectors, kTiles / groups), threads) * threads);

  const auto item_columns = [&](int64_t item) {
    alignas(64) float chains[kTiles * kTile], sums[kTiles * kTile];
    const int64_t vector0 = vectors * item / items, count = vectors * (item + 1) / items - vector0, tiles = count * groups;
    for (int64_t k = 0; k < blocks.inner; k += blocks.block) {
      const int64_t length = min64(blocks.block, blocks.inner - k);
      for (int64_t n = 0; n < length; n += kRowsAtOnce) {
        const int64_t rows = min64(kRowsAtOnce, length - n);
        for (int64_t v = 0; v < count; ++v) {
          const int64_t col = (vector0 + v) * kLanes;
          const int lanes = static_cast<int>(min64(kLanes, columns - col));
          for (int64_t g = 0; g < groups; ++g) {
            const Slot* slots = narrow.slots + (k + n) / Panel::kDepth * narrow.stride + g * kMostRows;
            float* chain = chains + (v * groups + g) * kTile;
            if (width - g * kMostRows <= kMostRows / 2)
              across_kernel<Panel, Float, kMostRows / 2>(wide, col, lanes, k + n, rows, slots, narrow.stride, chain, n == 0);
            else
              across_kernel<Panel, Float, kMostRows>(wide, col, lanes, k + n, rows, slots, narrow.stride, chain, n == 0);
          }
        }
      }
      for (int64_t i = 0; i < tiles * kTile; i += kLanes)
        F32::store(sums + i, k == 0 ? F32::load(chains + i) : F32::load(sums + i) + F32::load(chains + i));
    }
    for (int64_t v = 0; v < count; ++v) {
      const int64_t col = (vector0 + v) * kLanes;
      const int lanes = static_cast<int>(min64(kLanes, columns - col));
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t first = g * kMostRows;
        const int height = static_cast<int>(min64(kMostRows, width - first));
        const float* tile = sums + (v * groups + g) * kTile;
        if (!transposed) {
          finish_tile(out, tile, kLanes, first, height, col, lanes);
          continue;
        }
        alignas(64) float turned[kLanes * kMostRows];
        for (int i = 0; i < height; ++i)
          for (int j = 0; j < lanes; ++j) turned[j * kMostRows + i] = tile[i * kLanes + j];
        finish_tile(out, turned, kMostRows, col, lanes, first, height);
      }
    }
  };
  ThreadPool::instance().run(threads, [&](int64_t t, int) {
    for (int64_t i = items * t / threads; i < items * (t + 1) / threads; ++i) item_columns(i);
  });
}

}  // namespace

// Whether a wide operand of that type is read as the panel's elements, in blocks of so many.
template <class Panel>
bool reads(DType wide, int64_t block) {
  if (Panel::kDepth == 2) return wide == DType::bf16;
  return wide == DType::f32 || ((wide == DType::bf16 || wide == DType::f16) && block <= kConverted);
}

template <class Panel>
bool multiply_narrow(const JointProblem& p, void* workspace, size_t bytes, int threads) {
  const JointProblem::Slice& s = p.segments[0];
  if (p.segment_count > 1 || s.inner == 0 || s.a_scale != 1) return false;
  const JointProblem::Part& only = p.parts[0];
  const bool along = s.a_layout == Layout::outer_rows;
  if (!along && (s.b_layout != Layout::inner_rows || p.part_count > 1)) return false;

  Narrow narrow = {static_cast<Slot*>(workspace), 0, {}, {}, 0};
  const auto add = [&](const Matrix& m, int64_t width) {
    narrow.matrix[narrow.parts] = &m;
    narrow.width[narrow.parts++] = width;
    narrow.stride += padded(width);
  };
  const bool few_columns = along || only.cols <= p.rows;
  if (few_columns) {
    for (int i = 0; i < p.part_count; ++i) add(p.parts[i].b[0], p.parts[i].cols);
  } else {
    add(s.a, p.rows);
  }
  const Matrix& wide = few_columns ? s.a : only.b[0];
  const size_t needed = static_cast<size_t>(narrow.stride * ceil_div(s.inner, Panel::kDepth)) * sizeof(Slot);
  const Blocks blocks = {s.inner, p.inner_block > 0 ? p.inner_block : Panel::kBlock};
  if (narrow.stride > kNarrow || needed > bytes || !reads<Panel>(wide.dtype, blocks.block)) return false;

  int64_t cols = 0;
  for (int i = 0; i < p.part_count; ++i) cols += p.parts[i].cols;
  const int workers = p.rows * cols * s.inner < kParallelWork ? 1 : threads;
  const bool few_slots = needed < kParallelSlots * sizeof(Slot);
  pack_narrow<Panel>(narrow, along ? s.b_layout : Layout::inner_rows, s.inner, few_slots ? 1 : workers);
  with_float_type(wide.dtype, [&](auto type) {
    using Float = decltype(type);
    if constexpr (Panel::kDepth == 1 || Float::kDType == DType::bf16) {
      if (along)
        multiply_along<Panel, Float>(p, narrow, blocks, workers);
      else
        multiply_across<Panel, Float>(only.out, wide, few_columns ? p.rows : only.cols, few_columns, narrow, blocks,
                                      workers);
    }
  });
  return true;
}

template bool multiply_narrow<F32Panel>(const JointProblem&, void*, size_t, int);
#if NFT_HAS_BF16_DOT
template bool multiply_narrow<Bf16Panel>(const JointProblem&, void*, size_t, int);
#endif

}  // namespace nft::cpu::NFT_ISA::gemm
