// gather_rows, scatter_rows and index_copy: whole rows, byte for byte.
#include "rows.h"
#include "../../core/context.h"
#include "../../ops/elementwise.h"

namespace nft::cpu::NFT_ISA {

void gather_rows(const GatherRows& a, Context&) {
  check::ids(GatherRows::kName, "index", a.index, a.x.rows());
  const int32_t* ids = a.index.as<int32_t>();
  const size_t bytes = static_cast<size_t>(a.x.row_bytes());
  for_ranges(a.y.rows(), a.y.cols(), [&](int64_t row, int64_t begin, int64_t) {
    if (begin == 0) std::memcpy(a.y.row(row), a.x.row(ids[row]), bytes);
  });
}

static void copy_rows(const Tensor& x, const Tensor& index, const Tensor& y) {
  const int32_t* ids = index.as<int32_t>();
  const size_t bytes = static_cast<size_t>(x.row_bytes());
  for_ranges(x.rows(), x.cols(), [&](int64_t row, int64_t begin, int64_t) {
    if (begin == 0) std::memcpy(y.row(ids[row]), x.row(row), bytes);
  });
}

void scatter_rows(const ScatterRows& a, Context&) {
  check::ids(ScatterRows::kName, "index", a.index, a.y.rows());
  const size_t bytes = static_cast<size_t>(a.x.row_bytes());
  for_ranges(a.y.rows(), a.y.cols(), [&](int64_t row, int64_t begin, int64_t) {
    if (begin == 0) std::memset(a.y.row(row), 0, bytes);
  });
  copy_rows(a.x, a.index, a.y);
}

void index_copy(const IndexCopy& a, Context&) {
  check::ids(IndexCopy::kName, "index", a.index, a.y.rows());
  copy_rows(a.x, a.index, a.y);
}

}  // namespace nft::cpu::NFT_ISA
