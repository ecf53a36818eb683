#pragma once
// The softmax of tokens over the vocabulary and, with it, the sum of the weight's rows by their probability, in one pass
// over the weight: as in Milakov & Gimelshein 2018 (arXiv 1805.02867, algorithm 3) and FlashAttention (Dao et al. 2022,
// arXiv 2205.14135), each token has a running maximum m and, over the blocks of the vocabulary so far,
//   s = sum exp(z[v] - m);   o = sum exp(z[v] - m) dz[v]/dlogit W[v]
// without the target's v; where m rises, s and o shrink. A block of the weight is packed once for each of its two products.
// From a panel of tokens' logits the exponentials go straight into the packed operand of the second product, so that both
// products run at the microkernel's speed. An element depends on its token alone, not on its neighbours or on threads.
#include "cross_entropy.h"
#include "gemm/gemm.h"
#include "gemm/microkernel.h"
#include "gemm/pack.h"

namespace nft::cpu::NFT_ISA {

using namespace gemm;

static_assert(kTileRows <= kLanes, "a lane for each row of a panel");

struct VocabularyPass {
  // Rows of the weight in a block, as slots of the second product: both packed forms of a block then fit the second-level
  // cache, for a width up to about a thousand.
  static constexpr int64_t kBlockSteps = 128;
  // What the maximum may fall behind: exponentials grow up to e^5, which costs an f32 or bf16 no accuracy.
  static constexpr float kTolerated = 5;
  // Below this many multiply-adds in a block waking other threads costs more than it saves.
  static constexpr int64_t kParallelWork = 1 << 17;

  // Of the tokens of one panel; lanes are rows.
  struct Statistics {
    float maximum[kLanes];  // m: no logit so far is more than kTolerated above it
    float target[kLanes];   // the target's logit, once its block has passed
    double sum[kLanes];     // s
  };

  Matrix h;  // the tokens are the rows that its index lists
  Tensor weight;
  const int32_t* targets;  // by the same index
  float softcap = 0;
  bool sums = false;  // whether o is made
  int64_t tokens = 0;
  int threads = 1;
  float* logits = nullptr;  // [tokens, vocabulary], where they are to be kept; with the cap
  int64_t logit_stride = 0;

  // Workspace.
  Slot *packed_h, *packed_rows, *packed_columns;
  Statistics* statistics;  // by panel
  float* tiles;            // o: [panel][tile of columns]
  char* scratch;           // logits and operand of a panel, for each thread

  NFT_MEMBER int64_t panel_count() const { return panel_count(tokens, threads); }
  NFT_MEMBER int64_t panel_row(int64_t p) const { return tokens * p / panel_count(); }
  NFT_MEMBER int64_t sum_tiles() const { return ceil_div(weight.cols(), kTileCols); }
  // kTileCols elements of o, from column q * kTileCols on.
  NFT_MEMBER float* sums_of(int64_t p, int64_t row, int64_t q) const {
    return tiles + (p * sum_tiles() + q) * kTileSize + row * kTileCols;
  }

  // As many for each thread.
  static NFT_MEMBER int64_t panel_count(int64_t tokens, int threads) {
    return min64(tokens, ceil_div(ceil_div(tokens, kTileRows), threads) * threads);
  }
};

// How exponentials are stored for the second product.
template <class Panel>
struct PanelOperand;

template <>
struct PanelOperand<F32Panel> {
  // A tile's exponentials e[vector of columns][row], as kTileCols steps.
  static NFT_MEMBER void store(f32v (&e)[kTileVectors][kLanes], Slot* dst) {
    for (int v = 0; v < kTileVectors; ++v) {
      transpose(e[v]);
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) F32::store(reinterpret_cast<float*>(dst) + (v * kLanes + i) * kLanes, e[v][i]);
    }
  }
};
#if NFT_HAS_BF16_DOT
template <>
struct PanelOperand<Bf16Panel> {
  static NFT_MEMBER void store(f32v (&e)[kTileVectors][kLanes], Slot* dst) {
    f32v pairs[kLanes];
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) pairs[i] = as_f32(pack_bf16(e[0][i], e[1][i]));
    transpose(pairs);
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) F32::store(reinterpret_cast<float*>(dst) + i * kLanes, pairs[i]);
  }
};
#endif

// LogitPanel: of h W^T; SumPanel: of the product of the exponentials and W.
template <class LogitPanel, class SumPanel>
class VocabularyPassOn {
 public:
  explicit VocabularyPassOn(const VocabularyPass& pass) : a_(pass) {}

