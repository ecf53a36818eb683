#include "narrow.h"
#include "narrow_kernels.h"

namespace nft::cpu::NFT_ISA::gemm {

namespace {

// Rows of dy that stay in the second-level cache from the first product to the second, which asks for the next ones.
constexpr int64_t kRowsAtOnce = 64;

struct Pair {
  int64_t rows, columns;       // of dy
  Narrow by_rows, by_columns;  // weight and x
  Groups groups;
  int64_t chain_floats;  // sums of dweight
  int64_t slots;

  // Workspace: slots of the narrow operands, sums of dweight, then chains of each thread.
  size_t bytes(int threads) const {
    return static_cast<size_t>((slots + (threads + 1) * chain_floats) * static_cast<int64_t>(sizeof(Slot)));
  }
};

// False for problems of another kind.
template <class Panel>
bool make_pair(const JointProblem& input, const JointProblem& weight, Pair* pair) {
  const JointProblem::Slice &dx = input.segments[0], &dw = weight.segments[0];
  if (input.segment_count > 1 || weight.segment_count > 1 || dx.a.data != dw.a.data) return false;
  if (input.inner_block > 0 || weight.inner_block > 0 || (Panel::kDepth == 2 && dx.a.dtype != DType::bf16)) return false;
  pair->rows = input.rows;
  pair->columns = weight.rows;
  pair->by_rows = pair->by_columns = {nullptr, 0, {}, {}, 0};
  add_part(&pair->by_rows, input.parts[0].b[0], input.parts[0].cols);
  add_part(&pair->by_columns, weight.parts[0].b[0], weight.parts[0].cols);
  if (pair->by_rows.stride > kNarrow || pair->by_columns.stride > kNarrow) return false;
  pair->groups = groups_of(pair->by_columns);
  pair->chain_floats = padded(pair->columns) * pair->groups.height;
  const int64_t column_slots = ceil_div(pair->columns, Panel::kDepth) * pair->by_rows.stride;
  pair->slots = column_slots + ceil_div(pair->rows, Panel::kDepth) * pair->by_columns.stride;
  return true;
}

}  // namespace

template <class Panel>
size_t narrow_pair_bytes(const JointProblem& input, const JointProblem& weight, int threads) {
  Pair pair;
  return make_pair<Panel>(input, weight, &pair) ? pair.bytes(threads) : 0;
}

template <class Panel>
bool multiply_narrow_pair(const JointProblem& input, const JointProblem& weight, void* workspace, int threads) {
  Pair pair;
  if (!make_pair<Panel>(input, weight, &pair)) return false;
  const int64_t block = Panel::kBlock, blocks = ceil_div(pair.rows, block), turns = ceil_div(blocks, threads);
  // Rows that the busiest thread has to make.
  const int64_t most = (turns - 1) * block + min64(block, pair.rows - (turns - 1) * threads * block);
  if (5 * pair.rows < 4 * threads * most) return false;

  const int64_t column_slots = ceil_div(pair.columns, Panel::kDepth) * pair.by_rows.stride;
  pair.by_rows.slots = static_cast<Slot*>(workspace);
  pair.by_columns.slots = pair.by_rows.slots + column_slots;
  float* sums = reinterpret_cast<float*>(pair.by_rows.slots + pair.slots);
  float* chains = sums + pair.chain_floats;
  pack_narrow<Panel>(pair.by_rows, input.segments[0].b_layout, pair.columns, threads);
  pack_narrow<Panel>(pair.by_columns, Layout::inner_rows, pair.rows, threads);

  const Matrix& dy = input.segments[0].a;
  const Blocks along = {pair.columns, block};
  with_float_type(dy.dtype, [&](auto type) {
    using Float = decltype(type);
    if constexpr (Panel::kDepth == 1 || Float::kDType == DType::bf16) {
      const auto both = [&](int64_t begin, int64_t end, float* own, bool first) {
        with_along_tile(pair.by_rows.stride / kLanes, [&](auto r, auto v) {
          constexpr int R = decltype(r)::value, V = decltype(v)::value;
          for (int64_t row = begin; row < end; row += R)
            along_rows<Panel, Float, R, V>(input, pair.by_rows, along, row, static_cast<int>(min64(R, end - row)));
        });
        across_columns<Panel, Float>(dy, 0, pair.columns, begin, end - begin, pair.by_columns, pair.groups, own, first,
                                     (end - begin) * dy.stride_bytes);
      };
      for (int64_t turn = 0; turn < turns; ++turn) {
        const int64_t here = min64(threads, blocks - turn * threads);
        ThreadPool::instance().run(here, [&](int64_t t, int) {
          const int64_t begin = (turn * threads + t) * block, end = min64(pair.rows, begin + block);
          for (int64_t n = begin; n < end; n += kRowsAtOnce)
            both(n, min64(end, n + kRowsAtOnce), chains + t * pair.chain_floats, n == begin);
        });
        ThreadPool::instance().run(threads, [&](int64_t t, int) {
          const int64_t vectors = ceil_div(pair.columns, kLanes) * pair.groups.height;
          const int64_t begin = vectors * t / threads * kLanes, end = vectors * (t + 1) / threads * kLanes;
          for (int64_t i = 0; i < here; ++i)
            add_block(sums + begin, chains + i * pair.chain_floats + begin, end - begin, turn == 0 && i == 0);
        });
      }
    }
  });
  ThreadPool::instance().run(threads, [&](int64_t t, int) {
    const int64_t vectors = ceil_div(pair.columns, kLanes), begin = vectors * t / threads;
    finish_columns(weight.parts[0].out, sums + begin * pair.groups.height * kLanes, begin * kLanes,
                   min64(pair.columns, vectors * (t + 1) / threads * kLanes), 0, weight.parts[0].cols, pair.groups.height,
                   true);
  });
  return true;
}

template bool multiply_narrow_pair<F32Panel>(const JointProblem&, const JointProblem&, void*, int);
template size_t narrow_pair_bytes<F32Panel>(const JointProblem&, const JointProblem&, int);
#if NFT_HAS_BF16_DOT
template bool multiply_narrow_pair<Bf16Panel>(const JointProblem&, const JointProblem&, void*, int);
template size_t narrow_pair_bytes<Bf16Panel>(const JointProblem&, const JointProblem&, int);
#endif

}  // namespace nft::cpu::NFT_ISA::gemm
