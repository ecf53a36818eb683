#pragma once
// How an op's arguments cross from JavaScript: one Float64Array per environment, written by the generated wrappers
// (lib/native/ops.ts) and read here by the same field visitor that described the op to the generator.
//   tensor:  [segment id or -2 = dry or -1 = absent, byte offset, dtype, ndim, row stride, d0, d1, d2, d3]
//   integer, real: one slot
#include <cmath>
#include <string>

#include "../core/segments.h"
#include "../ops/fields.h"

namespace nft::bindings {

constexpr int kTensorSlots = 9;
constexpr double kAbsent = -1, kDry = -2;

class Unpack {
 public:
  Unpack(const char* op, const double* slots, bool dry) : op_(op), slots_(slots), dry_(dry) {}

  void tensor(const char* name, Access access, Tensor& t) {
    read(name, access, t);
    if (!t.present) fail("ERR_SHAPE", std::string("[") + op_ + "] " + name + " is missing");
  }
  void tensor_optional(const char* name, Access access, Tensor& t) { read(name, access, t); }
  void integer(const char* name, int64_t& value) {
    const double x = next(name);
    if (x != std::floor(x) || std::fabs(x) > 9007199254740992.0)
      fail("ERR_SHAPE", std::string("[") + op_ + "] " + name + " must be an integer, got " + std::to_string(x));
    value = static_cast<int64_t>(x);
  }
  void real(const char* name, double& value) { value = next(name); }

 private:
  double next(const char* name) {
    const double x = *slots_++;
    if (!std::isfinite(x)) fail("ERR_SHAPE", std::string("[") + op_ + "] " + name + " must be a finite number");
    return x;
  }
  void read(const char* name, Access access, Tensor& t);

  const char* op_;
  const double* slots_;
  bool dry_;
};

}  // namespace nft::bindings