  static constexpr int64_t kBlock = VocabularyPass::kBlockSteps * SumPanel::kDepth;

  // Sets the workspace of the pass to parts of memory; returns their bytes. They never fall when there are more tokens.
  static int64_t take(VocabularyPass& a, char* memory) {
    int64_t at = 0;
    const auto part = [&](int64_t bytes) {
      char* p = memory + at;
      at += ceil_div(bytes, 64) * 64;
      return p;
    };
    const int64_t count = a.panel_count(), block = min64(kBlock, a.weight.rows()), width = a.weight.cols();
    const int64_t logit_tiles = ceil_div(block, kTileCols), sum_tiles = a.sums ? a.sum_tiles() : 0;
    a.packed_h = reinterpret_cast<Slot*>(part(count * logit_steps(width) * kLanes * 4));
    a.packed_rows = reinterpret_cast<Slot*>(part(logit_tiles * logit_steps(width) * kTileCols * 4));
    a.packed_columns = reinterpret_cast<Slot*>(part(sum_tiles * VocabularyPass::kBlockSteps * kTileCols * 4));
    a.statistics = reinterpret_cast<VocabularyPass::Statistics*>(
        part(count * static_cast<int64_t>(sizeof(VocabularyPass::Statistics))));
    a.tiles = reinterpret_cast<float*>(part(count * sum_tiles * kTileSize * 4));
    a.scratch = part(a.threads * scratch_bytes());
    return at;
  }

  void run() {
    const int64_t work = a_.tokens * min64(kBlock, a_.weight.rows()) * a_.weight.cols();
    const int workers = work < VocabularyPass::kParallelWork ? 1 : a_.threads;
    const int64_t count = a_.panel_count();
    ThreadPool::instance().run(workers, [&](int64_t t, int) {
      for (int64_t p = count * t / workers; p < count * (t + 1) / workers; ++p) begin_panel(p);
    });
    for (int64_t first = 0; first < a_.weight.rows(); first += kBlock) {
      const int64_t rows = min64(kBlock, a_.weight.rows() - first);
      ThreadPool::instance().run(workers, [&](int64_t t, int) { pack_weight(first, rows, t, workers); });
      ThreadPool::instance().run(workers, [&](int64_t t, int) {
        for (int64_t p = count * t / workers; p < count * (t + 1) / workers; ++p) advance(p, first, rows, t);
      });
    }
  }

 private:
  static constexpr int64_t kTiles = kBlock / kTileCols;  // of logits in a block
  static constexpr int64_t kTileSteps = kTileCols / SumPanel::kDepth;

  static NFT_MEMBER int64_t logit_steps(int64_t width) { return ceil_div(width, LogitPanel::kDepth); }
  static NFT_MEMBER int64_t scratch_bytes() { return kTiles * kTileSize * 4 + VocabularyPass::kBlockSteps * kLanes * 4; }

  void begin_panel(int64_t p) {
    VocabularyPass::Statistics& panel = a_.statistics[p];
    for (int i = 0; i < kLanes; ++i) panel.maximum[i] = -__builtin_inff(), panel.target[i] = 0, panel.sum[i] = 0;
    const int64_t row = a_.panel_row(p), steps = logit_steps(a_.weight.cols());
    with_float_type(a_.h.dtype, [&](auto type) {
      pack_rows<LogitPanel, PlainRow<decltype(type)>>(a_.h, row, static_cast<int>(a_.panel_row(p + 1) - row), 0,
                                                      a_.weight.cols(), 1, a_.packed_h + p * steps * kLanes, kLanes);
    });
  }

  // Worker t's part of the block, for both products.
  void pack_weight(int64_t first, int64_t rows, int64_t t, int64_t workers) {
    const Matrix weight = matrix(a_.weight);
    const int64_t width = a_.weight.cols(), steps = logit_steps(width), logit_tiles = ceil_div(rows, kTileCols);
    with_storage(weight.dtype, [&](auto storage) {
      using Row = decltype(storage);
      for (int64_t q = logit_tiles * t / workers; q < logit_tiles * (t + 1) / workers; ++q)
        for (int64_t v = 0, left = rows - q * kTileCols; v < min64(left, kTileCols); v += kLanes)
          pack_rows<LogitPanel, Row>(weight, first + q * kTileCols + v, static_cast<int>(min64(kLanes, left - v)), 0, width,
                                     1, a_.packed_rows + q * steps * kTileCols + v, kTileCols);
      const int64_t sum_tiles = a_.sums ? a_.sum_tiles() : 0;
      for (int64_t k = 0; k < rows; k += kPackRows)
        for (int64_t q = sum_tiles * t / workers; q < sum_tiles * (t + 1) / workers; ++q) {
          Slot* dst = a_.packed_columns + (q * VocabularyPass::kBlockSteps + k / SumPanel::kDepth) * kTileCols;
          for (int64_t v = 0, left = width - q * kTileCols; v < min64(left, kTileCols); v += kLanes)
            pack_columns<SumPanel, Row>(weight, q * kTileCols + v, static_cast<int>(min64(kLanes, left - v)), first + k,
                                        min64(kPackRows, rows - k), 1, dst + v, kTileCols);
        }
    });
  }

