// gather_rows and scatter_rows: whole rows, byte for byte.
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

void scatter_rows(const ScatterRows& a, Context&) {
  check::ids(ScatterRows::kName, "index", a.index, a.y.rows());
  const int32_t* ids = a.index.as<int32_t>();
  const size_t bytes = static_cast<size_t>(a.x.row_bytes());
  for_ranges(a.y.rows(), a.y.cols(), [&](int64_t row, int64_t begin, int64_t) {
    if (begin == 0) std::memset(a.y.row(row), 0, bytes);
  });
  for_ranges(a.x.rows(), a.x.cols(), [&](int64_t row, int64_t begin, int64_t) {
    if (begin == 0) std::memcpy(a.y.row(ids[row]), a.x.row(row), bytes);
  });
}

}  // namespace nft::cpu::NFT_ISA
