#include "../../ops/embedding.h"

#include "../../core/context.h"
#include "access.h"
#include "embedding.h"
#include "update.h"

namespace nft::ref {

void embedding_forward(const EmbeddingForward& a, Context&) {
  check::ids(a.kName, "ids", a.ids, a.weight.rows());
  for (int64_t n = 0; n < a.y.rows(); ++n)
    for (int64_t c = 0; c < a.y.cols(); ++c) set(a.y, n, c, a.scale * at(a.weight, index_at(a.ids, n), c));
}

void add_embedding_gradient(const char* op, const Tensor& ids, const Tensor& dy, double scale, Matrix& dweight) {
  check::ids(op, "ids", ids, dweight.rows);
  for (int64_t n = 0; n < dy.rows(); ++n)
    for (int64_t c = 0; c < dy.cols(); ++c) dweight(index_at(ids, n), c) += scale * at(dy, n, c);
}

void embedding_backward(const EmbeddingBackward& a, Context&) {
  Matrix dweight = load(a.dweight);
  add_embedding_gradient(a.kName, a.ids, a.dy, a.scale, dweight);
  store(a.dweight, dweight);
}

void embedding_update(const EmbeddingUpdate& a, Context&) {
  Matrix dweight(a.weight.rows(), a.weight.cols());
  add_embedding_gradient(a.kName, a.ids, a.dy, a.scale, dweight);
  update(a.rule, a.weight, dweight);
}

}  // namespace nft::ref
