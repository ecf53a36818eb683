#include "errors.h"

namespace nft {

std::string describe(const Tensor& t) {
  if (!t.present) return "nothing";
  std::string s = std::string(info(t.dtype).name) + " [";
  for (int i = 0; i < t.ndim; ++i) s += (i ? ", " : "") + std::to_string(t.dim[i]);
  s += "]";
  if (!t.contiguous()) s += " with row stride " + std::to_string(t.row_stride);
  return s;
}

void fail_shape(const char* op, const char* argument, const std::string& wanted, const Tensor& got) {
  throw Error("ERR_SHAPE", std::string("[") + op + "] " + argument + " must be " + wanted + ", got " + describe(got));
}

void fail_dtype(const char* op, const char* argument, const char* wanted, const Tensor& got) {
  throw Error("ERR_DTYPE", std::string("[") + op + "] " + argument + " must be " + wanted + ", got " + describe(got));
}

void fail(const char* code, const std::string& message) { throw Error(code, message); }
void fail(const char* code, const char* message) { throw Error(code, message); }

}  // namespace nft