  // Takes rows [first, first + count) of the weight into panel p.
  void advance(int64_t p, int64_t first, int64_t count, int64_t t) {
    float* z = reinterpret_cast<float*>(a_.scratch + t * scratch_bytes());
    Slot* operand = reinterpret_cast<Slot*>(z + kTiles * kTileSize);
    const int rows = static_cast<int>(a_.panel_row(p + 1) - a_.panel_row(p));
    make_logits(p, rows, count, z);
    cap(rows, count, z);
    if (a_.logits) keep_logits(p, rows, first, count, z);
    f32v shrink;
    const f32v maximum = raise_maximum(p, rows, count, z, &shrink);
    if (first > 0 && a_.sums) rescale(p, rows, shrink);
    take_targets(p, rows, first, count, z);
    const f32v sum = exponentials(rows, count, z, maximum, a_.sums ? operand : nullptr);
    VocabularyPass::Statistics& panel = a_.statistics[p];
    for (int i = 0; i < rows; ++i) panel.sum[i] = panel.sum[i] * shrink[i] + sum[i];
    if (a_.sums) add_sums(p, rows, first, count, operand);
  }

  void make_logits(int64_t p, int rows, int64_t count, float* z) {
    const int64_t steps = logit_steps(a_.weight.cols()), block = LogitPanel::kBlock / LogitPanel::kDepth;
    const Slot* x = a_.packed_h + p * steps * kLanes;
    for (int64_t q = 0; q * kTileCols < count; ++q) {
      const Microkernel kernel = choose_microkernel<LogitPanel>(rows, count - q * kTileCols > kLanes ? 2 : 1);
      const Slot* w = a_.packed_rows + q * steps * kTileCols;
      for (int64_t k = 0; k < steps; k += block)
        kernel(min64(block, steps - k), x + k * kLanes, w + k * kTileCols, z + q * kTileSize, k == 0);
    }
  }

  // Caps the logits, and fills the columns of the last tile that do not exist.
  void cap(int rows, int64_t count, float* z) {
    if (a_.softcap > 0)
      for (int64_t q = 0; q * kTileCols < count; ++q) cap_logits(z + q * kTileSize, rows * kTileCols, a_.softcap);
    const int64_t q = (count - 1) / kTileCols;
    for (int i = 0; i < rows; ++i)
      for (int64_t c = count - q * kTileCols; c < kTileCols; ++c) z[q * kTileSize + i * kTileCols + c] = -__builtin_inff();
  }

  void keep_logits(int64_t p, int rows, int64_t first, int64_t count, const float* z) {
    for (int i = 0; i < rows; ++i) {
      float* row = a_.logits + (a_.panel_row(p) + i) * a_.logit_stride + first;
      for (int64_t q = 0; q * kTileCols < count; ++q)
        std::memcpy(row + q * kTileCols, z + q * kTileSize + i * kTileCols,
                    static_cast<size_t>(min64(kTileCols, count - q * kTileCols)) * sizeof(float));
    }
  }

  // The maximum that exponentials are taken relative to, by row, and exp(what it was - what it is).
  f32v raise_maximum(int64_t p, int rows, int64_t count, const float* z, f32v* shrink) {
    const f32v none = set1(-__builtin_inff());
    f32v found[kLanes];
    for (int i = 0; i < kLanes; ++i) {
      f32v best[kTileVectors] = {none, none};
      for (int64_t q = 0; i < rows && q * kTileCols < count; ++q)
        for (int v = 0; v < kTileVectors; ++v)
          best[v] = simd::max(best[v], F32::load(z + q * kTileSize + i * kTileCols + v * kLanes));
      found[i] = simd::max(best[0], best[1]);
    }
    const f32v block = fold_rows(found, [](f32v x, f32v y) { return simd::max(x, y); });
    float* maximum = a_.statistics[p].maximum;
    const f32v old = F32::load(maximum), grown = select(block > old + VocabularyPass::kTolerated, block, old);
    F32::store(maximum, grown);
    const f32v finite = select(grown == none, zero(), grown);
    // While nothing is summed there is nothing to rescale.
    *shrink = select(old == none, set1(1), simd::exp(old - finite));
    return finite;
  }

