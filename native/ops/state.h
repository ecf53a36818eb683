#pragma once
#include "fields.h"

namespace nft::check {

// An optimizer state of the size of weight: float, or u8 with its absmax of so many bits (updates/block_states.h). Absent
// ones pass.
void state(const char* op, const char* name, const Tensor& state, const char* absmax_name, const Tensor& absmax,
           int64_t bits, const Tensor& weight);
// A weight that an op updates as a whole, and its gradient.
void updated(const char* op, const Tensor& weight, const Tensor& grad);

}  // namespace nft::check
