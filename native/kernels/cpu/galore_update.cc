// GaLore's Adam of one matrix; the projected step comes back a strip of rows at a time: see ops/galore_update.h.
#include "../../ops/galore_update.h"

#include "low_rank.h"

namespace nft::cpu::NFT_ISA {

namespace {

constexpr int64_t kStripBytes = 2 << 20, kLeastRows = 64;

int64_t strip_rows(const LowRank& s) { return min64(s.rows, max64(kLeastRows, kStripBytes / (4 * s.cols))); }

struct Scratch {
  float *basis, *low, *step, *strip;
  char* rest;
  size_t bytes;
};

Scratch scratch(const GaloreUpdate& a, void* memory) {
  const LowRank s = a.sizes();
  Pieces pieces(memory);
  Scratch t;
  t.basis = pieces.take<float>(a.basis.dtype == DType::u8 ? s.basis_elements() : 0);
  t.low = pieces.take<float>(s.low_elements());
  t.step = pieces.take<float>(s.low_elements());
  t.strip = pieces.take<float>(strip_rows(s) * s.cols);
  t.rest = pieces.rest();
  t.bytes = pieces.bytes();
  return t;
}

}  // namespace

size_t galore_update_workspace(const GaloreUpdate& a, const Context& c) {
  const LowRank s = a.sizes();
  const size_t there = gemm::workspace_bytes(project(s, nullptr, nullptr, nullptr), c.threads);
  const size_t back = gemm::workspace_bytes(project_back(s, nullptr, nullptr, 0, strip_rows(s), nullptr), c.threads);
  return scratch(a, nullptr).bytes + largest(there, back);
}

void galore_update(const GaloreUpdate& a, Context& c) {
  const LowRank s = a.sizes();
  require_low_rank(a.kName, a.weight, a.grad, s, a.adam);
  if (a.basis.dtype != DType::u8) require_f32(a.kName, "basis", a.basis);
  require_f32(a.kName, "ranges", a.ranges);
  const Scratch t = scratch(a, c.workspace);
  const float* basis = load_basis(s, a.basis, a.ranges, t.basis);
  gemm::multiply(project(s, a.grad.as<float>(), basis, t.low), t.rest, c.threads);
  adam_step(s, a.adam, t.low, t.step);

  const double rate = a.adam.learning_rate;
  const float factor = static_cast<float>(rate * a.scale), decay = static_cast<float>(1 - rate * a.adam.weight_decay);
  const int64_t strip = strip_rows(s);
  for (int64_t first = 0; first < s.rows; first += strip) {
    const int64_t rows = min64(strip, s.rows - first), elements = rows * s.cols;
    gemm::multiply(project_back(s, t.step, basis, first, rows, t.strip), t.rest, c.threads);
    ThreadPool::instance().run(ceil_div(elements, kItemElements), [&](int64_t item, int) {
      const int64_t end = min64(elements, (item + 1) * kItemElements);
      alignas(64) float w[kTile];
      for (int64_t i = item * kItemElements; i < end; i += kTile) {
        const int64_t n = min64(kTile, end - i), at = first * s.cols + i;
        load_weight(a.weight, at, n, w);
        for (int64_t j = 0; j < n; ++j) w[j] = (w[j] + factor * t.strip[i + j]) * decay;
        store_weight(a.weight, a.adam.stochastic_rounding, a.adam.seed, at, n, w);
      }
    });
  }
}

}  // namespace nft::cpu::NFT_ISA
