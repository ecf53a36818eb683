#include <cstring>

#include "../updates/all.h"
#include "../updates/block_states.h"
#include "fields.h"
#include "quantize.h"
#include "state.h"

namespace nft {

namespace check {

void float_type(const char* op, const char* argument, const Tensor& t) {
  if (!t.present || !is_float(t.dtype)) fail_dtype(op, argument, "f64, f32, f16 or bf16", t);
}
void any_weight(const char* op, const char* argument, const Tensor& t) {
  if (!t.present || !(is_float(t.dtype) || is_quantized(t.dtype))) fail_dtype(op, argument, "a float or quantized type", t);
}
void type(const char* op, const char* argument, const Tensor& t, DType wanted) {
  if (!t.present || t.dtype != wanted) fail_dtype(op, argument, info(wanted).name, t);
}
void accumulator(const char* op, const char* argument, const Tensor& t) {
  if (!t.present || (t.dtype != DType::f32 && t.dtype != DType::f64)) fail_dtype(op, argument, "f32 or f64", t);
}
void shape(const char* op, const char* argument, const Tensor& t, int64_t d0) {
  if (!t.present || t.num_elements() != d0) fail_shape(op, argument, "[" + std::to_string(d0) + "]", t);
  contiguous(op, argument, t);
}
void shape(const char* op, const char* argument, const Tensor& t, int64_t d0, int64_t d1) {
  if (!t.present || t.rows() != d0 || t.cols() != d1)
    fail_shape(op, argument, "[" + std::to_string(d0) + ", " + std::to_string(d1) + "]", t);
}
void same_shape(const char* op, const char* argument, const Tensor& t, const char* other_name, const Tensor& other) {
  if (!t.present || t.rows() != other.rows() || t.cols() != other.cols())
    fail_shape(op, argument, std::string("as large as ") + other_name + " " + describe(other), t);
}
void same_type(const char* op, const char* argument, const Tensor& t, const char* other_name, const Tensor& other) {
  if (!t.present || t.dtype != other.dtype)
    fail_dtype(op, argument, (std::string("of the type of ") + other_name + ", " + info(other.dtype).name).c_str(), t);
}
void dims(const char* op, const char* argument, const Tensor& t, int wanted) {
  if (!t.present || t.ndim != wanted) fail_shape(op, argument, std::to_string(wanted) + "-dimensional", t);
}
void contiguous(const char* op, const char* argument, const Tensor& t) {
  if (!t.contiguous()) fail_shape(op, argument, "contiguous", t);
}
void that(bool condition, const char* op, const char* argument, const char* requirement) {
  if (!condition) fail("ERR_SHAPE", std::string("[") + op + "] " + argument + " must be " + requirement);
}

static int64_t element(const Tensor& t, int64_t i) {
  return reinterpret_cast<const int32_t*>(t.row(i / t.cols()))[i % t.cols()];
}
static void in_range(const char* op, const char* argument, const Tensor& t, int64_t i, int64_t low, int64_t high) {
  const int64_t value = element(t, i);
  if (value < low || value > high)
    fail("ERR_SHAPE", std::string("[") + op + "] " + argument + " must be in [" + std::to_string(low) + ", " +
                          std::to_string(high) + "], got " + std::to_string(value) + " at position " + std::to_string(i));
}
void ids(const char* op, const char* argument, const Tensor& t, int64_t count) {
  for (int64_t i = 0; i < t.num_elements(); ++i) in_range(op, argument, t, i, 0, count - 1);
}
void targets(const char* op, const char* argument, const Tensor& t, int64_t count) {
  for (int64_t i = 0; i < t.num_elements(); ++i) in_range(op, argument, t, i, INT32_MIN, count - 1);
}
void offsets(const char* op, const char* argument, const Tensor& t, int64_t rows) {
  for (int64_t i = 0; i < t.num_elements(); ++i) in_range(op, argument, t, i, i == 0 ? 0 : element(t, i - 1), rows);
}

void state(const char* op, const char* name, const Tensor& state, const char* absmax_name, const Tensor& absmax,
           int64_t bits, const Tensor& weight) {
  if (!state.present) return;
  contiguous(op, name, state);
  if (!updates::is_coded(state)) {
    float_type(op, name, state);
    return same_shape(op, name, state, "weight", weight);
  }
  const int64_t elements = weight.num_elements(), block = updates::state_block(bits);
  if (bits == 4)
    shape(op, name, state, (elements + 1) / 2);
  else
    same_shape(op, name, state, "weight", weight);
  accumulator(op, absmax_name, absmax);
  shape(op, absmax_name, absmax, (elements + block - 1) / block);
}

void updated(const char* op, const Tensor& weight, const Tensor& grad) {
  float_type(op, "weight", weight);
  contiguous(op, "weight", weight);
  accumulator(op, "grad", grad);
  contiguous(op, "grad", grad);
  same_shape(op, "grad", grad, "weight", weight);
}

}  // namespace check

void UpdateRule::check(const char* op, const Tensor& weight) const {
  check::float_type(op, "weight", weight);
  check::contiguous(op, "weight", weight);
  check::that(step >= 1, op, "step", "1 or more");
  check::that(clip_value >= 0, op, "clip_value", "0 or more");
  check::that(state_bits == 8 || state_bits == 4, op, "state_bits", "8 or 4");
  int states = 0;
  const bool known = updates::with_rule<double>(*this, [&](const auto& rule) { states = rule.kStates; });
  check::that(known, op, "update_kind", "one of native/updates/updates.def");
  check::that(states < 1 || state0.present, op, "state0", "given for this update_kind");
  check::that(states < 2 || state1.present, op, "state1", "given for this update_kind");
  check::state(op, "state0", state0, "absmax0", absmax0, state_bits, weight);
  check::state(op, "state1", state1, "absmax1", absmax1, state_bits, weight);
  if (grad_squares.present) {
    check::type(op, "grad_squares", grad_squares, DType::f64);
    check::shape(op, "grad_squares", grad_squares, 1);
  }
}

void PackNf4::check_maps() const {
  check::that(std::memcmp(map.data, formats::kNf4Codebook, sizeof(formats::kNf4Codebook)) == 0, kName, "map",
              "the codebook of NF4");
  if (nested_map.present)
    check::that(std::memcmp(nested_map.data, formats::kDynamicMap, sizeof(formats::kDynamicMap)) == 0, kName, "nested_map",
                "the signed dynamic map of 256 values");
}

}  // namespace nft
