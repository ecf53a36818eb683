#include "narrow.h"

#include <type_traits>

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
// Vectors of columns of the wide operand that a work item covers: a cache line of bf16.
constexpr int kItemVectors = 2;
constexpr int64_t kParallelWork = 1 << 17;

// The narrow operand as slots [step][stride], its width padded with zeros to whole vectors.
struct Narrow {
  Slot* slots;
  int64_t width, stride;
};

struct Blocks {
  int64_t inner, block;  // elements
};

template <class Panel>
void pack_narrow(const Matrix& m, Layout layout, int64_t inner, const Narrow& narrow, int threads) {
  constexpr int64_t kChunk = 256;
  with_storage(m.dtype, [&](auto row) {
    using Row = decltype(row);
    const int64_t chunks = ceil_div(inner, kChunk), parts = min64(chunks, threads);
    ThreadPool::instance().run(parts, [&](int64_t t, int) {
      const int64_t begin = chunks * t / parts * kChunk, end = min64(inner, chunks * (t + 1) / parts * kChunk);
      for (int64_t v = 0; v < narrow.stride; v += kLanes) {
        const int count = static_cast<int>(min64(kLanes, narrow.width - v));
        Slot* dst = narrow.slots + begin / Panel::kDepth * narrow.stride + v;
        const int stride = static_cast<int>(narrow.stride);
        if (layout == Layout::outer_rows)
          pack_rows<Panel, Row>(m, v, count, begin, end - begin, 1, dst, stride);
        else
          pack_columns<Panel, Row>(m, v, count, begin, end - begin, 1, dst, stride);
      }
    });
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

// C [rows, width] = wide [rows, inner] narrow.
template <class Panel>
void multiply_along(const Problem& p, const Narrow& narrow, const Blocks& blocks, int threads) {
  const int64_t groups = ceil_div(p.rows, kRows);
  const auto group_rows = [&](int64_t g) {
    const int64_t row0 = g * kRows;
    const int count = static_cast<int>(min64(kRows, p.rows - row0));
    const char* rows[kRows];
    for (int i = 0; i < kRows; ++i) rows[i] = p.main.a.row(row0 + (i < count ? i : count - 1));
    for (int64_t v = 0; v < narrow.stride / kLanes; v += kVectors) {
      alignas(64) float tile[kRows * kVectors * kLanes];
      const int64_t vectors = min64(kVectors, narrow.stride / kLanes - v);
      for (int64_t k = 0; k < blocks.inner; k += blocks.block) {
        const int64_t length = min64(blocks.block, blocks.inner - k);
        const Slot* slots = narrow.slots + k / Panel::kDepth * narrow.stride + v * kLanes;
        switch (vectors) {
          case 1: along_kernel<Panel, 1>(rows, k, length, slots, narrow.stride, tile, k == 0); break;
          case 2: along_kernel<Panel, 2>(rows, k, length, slots, narrow.stride, tile, k == 0); break;
          default: along_kernel<Panel, kVectors>(rows, k, length, slots, narrow.stride, tile, k == 0);
        }
      }
      const int64_t col = v * kLanes;
      finish_tile(p.out, tile, kVectors * kLanes, row0, count, col, static_cast<int>(min64(vectors * kLanes, p.cols - col)));
    }
  };
  ThreadPool::instance().run(threads, [&](int64_t t, int) {
    for (int64_t g = groups * t / threads; g < groups * (t + 1) / threads; ++g) group_rows(g);
  });
}

// tile [R][kLanes] (+)= R columns of the narrow operand, times count columns of the wide one in rows [k, k + length).
template <class Panel, class Float, int R>
void across_kernel(const Matrix& wide, int64_t col, int count, int64_t k, int64_t length, const Slot* narrow, int64_t stride,
                   float* tile, bool first) {
  using Source = Slots<Panel, PlainRow<Float>>;
  f32v sum[R];
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) sum[i] = zero();
  const f32v one = set1(1);
  for (int64_t n = 0; n < length; n += Panel::kDepth, narrow += stride) {
    const int depth = length - n < Panel::kDepth ? static_cast<int>(length - n) : Panel::kDepth;
    const u32v x = as_u32(count == kLanes ? Source::across(wide, k + n, depth, col, one)
                                          : Source::across(wide, k + n, depth, col, count, one));
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) sum[i] = Panel::multiply_add(set1_u32(narrow[i]), x, sum[i]);
  }
  for (int i = 0; i < R; ++i) F32::store(tile + i * kLanes, first ? sum[i] : F32::load(tile + i * kLanes) + sum[i]);
}

// narrow^T wide: [width, columns of wide], stored as C or, with `transposed`, as C^T.
template <class Panel, class Float>
void multiply_across(const Problem& p, const Matrix& wide, int64_t columns, bool transposed, const Narrow& narrow,
                     const Blocks& blocks, int threads) {
  constexpr int kItem = kItemVectors * kLanes;
  constexpr int64_t kGroups = (kNarrow + kMostRows - 1) / kMostRows;
  const int64_t items = ceil_div(columns, kItem), groups = ceil_div(narrow.width, kMostRows);
  const auto item_columns = [&](int64_t item) {
    alignas(64) float tiles[kItemVectors][kGroups][kLanes > kMostRows ? kLanes * kLanes : kMostRows * kLanes];
    const int64_t col0 = item * kItem;
    const int vectors = static_cast<int>(ceil_div(min64(kItem, columns - col0), kLanes));
    for (int64_t k = 0; k < blocks.inner; k += blocks.block) {
      const int64_t length = min64(blocks.block, blocks.inner - k);
      for (int v = 0; v < vectors; ++v) {
        const int64_t col = col0 + v * kLanes;
        const int count = static_cast<int>(min64(kLanes, columns - col));
        for (int64_t g = 0; g < groups; ++g) {
          const Slot* slots = narrow.slots + k / Panel::kDepth * narrow.stride + g * kMostRows;
          float* tile = tiles[v][g];
          if (narrow.width - g * kMostRows <= kMostRows / 2)
            across_kernel<Panel, Float, kMostRows / 2>(wide, col, count, k, length, slots, narrow.stride, tile, k == 0);
          else
            across_kernel<Panel, Float, kMostRows>(wide, col, count, k, length, slots, narrow.stride, tile, k == 0);
        }
      }
    }
    for (int v = 0; v < vectors; ++v) {
      const int64_t col = col0 + v * kLanes;
      const int count = static_cast<int>(min64(kLanes, columns - col));
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t first = g * kMostRows;
        const int height = static_cast<int>(min64(kMostRows, narrow.width - first));
        if (!transposed) {
          finish_tile(p.out, tiles[v][g], kLanes, first, height, col, count);
          continue;
        }
        alignas(64) float turned[kLanes * kMostRows];
        for (int i = 0; i < height; ++i)
          for (int j = 0; j < count; ++j) turned[j * kMostRows + i] = tiles[v][g][i * kLanes + j];
        finish_tile(p.out, turned, kMostRows, col, count, first, height);
      }
    }
  };
  ThreadPool::instance().run(threads, [&](int64_t t, int) {
    for (int64_t i = items * t / threads; i < items * (t + 1) / threads; ++i) item_columns(i);
  });
}

}  // namespace

