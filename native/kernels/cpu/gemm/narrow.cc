#include "narrow.h"

#include <type_traits>

#include "../../../core/thread_pool.h"
#include "epilogue.h"
#include "pack.h"

namespace nft::cpu::NFT_ISA::gemm {

namespace {

// Sums held in registers: kRows x kVectors.
#if defined(__AVX512F__)
constexpr int kRows = 8, kVectors = 3;
#elif defined(__AVX2__)
constexpr int kRows = 4, kVectors = 3;
#else
constexpr int kRows = 4, kVectors = 2;
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

// Slots of a row of the wide operand that are copied, and converted, at a time: at a fixed distance from each other the rows
// need no pointer each, and the processor foresees how they are read.
constexpr int64_t kLineSlots = 128;

// Elements [k, k + length) of a row, as slots of the panel; an odd last element of pairs is paired with 0.
template <class Panel, class Float>
NFT_INLINE void copy_line(const char* row, int64_t k, int64_t length, Slot* line) {
  if constexpr (Panel::kDepth == 1) {
    float* to = reinterpret_cast<float*>(line);
    int64_t i = 0;
    for (; i + kLanes <= length; i += kLanes) F32::store(to + i, PlainRow<Float>::load(row, k + i));
    if (i < length) F32::store(to + i, PlainRow<Float>::load(row, k + i, static_cast<int>(length - i)));
  } else {
    if (length % 2 != 0) line[length / 2] = 0;
    std::memcpy(line, row + k * static_cast<int64_t>(sizeof(typename Float::Element)),
                static_cast<size_t>(length) * sizeof(typename Float::Element));
  }
}

// chain [R][stride] (+)= lines [R][kLineSlots], times V vectors of the narrow operand [steps][stride].
template <class Panel, int R, int V>
void along_kernel(const Slot* lines, int64_t steps, const Slot* narrow, int64_t stride, float* chain, bool first) {
  f32v sum[R][V];
#pragma GCC unroll 24
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 3
    for (int v = 0; v < V; ++v) sum[i][v] = first ? zero() : F32::load(chain + i * stride + v * kLanes);
  for (int64_t s = 0; s < steps; ++s, narrow += stride) {
    u32v b[V];
#pragma GCC unroll 3
    for (int v = 0; v < V; ++v) b[v] = load_slots(narrow + v * kLanes);
#pragma GCC unroll 24
    for (int i = 0; i < R; ++i) {
      const u32v a = set1_u32(lines[i * kLineSlots + s]);
#pragma GCC unroll 3
      for (int v = 0; v < V; ++v) sum[i][v] = Panel::multiply_add(a, b[v], sum[i][v]);
    }
  }
#pragma GCC unroll 24
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 3
    for (int v = 0; v < V; ++v) F32::store(chain + i * stride + v * kLanes, sum[i][v]);
}

// Sums of blocks from chains of multiply-adds, as the microkernel adds them.
NFT_INLINE void add_block(float* sums, const float* chains, int64_t count, bool first) {
  for (int64_t i = 0; i < count; i += kLanes)
    F32::store(sums + i, first ? F32::load(chains + i) : F32::load(sums + i) + F32::load(chains + i));
}

// Sums [rows][stride] of the narrow operands' columns, to the parts they belong to.
NFT_INLINE void finish_parts(const JointProblem& p, const float* sums, int64_t stride, int64_t row0, int rows) {
  for (int i = 0; i < p.part_count; sums += padded(p.parts[i++].cols))
    finish_tile(p.parts[i].out, sums, static_cast<int>(stride), row0, rows, 0, static_cast<int>(p.parts[i].cols));
}

// R rows of C from row0 on, of which `count` exist: V vectors at a time.
template <class Panel, class Float, int R, int V>
void along_rows(const JointProblem& p, const Narrow& narrow, const Blocks& blocks, int64_t row0, int count) {
  constexpr int64_t kElements = kLineSlots * Panel::kDepth;
  alignas(64) Slot lines[R * kLineSlots];
  alignas(64) float chains[R * kNarrow], sums[R * kNarrow];
  const char* rows[R];
  for (int i = 0; i < R; ++i) rows[i] = p.segments[0].a.row(row0 + (i < count ? i : count - 1));
  for (int64_t k = 0; k < blocks.inner; k += blocks.block) {
    const int64_t length = min64(blocks.block, blocks.inner - k);
    for (int64_t n = 0; n < length; n += kElements) {
      const int64_t some = min64(kElements, length - n);
      for (int i = 0; i < R; ++i) copy_line<Panel, Float>(rows[i], k + n, some, lines + i * kLineSlots);
      const Slot* slots = narrow.slots + (k + n) / Panel::kDepth * narrow.stride;
      for (int64_t v = 0; v < narrow.stride; v += V * kLanes)
        along_kernel<Panel, R, V>(lines, ceil_div(some, Panel::kDepth), slots + v, narrow.stride, chains + v, n == 0);
    }
    add_block(sums, chains, R * narrow.stride, k == 0);
  }
  finish_parts(p, sums, narrow.stride, row0, count);
}

template <class Panel, class Float, int R, int V>
void along_by(const JointProblem& p, const Narrow& narrow, const Blocks& blocks, int threads) {
  const int64_t groups = ceil_div(p.rows, R);
  ThreadPool::instance().run(threads, [&](int64_t t, int) {
    for (int64_t g = groups * t / threads; g < groups * (t + 1) / threads; ++g)
      along_rows<Panel, Float, R, V>(p, narrow, blocks, g * R, static_cast<int>(min64(R, p.rows - g * R)));
  });
}

// C [rows, width] = wide [rows, inner] narrow, for all parts.
template <class Panel, class Float>
void multiply_along(const JointProblem& p, const Narrow& narrow, const Blocks& blocks, int threads) {
  const int64_t vectors = narrow.stride / kLanes;
  if (kVectors == 3 && vectors % 3 == 0) return along_by<Panel, Float, kRows, 3>(p, narrow, blocks, threads);
  if (vectors % 2 == 0) return along_by<Panel, Float, kRows * kVectors / 2, 2>(p, narrow, blocks, threads);
  return along_by<Panel, Float, 2 * kRows, 1>(p, narrow, blocks, threads);
}

// How far ahead of the columns at hand memory is asked for.
constexpr int64_t kAheadBytes = 256;

// chain [V][height][kLanes] (+)= kRows columns of the narrow operand, times V vectors of columns of the wide one, of which
// `count` columns exist, in rows [k, k + length).
template <class Panel, class Float, int V>
void across_kernel(const Matrix& wide, int64_t col, int count, int64_t k, int64_t length, const Slot* narrow, int64_t stride,
                   float* chain, int64_t height, bool first) {
  using Source = Slots<Panel, PlainRow<Float>>;
  f32v sum[V][kRows];
#pragma GCC unroll 3
  for (int v = 0; v < V; ++v)
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) sum[v][i] = first ? zero() : F32::load(chain + (v * height + i) * kLanes);
  const f32v one = set1(1);
  const char* ahead = wide.row(k) + row_offset(wide.dtype, col) + kAheadBytes;
  for (int64_t n = 0; n < length; n += Panel::kDepth, narrow += stride) {
    const int depth = length - n < Panel::kDepth ? static_cast<int>(length - n) : Panel::kDepth;
    u32v x[V];
#pragma GCC unroll 3
    for (int v = 0; v < V; ++v) {
      const int64_t from = col + v * kLanes;
      const int lanes = count - v * kLanes;
      x[v] = as_u32(V == 1 && lanes < kLanes ? Source::across(wide, k + n, depth, from, lanes, one)
                                             : Source::across(wide, k + n, depth, from, one));
    }
    for (int i = 0; i < Panel::kDepth; ++i)
#pragma GCC unroll 3
      for (int v = 0; v < V; ++v)
        prefetch(ahead + (n + i) * wide.stride_bytes + v * kLanes * static_cast<int>(sizeof(typename Float::Element)));
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      const u32v a = set1_u32(narrow[i]);
#pragma GCC unroll 3
      for (int v = 0; v < V; ++v) sum[v][i] = Panel::multiply_add(a, x[v], sum[v][i]);
    }
  }
#pragma GCC unroll 3
  for (int v = 0; v < V; ++v)
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) F32::store(chain + (v * height + i) * kLanes, sum[v][i]);
}

