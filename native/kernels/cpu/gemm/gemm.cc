#include "gemm.h"

#include "../../../core/thread_pool.h"
#include "epilogue.h"
#include "microkernel.h"
#include "narrow.h"
#include "pack.h"

namespace nft::cpu::NFT_ISA::gemm {

namespace {

// Slots of the inner dimension packed at a time: 1536 inputs and a low-rank tail. Longer products make several passes over
// a tile buffer in the workspace.
constexpr int64_t kPassSteps = 1664;
constexpr int kPassBlocks = 112;
static_assert(kPassBlocks >= kPassSteps / 16 + kMaxSegments, "blocks of at least 32 elements, and a rest of every segment");
// Rows of A that a thread packs at a time: they stay in its second-level cache while panels of B stream by.
constexpr int64_t kCachedBytes = 512 << 10;
// Threads share out the rows of C from this many panels each on; else every thread packs all rows for its share of the
// columns.
constexpr int64_t kRowShare = 4;
// Row panels of a superblock, for every four threads, where its tiles wait in the workspace for the next pass.
constexpr int64_t kWaitingPanels = 40;
// Below this many multiply-adds waking other threads costs more than it saves.
constexpr int64_t kParallelWork = 1 << 17;

constexpr int64_t kRowPanelSlots = kLanes;  // per step
constexpr int64_t kColPanelSlots = kTileCols;

// Bytes of packed panels of B in a superblock: enough for an operand of a small model to be packed only once.
int64_t col_limit(int threads) {
  const int64_t mib = int64_t{1} << 20;
  return threads <= 4 ? 7 * mib : min64(threads, 8) * 2 * mib;
}

// Sizes of a superblock, in panels.
struct Plan {
  int64_t pass_steps;              // longest pass
  int64_t row_panels, col_panels;  // of all of C
  int64_t max_rows, max_cols;      // panels of a superblock at most
  int64_t chunk;                   // row panels that a thread packs at a time
  bool share_rows;                 // among the threads; else columns
  bool several_passes;
  int64_t a_bytes;  // of one thread
  int64_t b_bytes, tile_bytes;
  int threads;
};

// steps: of the whole inner dimension.
Plan make_plan(int64_t rows, int64_t col_panels, int64_t steps, int threads) {
  Plan p;
  p.threads = threads;
  p.pass_steps = min64(steps, kPassSteps);
  p.row_panels = ceil_div(rows, kTileRows);
  p.share_rows = p.row_panels >= kRowShare * threads;
  if (p.share_rows) p.row_panels = ceil_div(p.row_panels, threads) * threads;  // as many for each
  p.col_panels = col_panels;
  const int64_t a_panel = p.pass_steps * kRowPanelSlots * 4, b_panel = p.pass_steps * kColPanelSlots * 4;
  p.chunk = a_panel == 0 ? p.row_panels : kCachedBytes / a_panel;
  p.max_cols = b_panel == 0 ? p.col_panels : min64(p.col_panels, col_limit(threads) / b_panel);
  p.several_passes = steps > kPassSteps;
  p.max_rows = p.several_passes ? min64(p.row_panels, kWaitingPanels * ceil_div(threads, 4)) : p.row_panels;
  // The bounds and not the products: chunk * a_panel can fall when inner grows, and a longer batch must never need less. Nor
  // may rows that are shared out need less than the most that are not.
  const int64_t unshared = min64(p.row_panels, kRowShare * threads), share = ceil_div(p.row_panels, threads);
  p.a_bytes = min64(kCachedBytes, (share > unshared ? share : unshared) * a_panel);
  p.b_bytes = min64(col_limit(threads), p.col_panels * b_panel);
  p.tile_bytes = p.several_passes ? p.max_rows * p.max_cols * kTileSize * 4 : 0;
  return p;
}

size_t bytes_of(const Plan& p) { return static_cast<size_t>(p.threads * p.a_bytes + p.b_bytes + p.tile_bytes); }

struct Block {
  int segment;
  int64_t begin, length;  // inner elements of the segment
  int64_t offset, steps;  // slots of the pass before it, and its own
};

NFT_INLINE int64_t steps_of(int64_t elements, int depth) { return ceil_div(elements, depth); }

// Cuts the segments into blocks, a pass at a time.
class Passes {
 public:
  Passes(const JointProblem& p, int depth, int64_t block)
      : problem_(p), depth_(depth), block_(p.inner_block > 0 ? p.inner_block : block) {}
  // Fills blocks with the next pass; the number of blocks, 0 after the last.
  int next(Block* blocks, int64_t* steps) {
    int count = 0;
    *steps = 0;
    while (count < kPassBlocks && segment_ < problem_.segment_count) {
      const int64_t inner = problem_.segments[segment_].inner;
      if (at_ == inner) {
        ++segment_;
        at_ = 0;
        continue;
      }
      const int64_t length = min64(block_, inner - at_);
      const int64_t more = steps_of(length, depth_);
      if (*steps + more > kPassSteps) break;
      blocks[count++] = {segment_, at_, length, *steps, more};
      at_ += length;
      *steps += more;
    }
    return count;
  }

