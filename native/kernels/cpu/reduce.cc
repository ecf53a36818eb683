#include "../../ops/reduce.h"

#include "../../core/context.h"
#include "rows.h"

namespace nft::cpu::NFT_ISA {

namespace {

constexpr int64_t kBlock = 4096;  // elements of one partial sum

// Eight lanes on every instruction set, so that the sum is the same on all of them.
typedef double f64x8 __attribute__((vector_size(64)));
typedef float f32x8 __attribute__((vector_size(32)));

NFT_INLINE f64x8 squares(const float* p) {
  f32x8 part;
  std::memcpy(&part, p, sizeof(part));
  const f64x8 v = __builtin_convertvector(part, f64x8);
  return v * v;
}

double sum_of_squares_of_block(const Tensor& x, int64_t begin, int64_t end) {
  constexpr int kChains = 4;  // one chain of additions would wait for itself
  alignas(64) float buffer[kTile];
  f64x8 sum[kChains] = {};
  for (int64_t at = begin; at < end; at += kTile) {
    const int64_t n = min64(kTile, end - at);
    const float* p = load_tile(x, 0, at, n, buffer);
    int64_t i = 0;
    for (; i + 8 * kChains <= n; i += 8 * kChains)
      for (int k = 0; k < kChains; ++k) sum[k] += squares(p + i + 8 * k);
    for (; i < n; i += 8) {
      float rest[8] = {};
      for (int64_t k = 0; k < min64(8, n - i); ++k) rest[k] = p[i + k];
      sum[0] += squares(rest);
    }
  }
  const f64x8 t = (sum[0] + sum[1]) + (sum[2] + sum[3]);
  return ((t[0] + t[4]) + (t[1] + t[5])) + ((t[2] + t[6]) + (t[3] + t[7]));
}

}  // namespace

size_t sum_of_squares_workspace(const SumOfSquares& a, const Context&) {
  return static_cast<size_t>(ceil_div(a.x.num_elements(), kBlock)) * sizeof(double);
}

void sum_of_squares(const SumOfSquares& a, Context& context) {
  require_float(SumOfSquares::kName, "x", a.x);
  const int64_t elements = a.x.num_elements(), blocks = ceil_div(elements, kBlock);
  double* partial = static_cast<double*>(context.workspace);
  constexpr int64_t kItemBlocks = kItemElements / kBlock;
  ThreadPool::instance().run(ceil_div(blocks, kItemBlocks), [&](int64_t item, int) {
    for (int64_t b = item * kItemBlocks; b < min64(blocks, (item + 1) * kItemBlocks); ++b)
      partial[b] = sum_of_squares_of_block(a.x, b * kBlock, min64(elements, (b + 1) * kBlock));
  });
  double sum = 0;
  for (int64_t b = 0; b < blocks; ++b) sum += partial[b];
  *a.out.as<double>() += sum;
}

}  // namespace nft::cpu::NFT_ISA
