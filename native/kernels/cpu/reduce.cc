#include "../../ops/reduce.h"

#include "../../core/context.h"
#include "rows.h"
#include "squares.h"

namespace nft::cpu::NFT_ISA {

namespace {

constexpr int64_t kBlock = 4096;  // elements of one partial sum

double sum_of_squares_of_block(const Tensor& x, int64_t begin, int64_t end) {
  alignas(64) float buffer[kTile];
  Squares sum;
  for (int64_t at = begin; at < end; at += kTile) {
    const int64_t n = min64(kTile, end - at);
    sum.add(load_tile(x, 0, at, n, buffer), n);
  }
  return sum.total();
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