template <class Panel>
bool multiply_narrow(const Problem& p, void* workspace, size_t bytes, int threads) {
  using Float = std::conditional_t<Panel::kDepth == 2, Bf16, F32>;
  const Segment& s = p.main;
  if (p.tail.inner > 0 || s.inner == 0 || s.a_scale != 1) return false;
  const int workers = p.rows * p.cols * s.inner < kParallelWork ? 1 : threads;
  const Blocks blocks = {s.inner, p.inner_block > 0 ? p.inner_block : Panel::kBlock};
  Narrow narrow = {static_cast<Slot*>(workspace), 0, 0};
  // Packs the narrow operand if it is narrow and small enough.
  const auto take = [&](const Matrix& m, Layout layout, int64_t width, const Matrix& wide) {
    narrow.width = width;
    narrow.stride = ceil_div(width, kLanes) * kLanes;
    const size_t needed = static_cast<size_t>(narrow.stride * ceil_div(s.inner, Panel::kDepth)) * sizeof(Slot);
    if (width > kNarrow || needed > bytes || wide.dtype != Float::kDType) return false;
    pack_narrow<Panel>(m, layout, s.inner, narrow, workers);
    return true;
  };
  if (s.a_layout == Layout::outer_rows) {
    if (!take(s.b, s.b_layout, p.cols, s.a)) return false;
    multiply_along<Panel>(p, narrow, blocks, workers);
    return true;
  }
  if (s.b_layout != Layout::inner_rows) return false;
  const bool few_columns = p.cols <= p.rows;
  const Matrix &wide = few_columns ? s.a : s.b, &few = few_columns ? s.b : s.a;
  if (!take(few, Layout::inner_rows, few_columns ? p.cols : p.rows, wide)) return false;
  multiply_across<Panel, Float>(p, wide, few_columns ? p.rows : p.cols, few_columns, narrow, blocks, workers);
  return true;
}

template bool multiply_narrow<F32Panel>(const Problem&, void*, size_t, int);
#if NFT_HAS_BF16_DOT
template bool multiply_narrow<Bf16Panel>(const Problem&, void*, size_t, int);
#endif

}  // namespace nft::cpu::NFT_ISA::gemm
