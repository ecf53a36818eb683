#pragma once
// The optimizer update that optimizer_update and the fused weight gradients share.
#include "../../ops/fields.h"
#include "access.h"

namespace nft::ref {

// weight = update(weight, grad), element by element; states are updated in place.
void update(const UpdateRule& rule, const Tensor& weight, const Matrix& grad);

// Element i of a weight, rounded stochastically where asked for and the weight has 16 bits.
void store_weight(const Tensor& weight, int64_t stochastic_rounding, int64_t seed, int64_t i, double value);

}  // namespace nft::ref
