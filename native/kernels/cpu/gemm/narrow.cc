#include "narrow.h"

#include "narrow_kernels.h"

namespace nft::cpu::NFT_ISA::gemm {

namespace {

constexpr int64_t kParallelWork = 1 << 17;
// C [rows, width] = wide [rows, inner] narrow, for all parts.
template <class Panel, class Float>
void multiply_along(const JointProblem& p, const Narrow& narrow, const Blocks& blocks, int threads) {
  with_along_tile(narrow.stride / kLanes, [&](auto r, auto v) {
    constexpr int R = decltype(r)::value, V = decltype(v)::value;
    const int64_t groups = ceil_div(p.rows, R);
    ThreadPool::instance().run(threads, [&](int64_t t, int) {
      for (int64_t g = groups * t / threads; g < groups * (t + 1) / threads; ++g)
        along_rows<Panel, Float, R, V>(p, narrow, blocks, g * R, static_cast<int>(min64(R, p.rows - g * R)));
    });
  });
}

constexpr int64_t kChains = 4096;  // sums that stay in the first-level cache
// How far ahead of the columns at hand memory is asked for.
constexpr int64_t kAheadBytes = 256;

// narrow^T wide: [width, columns of wide], stored part by part as C or, with `transposed`, as C^T. Few rows of the wide
// operand at a time are read from left to right: its columns lie too far apart in memory to be followed downwards.
template <class Panel, class Float>
void multiply_across(const Output* const* outs, const Matrix& wide, int64_t columns, bool transposed, const Narrow& narrow,
                     const Blocks& blocks, int threads) {
  constexpr int64_t kRowsAtOnce = 32 * Panel::kDepth;
  const Groups groups = groups_of(narrow);
  const int64_t height = groups.height, steps = ceil_div(columns, kStepColumns);
  // Equal shares of the columns, as many for every thread.
  const int64_t items = min64(steps, ceil_div(ceil_div(steps, kChains / (height * kStepColumns)), threads) * threads);

  const auto item_columns = [&](int64_t item) {
    alignas(64) float chains[kChains], sums[kChains];
    const int64_t col0 = steps * item / items * kStepColumns;
    const int64_t col1 = min64(columns, steps * (item + 1) / items * kStepColumns);
    for (int64_t k = 0; k < blocks.inner; k += blocks.block) {
      const int64_t length = min64(blocks.block, blocks.inner - k);
      for (int64_t n = 0; n < length; n += kRowsAtOnce)
        across_columns<Panel, Float>(wide, col0, col1, k + n, min64(kRowsAtOnce, length - n), narrow, groups, chains, n == 0,
                                     kAheadBytes);
      add_block(sums, chains, ceil_div(col1 - col0, kLanes) * height * kLanes, k == 0);
    }
    int64_t row = 0;
    for (int i = 0; i < narrow.parts; row += ceil_div(narrow.width[i++], kRows) * kRows)
      finish_columns(*outs[i], sums, col0, col1, row, narrow.width[i], height, transposed);
  };
  ThreadPool::instance().run(threads, [&](int64_t t, int) {
    for (int64_t i = items * t / threads; i < items * (t + 1) / threads; ++i) item_columns(i);
  });
}

// Slots below which one thread packs sooner than the others wake.
constexpr int64_t kParallelSlots = 1 << 15;

// Packs the narrow operands and calls f with the type of the wide one, where the panel reads it.
template <class Panel, class F>
void with_packed(const Narrow& narrow, Layout layout, int64_t inner, const Matrix& wide, int workers, F&& f) {
  const bool few = narrow.stride * ceil_div(inner, Panel::kDepth) < kParallelSlots;
  pack_narrow<Panel>(narrow, layout, inner, few ? 1 : workers);
  with_float_type(wide.dtype, [&](auto type) {
    if constexpr (Panel::kDepth == 1 || decltype(type)::kDType == DType::bf16) f(type);
  });
}

template <class Panel>
bool fits(const Narrow& narrow, int64_t inner, const Matrix& wide, size_t bytes) {
  const size_t needed = static_cast<size_t>(narrow.stride * ceil_div(inner, Panel::kDepth)) * sizeof(Slot);
  return narrow.stride <= kNarrow && needed <= bytes && (Panel::kDepth == 1 || wide.dtype == DType::bf16);
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
  const bool few_columns = along || only.cols <= p.rows;
  if (few_columns) {
    for (int i = 0; i < p.part_count; ++i) add_part(&narrow, p.parts[i].b[0], p.parts[i].cols);
  } else {
    add_part(&narrow, s.a, p.rows);
  }
  const Matrix& wide = few_columns ? s.a : only.b[0];
  if (!fits<Panel>(narrow, s.inner, wide, bytes)) return false;

  const Blocks blocks = {s.inner, p.inner_block > 0 ? p.inner_block : Panel::kBlock};
  int64_t cols = 0;
  for (int i = 0; i < p.part_count; ++i) cols += p.parts[i].cols;
  const int workers = p.rows * cols * s.inner < kParallelWork ? 1 : threads;
  with_packed<Panel>(narrow, along ? s.b_layout : Layout::inner_rows, s.inner, wide, workers, [&](auto type) {
    using Float = decltype(type);
    const Output* out = &only.out;
    if (along)
      multiply_along<Panel, Float>(p, narrow, blocks, workers);
    else
      multiply_across<Panel, Float>(&out, wide, few_columns ? p.rows : only.cols, few_columns, narrow, blocks, workers);
  });
  return true;
}

template <class Panel>
bool multiply_narrow_rows(const Problem* problems, int count, void* workspace, size_t bytes, int threads) {
  const Segment& first = problems[0].main;
  Narrow narrow = {static_cast<Slot*>(workspace), 0, {}, {}, 0};
  const Output* outs[kMaxParts];
  int64_t rows = 0;
  for (int i = 0; i < count; ++i) {
    const Problem& p = problems[i];
    const bool across = p.main.a_layout == Layout::inner_rows && p.main.b_layout == Layout::inner_rows;
    if (!across || p.main.b.data != first.b.data || p.rows > p.cols || p.tail.inner > 0 || p.main.a_scale != 1) return false;
    add_part(&narrow, p.main.a, p.rows);
    outs[i] = &p.out;
    rows += p.rows;
  }
  if (first.inner == 0 || rows == 0 || !fits<Panel>(narrow, first.inner, first.b, bytes)) return false;
  const int workers = rows * problems[0].cols * first.inner < kParallelWork ? 1 : threads;
  const Blocks blocks = {first.inner, Panel::kBlock};
  with_packed<Panel>(narrow, Layout::inner_rows, first.inner, first.b, workers, [&](auto type) {
    multiply_across<Panel, decltype(type)>(outs, first.b, problems[0].cols, false, narrow, blocks, workers);
  });
  return true;
}

template bool multiply_narrow<F32Panel>(const JointProblem&, void*, size_t, int);
template bool multiply_narrow_rows<F32Panel>(const Problem*, int, void*, size_t, int);
#if NFT_HAS_BF16_DOT
template bool multiply_narrow<Bf16Panel>(const JointProblem&, void*, size_t, int);
template bool multiply_narrow_rows<Bf16Panel>(const Problem*, int, void*, size_t, int);
#endif

}  // namespace nft::cpu::NFT_ISA::gemm
