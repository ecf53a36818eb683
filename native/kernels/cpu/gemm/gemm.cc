#include "gemm.h"

#include "../../../core/thread_pool.h"
#include "epilogue.h"
#include "microkernel.h"
#include "narrow.h"
#include "pack.h"

namespace nft::cpu::NFT_ISA::gemm {

namespace {

// Slots of the inner dimension packed at a time. Longer products make several passes over a tile buffer in the workspace.
constexpr int64_t kPassSteps = 1536;
constexpr int kPassBlocks = 100;
static_assert(kPassBlocks >= kPassSteps / 16 + 2, "blocks of at least 32 elements, and a rest of either segment");
// Rows of packed A that stay in the second-level cache while panels of B stream by.
constexpr int64_t kCachedBytes = 512 << 10;
// Below this many multiply-adds waking other threads costs more than it saves.
constexpr int64_t kParallelWork = 1 << 17;

constexpr int64_t kRowPanelSlots = kLanes;  // per step
constexpr int64_t kColPanelSlots = kTileCols;

// Bytes of packed panels of one operand in a superblock: enough for an operand of a small model to be packed only once.
int64_t operand_limit(int threads) {
  const int64_t mib = int64_t{1} << 20;
  return threads <= 4 ? 4 * mib : min64(threads, 8) * mib;
}

// Sizes of a superblock, in panels.
struct Plan {
  int64_t pass_steps;              // longest pass
  int64_t row_panels, col_panels;  // of all of C
  int64_t max_rows, max_cols;      // panels of a superblock at most
  bool several_passes;
  int64_t a_bytes, b_bytes, tile_bytes;
};

// steps: of the whole inner dimension.
Plan make_plan(int64_t rows, int64_t cols, int64_t steps, int threads) {
  Plan p;
  const int64_t limit = operand_limit(threads);
  p.pass_steps = min64(steps, kPassSteps);
  p.row_panels = ceil_div(rows, kTileRows);
  p.col_panels = ceil_div(cols, kTileCols);
  const int64_t a_panel = p.pass_steps * kRowPanelSlots * 4, b_panel = p.pass_steps * kColPanelSlots * 4;
  p.max_rows = a_panel == 0 ? p.row_panels : min64(p.row_panels, limit / a_panel);
  p.max_cols = b_panel == 0 ? p.col_panels : min64(p.col_panels, limit / b_panel);
  p.several_passes = steps > kPassSteps;
  // The bounds and not the products: max_rows * a_panel can fall when inner grows, and a longer batch must never need less.
  p.a_bytes = min64(limit, p.row_panels * a_panel);
  p.b_bytes = min64(limit, p.col_panels * b_panel);
  p.tile_bytes = p.several_passes ? p.max_rows * p.max_cols * kTileSize * 4 : 0;
  return p;
}

size_t bytes_of(const Plan& p) { return static_cast<size_t>(p.a_bytes + p.b_bytes + p.tile_bytes); }

struct Block {
  const Segment* segment;
  int64_t begin, length;  // inner elements of the segment
  int64_t offset, steps;  // slots of the pass before it, and its own
};

NFT_INLINE int64_t steps_of(int64_t elements, int depth) { return ceil_div(elements, depth); }

// Cuts main, then tail, into blocks, a pass at a time.
class Passes {
 public:
  Passes(const Problem& p, int depth, int64_t block)
      : problem_(p), depth_(depth), block_(p.inner_block > 0 ? p.inner_block : block), segment_(&p.main) {}
  // Fills blocks with the next pass; the number of blocks, 0 after the last.
  int next(Block* blocks, int64_t* steps) {
    int count = 0;
    *steps = 0;
    while (count < kPassBlocks) {
      if (at_ == segment_->inner) {
        if (segment_ == &problem_.tail) break;
        segment_ = &problem_.tail;
        at_ = 0;
        continue;
      }
      const int64_t length = min64(block_, segment_->inner - at_);
      const int64_t more = steps_of(length, depth_);
      if (*steps + more > kPassSteps) break;
      blocks[count++] = {segment_, at_, length, *steps, more};
      at_ += length;
      *steps += more;
    }
    return count;
  }