 private:
  const JointProblem& problem_;
  const int depth_;
  const int64_t block_;
  int segment_ = 0;
  int64_t at_ = 0;
};

struct ColumnPanel {
  const JointProblem::Part* part;
  int64_t col;
  int count;
};

// Panel of columns `index`, counted through all parts.
NFT_INLINE ColumnPanel column_panel(const JointProblem& p, int64_t index) {
  const JointProblem::Part* part = p.parts;
  for (int64_t panels; index >= (panels = ceil_div(part->cols, kTileCols)); ++part) index -= panels;
  const int64_t col = index * kTileCols;
  return {part, col, static_cast<int>(min64(kTileCols, part->cols - col))};
}

int64_t count_column_panels(const JointProblem& p) {
  int64_t panels = 0;
  for (int i = 0; i < p.part_count; ++i) panels += ceil_div(p.parts[i].cols, kTileCols);
  return panels;
}

// One superblock of C in one pass.
struct Superblock {
  const JointProblem* problem;
  const Block* blocks;
  int block_count;
  int64_t steps;
  bool first_pass, last_pass;
  int64_t row0, rows, row_panels;  // row panel p: rows row0 + rows * p / row_panels ...
  int64_t col_panel0, col_panels;  // column panel q: that of C with number col_panel0 + q
  int64_t chunk;                   // row panels packed at a time
  Slot* b;
  float* tiles;

