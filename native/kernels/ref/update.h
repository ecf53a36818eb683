#pragma once
// The optimizer update that optimizer_update and the fused weight gradients share.
#include "../../ops/fields.h"
#include "access.h"

namespace nft::ref {

// weight = update(weight, grad), element by element; states are updated in place.
void update(const UpdateRule& rule, const Tensor& weight, const Matrix& grad);

}  // namespace nft::ref