  void rescale(int64_t p, int rows, f32v shrink) {
    for (int i = 0; i < rows; ++i) {
      if (shrink[i] == 1) continue;
      for (int64_t q = 0; q < a_.sum_tiles(); ++q) {
        float* o = a_.sums_of(p, i, q);
        for (int c = 0; c < kTileCols; ++c) o[c] *= shrink[i];
      }
    }
  }

  // Notes the logit of the targets in the block, and takes them out of it.
  void take_targets(int64_t p, int rows, int64_t first, int64_t count, float* z) {
    for (int i = 0; i < rows; ++i) {
      const int64_t target = a_.targets[a_.h.index[a_.panel_row(p) + i]] - first;
      if (target < 0 || target >= count) continue;
      float& at_target = z[target / kTileCols * kTileSize + i * kTileCols + target % kTileCols];
      a_.statistics[p].target[i] = at_target;
      at_target = -__builtin_inff();
    }
  }

  // The sum of exp(z - maximum) by row. operand: exp(z - maximum) dz/dlogit, packed.
  f32v exponentials(int rows, int64_t count, const float* z, f32v maximum, Slot* operand) {
    float row_maximum[kLanes];
    F32::store(row_maximum, maximum);
    const float inverse = a_.softcap > 0 ? 1 / a_.softcap : 0;
    f32v sum[kLanes];
    for (int i = 0; i < kLanes; ++i) sum[i] = zero();
    for (int64_t q = 0; q * kTileCols < count; ++q) {
      f32v e[kTileVectors][kLanes];
      for (int i = rows; i < kLanes; ++i)
        for (int v = 0; v < kTileVectors; ++v) e[v][i] = zero();
      for (int i = 0; i < rows; ++i)
        for (int v = 0; v < kTileVectors; ++v) {
          const f32v x = F32::load(z + q * kTileSize + i * kTileCols + v * kLanes);
          e[v][i] = simd::exp(x - row_maximum[i]);
          sum[i] += e[v][i];
          if (a_.softcap > 0) {
            const f32v t = x * inverse;
            e[v][i] *= simd::max(zero(), 1.f - t * t);  // 0 where z is taken out
          }
        }
      if (operand) PanelOperand<SumPanel>::store(e, operand + q * kTileSteps * kLanes);
    }
    return fold_rows(sum, [](f32v x, f32v y) { return x + y; });
  }

  void add_sums(int64_t p, int rows, int64_t first, int64_t count, const Slot* operand) {
    for (int64_t q = 0; q < a_.sum_tiles(); ++q) {
      // The sums have left the cache since the block before; the product takes long enough to fetch them.
      for (int i = 0; i < rows * kTileVectors; ++i)
        prefetch(reinterpret_cast<const char*>(a_.sums_of(p, 0, q) + i * kLanes));
      const Microkernel kernel = choose_microkernel<SumPanel>(rows, a_.weight.cols() - q * kTileCols > kLanes ? 2 : 1);
      kernel(ceil_div(count, SumPanel::kDepth), operand, a_.packed_columns + q * VocabularyPass::kBlockSteps * kTileCols,
             a_.sums_of(p, 0, q), first == 0);
    }
  }

  const VocabularyPass& a_;
};

// Calls f(VocabularyPassOn<...>) for operands of these types. Products whose activations are bf16 are made in bf16 where the
// processor can, with a finer weight rounded for the second one only.
template <class F>
NFT_INLINE void with_vocabulary_pass(const VocabularyPass& pass, F&& f) {
#if NFT_HAS_BF16_DOT
  if (pass.h.dtype == DType::bf16) {
    if (pass.weight.dtype == DType::bf16) return f(VocabularyPassOn<Bf16Panel, Bf16Panel>(pass));
    return f(VocabularyPassOn<F32Panel, Bf16Panel>(pass));
  }
#endif
  f(VocabularyPassOn<F32Panel, F32Panel>(pass));
}

}  // namespace nft::cpu::NFT_ISA