  int64_t panel_row(int64_t p) const { return rows * p / row_panels; }
  int64_t row_panel_slots() const { return steps * kRowPanelSlots; }
};

template <class Panel, class Row>
NFT_INLINE void pack_operand(const Matrix& m, Layout layout, int64_t first, int64_t outer, const Block& block, float scale,
                             Slot* dst, int dst_stride) {
  const int count = static_cast<int>(outer);
  if (layout == Layout::outer_rows)
    pack_rows<Panel, Row>(m, first, count, block.begin, block.length, scale, dst, dst_stride);
  else
    pack_columns<Panel, Row>(m, first, count, block.begin, block.length, scale, dst, dst_stride);
}

// Inner elements packed for one panel before the next panel's turn. Operands stored by the inner dimension are read in short
// runs, a whole row of the matrix apart: going panel by panel over few rows at a time stays within the pages just touched.
int64_t pack_step(Layout layout, const Block& block) { return layout == Layout::outer_rows ? block.length : kPackRows; }

// Calls f with each part of the block that is packed for all panels before the next.
template <class Panel, class F>
NFT_INLINE void for_pack_steps(const Block& block, Layout layout, F&& f) {
  const int64_t step = pack_step(layout, block);
  for (int64_t k = 0; k < block.length; k += step)
    f(Block{block.segment, block.begin + k, min64(step, block.length - k), block.offset + k / Panel::kDepth, 0});
}

// Row panels [begin, end), to a.
template <class Panel>
void pack_row_panels(const Superblock& s, int64_t begin, int64_t end, Slot* a) {
  for (int i = 0; i < s.block_count; ++i) {
    const JointProblem::Slice& seg = s.problem->segments[s.blocks[i].segment];
    with_float_type(seg.a.dtype, [&](auto type) {
      for_pack_steps<Panel>(s.blocks[i], seg.a_layout, [&](const Block& part) {
        for (int64_t p = begin; p < end; ++p) {
          const int64_t row = s.panel_row(p);
          Slot* dst = a + (p - begin) * s.row_panel_slots() + part.offset * kRowPanelSlots;
          pack_operand<Panel, PlainRow<decltype(type)>>(seg.a, seg.a_layout, s.row0 + row, s.panel_row(p + 1) - row, part,
                                                        seg.a_scale, dst, kRowPanelSlots);
        }
      });
    });
  }
}

// Column panels [begin, end), all of one part.
template <class Panel>
void pack_part_panels(const Superblock& s, const JointProblem::Part& part, int64_t begin, int64_t end) {
  for (int i = 0; i < s.block_count; ++i) {
    const int segment = s.blocks[i].segment;
    if (!part.takes[segment]) continue;
    const Matrix& matrix = part.b[segment];
    const Layout layout = s.problem->segments[segment].b_layout;
    with_storage(matrix.dtype, [&](auto row) {
      for_pack_steps<Panel>(s.blocks[i], layout, [&](const Block& block) {
        for (int64_t q = begin; q < end; ++q) {
          Slot* dst = s.b + (q * s.steps + block.offset) * kColPanelSlots;
          const ColumnPanel panel = column_panel(*s.problem, s.col_panel0 + q);
          for (int v = 0; v < panel.count; v += kLanes)
            pack_operand<Panel, decltype(row)>(matrix, layout, panel.col + v, min64(kLanes, panel.count - v), block, 1,
                                               dst + v, kColPanelSlots);
        }
      });
    });
  }
}

// Column panels [begin, end).
template <class Panel>
void pack_col_panels(const Superblock& s, int64_t begin, int64_t end) {
  while (begin < end) {
    const ColumnPanel first = column_panel(*s.problem, s.col_panel0 + begin);
    const int64_t rest = ceil_div(first.part->cols - first.col, kTileCols), count = min64(rest, end - begin);
    pack_part_panels<Panel>(s, *first.part, begin, begin + count);
    begin += count;
  }
}

// a: row panel p.
template <class Panel>
void compute_tile(const Superblock& s, int64_t p, const Slot* a, int64_t q) {
  alignas(64) float local[kTileSize];
  float* tile = s.tiles ? s.tiles + (p * s.col_panels + q) * kTileSize : local;
  const int64_t row = s.panel_row(p);
  const int rows = static_cast<int>(s.panel_row(p + 1) - row);
  const ColumnPanel panel = column_panel(*s.problem, s.col_panel0 + q);
  const Microkernel kernel = choose_microkernel<Panel>(rows, panel.count > kLanes ? 2 : 1);
  const Slot* b = s.b + q * s.steps * kColPanelSlots;
  bool first = s.first_pass;
  for (int i = 0; i < s.block_count; ++i) {
    const Block& block = s.blocks[i];
    if (!panel.part->takes[block.segment]) continue;
    kernel(block.steps, a + block.offset * kRowPanelSlots, b + block.offset * kColPanelSlots, tile, first);
    first = false;
  }
  if (first) std::memset(tile, 0, sizeof(local));  // an empty sum
  if (s.last_pass) finish_tile(panel.part->out, tile, kTileCols, s.row0 + row, rows, panel.col, panel.count);
}

// Tiles of row panels [begin, end) and column panels [first_col, last_col): packs rows chunk by chunk to a.
template <class Panel>
void compute_tiles(const Superblock& s, int64_t begin, int64_t end, int64_t first_col, int64_t last_col, Slot* a) {
  if (first_col == last_col) return;
  const int64_t chunks = ceil_div(end - begin, s.chunk);
  for (int64_t i = 0; i < chunks; ++i) {
    const int64_t p0 = begin + (end - begin) * i / chunks, p1 = begin + (end - begin) * (i + 1) / chunks;
    pack_row_panels<Panel>(s, p0, p1, a);
    for (int64_t q = first_col; q < last_col; ++q)
      for (int64_t p = p0; p < p1; ++p) compute_tile<Panel>(s, p, a + (p - p0) * s.row_panel_slots(), q);
  }
}

// Of all segments.
int64_t total_inner(const JointProblem& p) {
  int64_t inner = 0;
  for (int i = 0; i < p.segment_count; ++i) inner += p.segments[i].inner;
  return inner;
}

int64_t total_cols(const JointProblem& p) {
  int64_t cols = 0;
  for (int i = 0; i < p.part_count; ++i) cols += p.parts[i].cols;
  return cols;
}

int64_t total_steps(const JointProblem& p, int depth) {
  int64_t steps = 0;
  for (int i = 0; i < p.segment_count; ++i) steps += steps_of(p.segments[i].inner, depth);
  return steps;
}

template <class Panel>
void multiply_panels(const JointProblem& problem, void* workspace, int threads) {
  const int64_t steps = total_steps(problem, Panel::kDepth);
  const Plan plan = make_plan(problem.rows, count_column_panels(problem), steps, threads);
  if (multiply_narrow<Panel>(problem, workspace, bytes_of(plan), threads)) return;
  const int workers = problem.rows * total_cols(problem) * total_inner(problem) < kParallelWork ? 1 : threads;
  char* memory = static_cast<char*>(workspace);
  char* row_memory = memory + plan.b_bytes + plan.tile_bytes;

  const int64_t row_blocks = ceil_div(plan.row_panels, plan.max_rows), col_blocks = ceil_div(plan.col_panels, plan.max_cols);
  const int64_t col_step = ceil_div(plan.col_panels, col_blocks);
  for (int64_t col0 = 0; col0 < plan.col_panels; col0 += col_step) {
    for (int64_t block = 0; block < row_blocks; ++block) {
      Superblock s;
      s.problem = &problem;
      s.chunk = plan.chunk;
      s.b = reinterpret_cast<Slot*>(memory);
      s.tiles = plan.several_passes ? reinterpret_cast<float*>(memory + plan.b_bytes) : nullptr;
      const int64_t panel0 = plan.row_panels * block / row_blocks, panel1 = plan.row_panels * (block + 1) / row_blocks;
      s.row0 = min64(panel0 * kTileRows, problem.rows);
      s.rows = min64(panel1 * kTileRows, problem.rows) - s.row0;
      s.row_panels = panel1 - panel0;
      s.col_panel0 = col0;
      s.col_panels = min64(col_step, plan.col_panels - col0);

      Block blocks[kPassBlocks];
      Passes passes(problem, Panel::kDepth, Panel::kBlock);
      s.blocks = blocks;
      s.first_pass = true;
      int64_t done = 0;
      do {
        s.block_count = passes.next(blocks, &s.steps);
        done += s.steps;
        s.last_pass = done == steps;
        // Packed B is still there when it was packed for the row block before, in the only pass.
        const bool pack_b = block == 0 || plan.several_passes;
        if (pack_b)
          ThreadPool::instance().run(workers, [&](int64_t t, int) {
            pack_col_panels<Panel>(s, s.col_panels * t / workers, s.col_panels * (t + 1) / workers);
          });
        ThreadPool::instance().run(workers, [&](int64_t t, int) {
          Slot* a = reinterpret_cast<Slot*>(row_memory + t * plan.a_bytes);
          const int64_t shared = plan.share_rows ? s.row_panels : s.col_panels;
          const int64_t begin = shared * t / workers, end = shared * (t + 1) / workers;
          if (plan.share_rows)
            compute_tiles<Panel>(s, begin, end, 0, s.col_panels, a);
          else
            compute_tiles<Panel>(s, 0, s.row_panels, begin, end, a);
        });
        s.first_pass = false;
      } while (!s.last_pass);
    }
  }
}

// Whether to multiply in bf16, where the processor can: exact where all operands are bf16; where the activations (the first
// segment) and the result are, operands in a finer format are rounded to bf16 as well.
bool part_in_bf16(const JointProblem& p, const JointProblem::Part& part) {
  if (p.segments[0].a.dtype == DType::bf16 && part.out.dtype == DType::bf16) return true;
  for (int i = 0; i < p.segment_count; ++i) {
    const JointProblem::Slice& s = p.segments[i];
    if (!part.takes[i] || s.inner == 0) continue;
    if (s.a.dtype != DType::bf16 || part.b[i].dtype != DType::bf16 || s.a_scale != 1) return false;
  }
  return true;
}

bool in_bf16(const JointProblem& p) {
  for (int i = 0; i < p.part_count; ++i)
    if (!part_in_bf16(p, p.parts[i])) return false;
  return kHasBf16Panel;
}

JointProblem joint(const Problem& p) {
  JointProblem j;
  j.rows = p.rows;
  j.inner_block = p.inner_block;
  j.part_count = 1;
  j.parts[0].cols = p.cols;
  j.parts[0].out = p.out;
  j.take(0, j.add(p.main), p.main.b);
  if (p.tail.inner > 0) j.take(0, j.add(p.tail), p.tail.b);
  return j;
}

}  // namespace

size_t workspace_bytes(const JointProblem& p, int threads) {
  if (p.rows == 0 || total_cols(p) == 0) return 0;
  return bytes_of(make_plan(p.rows, count_column_panels(p), total_steps(p, in_bf16(p) ? 2 : 1), threads));
}

void multiply(const JointProblem& p, void* workspace, int threads) {
  if (p.rows == 0 || total_cols(p) == 0) return;
#if NFT_HAS_BF16_DOT
  if (in_bf16(p)) return multiply_panels<Bf16Panel>(p, workspace, threads);
#endif
  multiply_panels<F32Panel>(p, workspace, threads);
}

size_t workspace_bytes_each(const Problem* problems, int count, int threads) {
  size_t bytes = 0;
  for (int i = 0; i < count; ++i) {
    const size_t own = workspace_bytes(problems[i], threads);
    bytes = own > bytes ? own : bytes;
  }
  return bytes;
}

void multiply_each(const Problem* problems, int count, void* workspace, int threads) {
  const size_t bytes = workspace_bytes_each(problems, count, threads);
  int bf16 = 0;
  for (int i = 0; i < count; ++i) bf16 += in_bf16(joint(problems[i])) ? 1 : 0;
#if NFT_HAS_BF16_DOT
  if (bf16 == count && multiply_narrow_rows<Bf16Panel>(problems, count, workspace, bytes, threads)) return;
#endif
  if (bf16 == 0 && multiply_narrow_rows<F32Panel>(problems, count, workspace, bytes, threads)) return;
  for (int i = 0; i < count; ++i) multiply(problems[i], workspace, threads);
}

size_t workspace_bytes_both(const Problem& input, const Problem& weight, int threads) {
  const JointProblem dx = joint(input), dw = joint(weight);
  size_t bytes = workspace_bytes(dx, threads);
  const auto more = [&](size_t other) { bytes = other > bytes ? other : bytes; };
  more(workspace_bytes(dw, threads));
  if (dx.rows == 0 || in_bf16(dx) != in_bf16(dw)) return bytes;
#if NFT_HAS_BF16_DOT
  if (in_bf16(dx)) more(narrow_pair_bytes<Bf16Panel>(dx, dw, threads));
#endif
  if (!in_bf16(dx)) more(narrow_pair_bytes<F32Panel>(dx, dw, threads));
  return bytes;
}

void multiply_both(const Problem& input, const Problem& weight, void* workspace, int threads) {
  const JointProblem dx = joint(input), dw = joint(weight);
  if (dx.rows > 0 && in_bf16(dx) == in_bf16(dw)) {
#if NFT_HAS_BF16_DOT
    if (in_bf16(dx) && multiply_narrow_pair<Bf16Panel>(dx, dw, workspace, threads)) return;
#endif
    if (!in_bf16(dx) && multiply_narrow_pair<F32Panel>(dx, dw, workspace, threads)) return;
  }
  multiply(dx, workspace, threads);
  multiply(dw, workspace, threads);
}

size_t workspace_bytes(const Problem& p, int threads) { return workspace_bytes(joint(p), threads); }

void multiply(const Problem& p, void* workspace, int threads) { multiply(joint(p), workspace, threads); }

}  // namespace nft::cpu::NFT_ISA::gemm
