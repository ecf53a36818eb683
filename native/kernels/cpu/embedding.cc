// Embedding lookup and its gradient: see ops/embedding.h.
#include "embedding.h"

#include "../../core/context.h"
#include "../../ops/embedding.h"
#include "gemm/storage.h"
#include "update.h"

namespace nft::cpu::NFT_ISA {

using namespace gemm;

namespace {

constexpr int64_t kStripBytes = 1 << 20;
constexpr int64_t kColumnChunk = 64;

// Rows of the gradient that are formed at a time.
int64_t strip_rows(const EmbeddingUpdate& a) {
  const int64_t multiple = update_row_multiple(a.rule, a.weight);
  const int64_t fit = kStripBytes / (4 * max64(1, a.weight.cols()));
  return min64(max64(1, a.weight.rows()), max64(multiple, fit / multiple * multiple));
}

const int32_t* id_data(const Tensor& ids) { return ids.as<const int32_t>(); }

}  // namespace

void embedding_forward(const EmbeddingForward& a, Context&) {
  require_weight(a.kName, "weight", a.weight);
  require_float(a.kName, "y", a.y);
  check::contiguous(a.kName, "ids", a.ids);
  check::ids(a.kName, "ids", a.ids, a.weight.rows());
  const int64_t rows = a.y.rows(), cols = a.y.cols();
  const f32v scale = set1(static_cast<float>(a.scale));
  with_storage(a.weight.dtype, [&](auto row) {
    using Row = decltype(row);
    for_ranges(rows, cols, [&](int64_t n, int64_t begin, int64_t end) {
      const char* w = a.weight.row(id_data(a.ids)[n]);
      char* y = a.y.row(n);
      for (int64_t c = begin; c < end; c += kLanes) {
        const int count = static_cast<int>(min64(kLanes, end - c));
        store_float(a.y.dtype, y, c, Row::load(w, c, count) * scale, count);
      }
    });
  });
}

// Each work item owns some columns and walks all tokens: repeated ids need no locks and are added in order.
void add_embedding_rows(const Tensor& ids, const Tensor& dy, float scale, int64_t first, int64_t count, float* rows) {
  const int64_t tokens = dy.rows(), cols = dy.cols();
  const int32_t* id = id_data(ids);
  const f32v factor = set1(scale);
  ThreadPool::instance().run(ceil_div(cols, kColumnChunk), [&](int64_t item, int) {
    const int64_t begin = item * kColumnChunk, end = min64(cols, begin + kColumnChunk);
    for (int64_t n = 0; n < tokens; ++n) {
      const int64_t r = id[n] - first;
      if (r < 0 || r >= count) continue;
      const char* g = dy.row(n);
      float* d = rows + r * cols;
      for (int64_t c = begin; c < end; c += kLanes) {
        const int width = static_cast<int>(min64(kLanes, end - c));
        store_n(d + c, load_n(d + c, width) + factor * load_float(dy.dtype, g, c, width), width);
      }
    }
  });
}

void embedding_backward(const EmbeddingBackward& a, Context&) {
  require_float(a.kName, "dy", a.dy);
  require_f32(a.kName, "dweight", a.dweight);
  check::contiguous(a.kName, "ids", a.ids);
  check::ids(a.kName, "ids", a.ids, a.dweight.rows());
  add_embedding_rows(a.ids, a.dy, static_cast<float>(a.scale), 0, a.dweight.rows(), a.dweight.as<float>());
}

size_t embedding_update_workspace(const EmbeddingUpdate& a, const Context&) {
  return static_cast<size_t>(strip_rows(a) * a.weight.cols() * 4);
}

void embedding_update(const EmbeddingUpdate& a, Context& c) {
  require_float(a.kName, "dy", a.dy);
  require_update(a.kName, a.rule, a.weight);
  check::contiguous(a.kName, "ids", a.ids);
  check::ids(a.kName, "ids", a.ids, a.weight.rows());
  float* grad = static_cast<float*>(c.workspace);
  const int64_t rows = a.weight.rows(), cols = a.weight.cols(), step = strip_rows(a);
  for (int64_t first = 0; first < rows; first += step) {
    const int64_t count = min64(step, rows - first);
    std::memset(grad, 0, static_cast<size_t>(count * cols) * 4);
    add_embedding_rows(a.ids, a.dy, static_cast<float>(a.scale), first, count, grad);
    update_range(a.rule, a.weight, first * cols, count * cols, grad);
  }
}

}  // namespace nft::cpu::NFT_ISA
