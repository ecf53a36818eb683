#pragma once
// The embedding's weight gradient, which a tied head's update shares.
#include "access.h"

namespace nft::ref {

// dweight[ids[n]] += scale * dy[n], n rising.
void add_embedding_gradient(const char* op, const Tensor& ids, const Tensor& dy, double scale, Matrix& dweight);

}  // namespace nft::ref
