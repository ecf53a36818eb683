#pragma once
// One exception type inside the engine; bindings/ translates it to FinetuneError. Codes are those of lib/native/errors.ts.
#include <stdexcept>
#include <string>

#include "tensor.h"

namespace nft {

struct Error : std::runtime_error {
  Error(const char* error_code, const std::string& message) : std::runtime_error(message), code(error_code) {}
  const char* code;
};

// "[op] argument <wanted>, got <shape>".
[[noreturn]] void fail_shape(const char* op, const char* argument, const std::string& wanted, const Tensor& got);
[[noreturn]] void fail_dtype(const char* op, const char* argument, const char* wanted, const Tensor& got);
[[noreturn]] void fail(const char* code, const std::string& message);
[[noreturn]] void fail(const char* code, const char* message);  // for kernels: keeps std::string out of their wide code
std::string describe(const Tensor& t);                          // "f32 [4, 16]"

}  // namespace nft