 private:
  const Problem& problem_;
  const int depth_;
  const int64_t block_;
  const Segment* segment_;
  int64_t at_ = 0;
};

// One superblock of C in one pass.
struct Superblock {
  const Problem* problem;
  const Block* blocks;
  int block_count;
  int64_t steps;
  bool first_pass, last_pass;
  int64_t row0, rows, row_panels;  // row panel p: rows row0 + rows * p / row_panels ...
  int64_t col0, cols, col_panels;  // column panel q: columns col0 + q * kTileCols ...
  Slot *a, *b;
  float* tiles;

  int64_t panel_row(int64_t p) const { return rows * p / row_panels; }
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

// Row panels [begin, end).
template <class Panel>
void pack_row_panels(const Superblock& s, int64_t begin, int64_t end) {
  for (int i = 0; i < s.block_count; ++i) {
    const Segment& seg = *s.blocks[i].segment;
    with_float_type(seg.a.dtype, [&](auto type) {
      for_pack_steps<Panel>(s.blocks[i], seg.a_layout, [&](const Block& part) {
        for (int64_t p = begin; p < end; ++p) {
          const int64_t row = s.panel_row(p);
          Slot* dst = s.a + (p * s.steps + part.offset) * kRowPanelSlots;
          pack_operand<Panel, PlainRow<decltype(type)>>(seg.a, seg.a_layout, s.row0 + row, s.panel_row(p + 1) - row, part,
                                                        seg.a_scale, dst, kRowPanelSlots);
        }
      });
    });
  }
}

// Column panels [begin, end).
template <class Panel>
void pack_col_panels(const Superblock& s, int64_t begin, int64_t end) {
  for (int i = 0; i < s.block_count; ++i) {
    const Segment& seg = *s.blocks[i].segment;
    with_storage(seg.b.dtype, [&](auto row) {
      for_pack_steps<Panel>(s.blocks[i], seg.b_layout, [&](const Block& part) {
        for (int64_t q = begin; q < end; ++q) {
          Slot* dst = s.b + (q * s.steps + part.offset) * kColPanelSlots;
          const int64_t col = q * kTileCols, count = min64(kTileCols, s.cols - col);
          for (int64_t v = 0; v < count; v += kLanes)
            pack_operand<Panel, decltype(row)>(seg.b, seg.b_layout, s.col0 + col + v, min64(kLanes, count - v), part, 1,
                                               dst + v, kColPanelSlots);
        }
      });
    });
  }
}

template <class Panel>
void compute_tile(const Superblock& s, int64_t p, int64_t q) {
  alignas(64) float local[kTileSize];
  float* tile = s.tiles ? s.tiles + (p * s.col_panels + q) * kTileSize : local;
  const int64_t row = s.panel_row(p);
  const int rows = static_cast<int>(s.panel_row(p + 1) - row);
  const int cols = static_cast<int>(min64(kTileCols, s.cols - q * kTileCols));
  const Microkernel kernel = choose_microkernel<Panel>(rows, cols > kLanes ? 2 : 1);
  const Slot* a = s.a + p * s.steps * kRowPanelSlots;
  const Slot* b = s.b + q * s.steps * kColPanelSlots;
  for (int i = 0; i < s.block_count; ++i) {
    const Block& block = s.blocks[i];
    const bool first = s.first_pass && i == 0;
    kernel(block.steps, a + block.offset * kRowPanelSlots, b + block.offset * kColPanelSlots, tile, first);
  }
  if (s.block_count == 0) std::memset(tile, 0, sizeof(local));  // an empty sum
  if (s.last_pass) finish_tile(s.problem->out, tile, kTileCols, s.row0 + row, rows, s.col0 + q * kTileCols, cols);
}

// Tiles [begin, end) of the superblock, counted chunk of row panels by chunk, in it column by column.
template <class Panel>
void compute_tiles(const Superblock& s, int64_t begin, int64_t end) {
  const int64_t panel_bytes = s.steps * kRowPanelSlots * 4;
  const int64_t chunk = panel_bytes == 0 ? s.row_panels : kCachedBytes / panel_bytes;
  int64_t index = 0;
  for (int64_t p0 = 0; p0 < s.row_panels && index < end; p0 += chunk) {
    const int64_t height = min64(chunk, s.row_panels - p0);
    for (int64_t q = 0; q < s.col_panels && index < end; ++q, index += height) {
      if (index + height <= begin) continue;
      const int64_t from = index < begin ? begin - index : 0, to = min64(height, end - index);
      for (int64_t p = from; p < to; ++p) compute_tile<Panel>(s, p0 + p, q);
    }
  }
}

int64_t total_steps(const Problem& p, int depth) { return steps_of(p.main.inner, depth) + steps_of(p.tail.inner, depth); }

template <class Panel>
void multiply_panels(const Problem& problem, void* workspace, int threads) {
  const int64_t steps = total_steps(problem, Panel::kDepth), inner = problem.main.inner + problem.tail.inner;
  const Plan plan = make_plan(problem.rows, problem.cols, steps, threads);
  if (multiply_narrow<Panel>(problem, workspace, bytes_of(plan), threads)) return;
  const int workers = problem.rows * problem.cols * inner < kParallelWork ? 1 : threads;
  char* memory = static_cast<char*>(workspace);

  const int64_t row_blocks = ceil_div(plan.row_panels, plan.max_rows), col_blocks = ceil_div(plan.col_panels, plan.max_cols);
  const int64_t col_step = ceil_div(plan.col_panels, col_blocks) * kTileCols;
  for (int64_t col0 = 0; col0 < problem.cols; col0 += col_step) {
    for (int64_t block = 0; block < row_blocks; ++block) {
      Superblock s;
      s.problem = &problem;
      s.a = reinterpret_cast<Slot*>(memory);
      s.b = reinterpret_cast<Slot*>(memory + plan.a_bytes);
      s.tiles = plan.several_passes ? reinterpret_cast<float*>(memory + plan.a_bytes + plan.b_bytes) : nullptr;
      const int64_t panel0 = plan.row_panels * block / row_blocks, panel1 = plan.row_panels * (block + 1) / row_blocks;
      s.row0 = min64(panel0 * kTileRows, problem.rows);
      s.rows = min64(panel1 * kTileRows, problem.rows) - s.row0;
      s.row_panels = panel1 - panel0;
      s.col0 = col0;
      s.cols = min64(col_step, problem.cols - col0);
      s.col_panels = ceil_div(s.cols, kTileCols);

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
        const bool pack_a = row_blocks > 1 || col0 == 0 || plan.several_passes;
        ThreadPool::instance().run(workers, [&](int64_t t, int) {
          if (pack_a) pack_row_panels<Panel>(s, s.row_panels * t / workers, s.row_panels * (t + 1) / workers);
          if (pack_b) pack_col_panels<Panel>(s, s.col_panels * t / workers, s.col_panels * (t + 1) / workers);
        });
        const int64_t tiles = s.row_panels * s.col_panels;
        ThreadPool::instance().run(
            workers, [&](int64_t t, int) { compute_tiles<Panel>(s, tiles * t / workers, tiles * (t + 1) / workers); });
        s.first_pass = false;
      } while (!s.last_pass);
    }
  }
}

bool is_bf16(const Segment& s) {
  return s.inner == 0 || (s.a.dtype == DType::bf16 && s.b.dtype == DType::bf16 && s.a_scale == 1);
}

// Whether to multiply in bf16, where the processor can: exact where all operands are bf16; where the activations and the
// result are, operands in a finer format are rounded to bf16 as well.
bool in_bf16(const Problem& p) {
  if (p.main.a.dtype == DType::bf16 && p.out.dtype == DType::bf16) return kHasBf16Panel;
  return kHasBf16Panel && is_bf16(p.main) && is_bf16(p.tail);
}

}  // namespace

size_t workspace_bytes(const Problem& p, int threads) {
  if (p.rows == 0 || p.cols == 0) return 0;
  const int depth = in_bf16(p) ? 2 : 1;
  return bytes_of(make_plan(p.rows, p.cols, total_steps(p, depth), threads));
}

void multiply(const Problem& problem, void* workspace, int threads) {
  if (problem.rows == 0 || problem.cols == 0) return;
#if NFT_HAS_BF16_DOT
  if (in_bf16(problem)) return multiply_panels<Bf16Panel>(problem, workspace, threads);
#endif
  multiply_panels<F32Panel>(problem, workspace, threads);
}

}  // namespace nft::cpu::NFT_ISA::gemm
