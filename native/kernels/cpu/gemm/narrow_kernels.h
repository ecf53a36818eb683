#pragma once
// The loops behind products with a narrow side, whose sums are those of the microkernel: the wide operand is read where it
// lies, along the inner dimension by rows or across it by columns.
#include <type_traits>

#include "../../../core/thread_pool.h"
#include "epilogue.h"
#include "microkernel.h"
#include "pack.h"

namespace nft::cpu::NFT_ISA::gemm {

// Sums held in registers: kRows x kVectors.
#if defined(__AVX512F__)
constexpr int kRows = 8, kVectors = 3;
#elif defined(__AVX2__)
constexpr int kRows = 4, kVectors = 3;
#else
constexpr int kRows = 4, kVectors = 2;
#endif
// Widest narrow side.
constexpr int64_t kNarrow = 64;

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

NFT_INLINE void add_part(Narrow* narrow, const Matrix& m, int64_t width) {
  narrow->matrix[narrow->parts] = &m;
  narrow->width[narrow->parts++] = width;
  narrow->stride += padded(width);
}

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

// Calls f with the R and V of along_rows that hold so many vectors of narrow columns.
template <class F>
NFT_INLINE void with_along_tile(int64_t vectors, F&& f) {
  using std::integral_constant;
  if (kVectors == 3 && vectors % 3 == 0) return f(integral_constant<int, kRows>(), integral_constant<int, 3>());
  if (vectors % 2 == 0) return f(integral_constant<int, kRows * kVectors / 2>(), integral_constant<int, 2>());
  f(integral_constant<int, 2 * kRows>(), integral_constant<int, 1>());
}

// chain [V][height][kLanes] (+)= kRows columns of the narrow operand, times V vectors of columns of the wide one, of which
// `count` columns exist, in rows [k, k + length). What lies ahead_bytes after them is asked for.
template <class Panel, class Float, int V>
void across_kernel(const Matrix& wide, int64_t col, int count, int64_t k, int64_t length, const Slot* narrow, int64_t stride,
                   float* chain, int64_t height, bool first, int64_t ahead_bytes) {
  using Source = Slots<Panel, PlainRow<Float>>;
  f32v sum[V][kRows];
#pragma GCC unroll 3
  for (int v = 0; v < V; ++v)
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) sum[v][i] = first ? zero() : F32::load(chain + (v * height + i) * kLanes);
  const f32v one = set1(1);
  const char* ahead = wide.row(k) + row_offset(wide.dtype, col) + ahead_bytes;
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

constexpr int64_t kStepColumns = kVectors * kLanes;

// Columns of narrow operands in groups of kRows, without the padding after the last group of a part.
struct Groups {
  int64_t slot[kNarrow / kRows];  // of a group's first column
  int64_t height = 0;             // columns of all groups
};

NFT_INLINE Groups groups_of(const Narrow& narrow) {
  Groups groups;
  int64_t first = 0;
  for (int i = 0; i < narrow.parts; first += padded(narrow.width[i++]))
    for (int64_t g = 0; g < narrow.width[i]; g += kRows, groups.height += kRows)
      groups.slot[groups.height / kRows] = first + g;
  return groups;
}

// chains [vectors of columns][height][kLanes] (+)= narrow^T wide, for columns [col0, col1) of the wide operand in rows [k, k
// + length).
template <class Panel, class Float>
void across_columns(const Matrix& wide, int64_t col0, int64_t col1, int64_t k, int64_t length, const Narrow& narrow,
                    const Groups& groups, float* chains, bool first, int64_t ahead_bytes) {
  const Slot* slots = narrow.slots + k / Panel::kDepth * narrow.stride;
  const auto step = [&](auto vectors, int64_t col) {
    float* chain = chains + (col - col0) * groups.height;
    for (int64_t g = 0; g < groups.height; g += kRows)
      across_kernel<Panel, Float, decltype(vectors)::value>(wide, col, static_cast<int>(min64(kStepColumns, col1 - col)), k,
                                                            length, slots + groups.slot[g / kRows], narrow.stride,
                                                            chain + g * kLanes, groups.height, first, ahead_bytes);
  };
  int64_t col = col0;
  for (; col + kStepColumns <= col1; col += kStepColumns) step(std::integral_constant<int, kVectors>(), col);
  for (; col < col1; col += kLanes) step(std::integral_constant<int, 1>(), col);
}

// Sums of such chains, from row `row` of each vector's on, to C [width, columns], or with `transposed` to C [columns,
// width].
NFT_INLINE void finish_columns(const Output& out, const float* sums, int64_t col0, int64_t col1, int64_t row, int64_t width,
                               int64_t height, bool transposed) {
  const int rows = static_cast<int>(width);
  sums += row * kLanes;
  for (int64_t col = col0; col < col1; col += kLanes, sums += height * kLanes) {
    const int lanes = static_cast<int>(min64(kLanes, col1 - col));
    if (!transposed) {
      finish_tile(out, sums, kLanes, 0, rows, col, lanes);
      continue;
    }
    alignas(64) float turned[kLanes * kNarrow];
    for (int i = 0; i < rows; ++i)
      for (int j = 0; j < lanes; ++j) turned[j * kNarrow + i] = sums[i * kLanes + j];
    finish_tile(out, turned, kNarrow, col, lanes, 0, rows);
  }
}

}  // namespace nft::cpu::NFT_ISA::gemm
