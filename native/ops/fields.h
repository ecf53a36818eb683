#pragma once
// Every op is an argument struct with
//   static constexpr const char* kName
//   template <class V> void fields(V& v)   visits each argument once, in order: bindings/ unpacks with it, describe() prints
//                                          the schema that lib/native/ops.ts is generated from
//   void check() const                     the shape rule: throws Error("[op] argument must be ..., got ...")
// Access of a tensor argument: in (read), out (written, contents before are ignored), inout (read and written).
// A trailing _optional may be left out; then Tensor::present is false.
#include "../core/errors.h"
#include "../core/tensor.h"

namespace nft {

enum class Access : int32_t { in, out, inout };

// Rule for optimizer updates that run element by element, alone (optimizer_update) or in the epilogue of a weight gradient.
// kind indexes updates.def. What state and hyper mean is said in the header of each rule in native/updates/.
struct UpdateRule {
  int64_t kind = 0;
  Tensor state0, state1;    // shape of the weight; f32 or bf16 (f64 on ref), or u8: codes of updates/block_states.h
  Tensor absmax0, absmax1;  // largest magnitude of each block of a u8 state, f32 (f64 on ref)
  int64_t state_bits = 8;   // of the codes of a u8 state; 4: two a byte, shape [(elements + 1) / 2]
  Tensor grad_squares;      // [1] f64: the sum of the squares of the gradient, unscaled and not clamped, is added
  double learning_rate = 0;
  double weight_decay = 0;  // decoupled: w *= 1 - learning_rate * weight_decay, before the step
  double grad_scale = 1;    // multiplies the gradient: 1 / loss scale, global-norm clip coefficient
  double clip_value = 0;    // clamps the scaled gradient to [-clip_value, clip_value]; 0 = off
  double hyper0 = 0, hyper1 = 0, hyper2 = 0, hyper3 = 0;
  int64_t step = 1;                 // optimizer step, from 1
  int64_t seed = 0;                 // key of the stochastic rounding; element i uses bits16(seed, i)
  int64_t stochastic_rounding = 0;  // 1: 16-bit weights are rounded stochastically

  template <class V>
  void fields(V& v) {
    v.integer("update_kind", kind);
    v.tensor_optional("state0", Access::inout, state0);
    v.tensor_optional("state1", Access::inout, state1);
    v.tensor_optional("absmax0", Access::inout, absmax0);
    v.tensor_optional("absmax1", Access::inout, absmax1);
    v.integer("state_bits", state_bits);
    v.tensor_optional("grad_squares", Access::inout, grad_squares);
    v.real("learning_rate", learning_rate);
    v.real("weight_decay", weight_decay);
    v.real("grad_scale", grad_scale);
    v.real("clip_value", clip_value);
    v.real("hyper0", hyper0);
    v.real("hyper1", hyper1);
    v.real("hyper2", hyper2);
    v.real("hyper3", hyper3);
    v.integer("step", step);
    v.integer("seed", seed);
    v.integer("stochastic_rounding", stochastic_rounding);
  }
  void check(const char* op, const Tensor& weight) const;
};

// Checks shared by the ops; each throws with the op's and the argument's name.
namespace check {
void float_type(const char* op, const char* argument, const Tensor& t);  // f64, f32, f16 or bf16
void any_weight(const char* op, const char* argument, const Tensor& t);  // float or quantized
void type(const char* op, const char* argument, const Tensor& t, DType wanted);
void accumulator(const char* op, const char* argument, const Tensor& t);  // f32 or f64
void shape(const char* op, const char* argument, const Tensor& t, int64_t d0);
void shape(const char* op, const char* argument, const Tensor& t, int64_t d0, int64_t d1);
void same_shape(const char* op, const char* argument, const Tensor& t, const char* other_name, const Tensor& other);
void same_type(const char* op, const char* argument, const Tensor& t, const char* other_name, const Tensor& other);
void dims(const char* op, const char* argument, const Tensor& t, int wanted);
void contiguous(const char* op, const char* argument, const Tensor& t);
void that(bool condition, const char* op, const char* argument, const char* requirement);
// Contents, which only kernels can see: ERR_SHAPE with the first wrong value and its position.
void ids(const char* op, const char* argument, const Tensor& t, int64_t count);      // i32 in [0, count)
void targets(const char* op, const char* argument, const Tensor& t, int64_t count);  // i32 below count; negative = none
void offsets(const char* op, const char* argument, const Tensor& t, int64_t rows);   // i32, 0 <= t[0] <= t[1] <= ... <= rows
}  // namespace check

}  // namespace nft