constexpr int64_t kChains = 4096;  // sums that stay in the first-level cache

// narrow^T wide: [width, columns of wide], stored as C or, with `transposed`, as C^T. Few rows of the wide operand at a time
// are read from left to right: its columns lie too far apart in memory to be followed downwards.
template <class Panel, class Float>
void multiply_across(const Output& out, const Matrix& wide, int64_t columns, bool transposed, const Narrow& narrow,
                     const Blocks& blocks, int threads) {
  constexpr int64_t kRowsAtOnce = 32 * Panel::kDepth, kStep = kVectors * kLanes;
  const int64_t width = narrow.width[0], height = ceil_div(width, kRows) * kRows, steps = ceil_div(columns, kStep);
  // Equal shares of the columns, as many for every thread.
  const int64_t items = min64(steps, ceil_div(ceil_div(steps, kChains / (height * kStep)), threads) * threads);

  const auto item_columns = [&](int64_t item) {
    alignas(64) float chains[kChains], sums[kChains];
    const int64_t col0 = steps * item / items * kStep, col1 = min64(columns, steps * (item + 1) / items * kStep);
    const int64_t vectors = ceil_div(col1 - col0, kLanes);
    for (int64_t k = 0; k < blocks.inner; k += blocks.block) {
      const int64_t length = min64(blocks.block, blocks.inner - k);
      for (int64_t n = 0; n < length; n += kRowsAtOnce) {
        const int64_t rows = min64(kRowsAtOnce, length - n);
        const Slot* slots = narrow.slots + (k + n) / Panel::kDepth * narrow.stride;
        const auto kernel = [&](auto wide_vectors, int64_t col) {
          constexpr int V = decltype(wide_vectors)::value;
          for (int64_t g = 0; g < height; g += kRows)
            across_kernel<Panel, Float, V>(wide, col, static_cast<int>(min64(kStep, col1 - col)), k + n, rows, slots + g,
                                           narrow.stride, chains + ((col - col0) / kLanes * height + g) * kLanes, height,
                                           n == 0);
        };
        int64_t col = col0;
        for (; col + kStep <= col1; col += kStep) kernel(std::integral_constant<int, kVectors>(), col);
        for (; col < col1; col += kLanes) kernel(std::integral_constant<int, 1>(), col);
      }
      add_block(sums, chains, vectors * height * kLanes, k == 0);
    }
    for (int64_t v = 0; v < vectors; ++v) {
      const int64_t col = col0 + v * kLanes;
      const int lanes = static_cast<int>(min64(kLanes, columns - col)), rows = static_cast<int>(width);
      const float* tile = sums + v * height * kLanes;
      if (!transposed) {
        finish_tile(out, tile, kLanes, 0, rows, col, lanes);
        continue;
      }
      alignas(64) float turned[kLanes * kNarrow];
      for (int i = 0; i < rows; ++i)
        for (int j = 0; j < lanes; ++j) turned[j * kNarrow + i] = tile[i * kLanes + j];
      finish_tile(out, turned, kNarrow, col, lanes, 0, rows);
    }
  };
  ThreadPool::instance().run(threads, [&](int64_t t, int) {
    for (int64_t i = items * t / threads; i < items * (t + 1) / threads; ++i) item_columns(i);
  });
}

}  // namespace

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
  if (narrow.stride > kNarrow || needed > bytes || (Panel::kDepth == 2 && wide.dtype != DType::bf16)) return false;

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
