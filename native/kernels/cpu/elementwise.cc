// add, fill, scale, softcap: one pass over memory. cast: native/kernels/cpu/cast.cc.
#include "../../ops/elementwise.h"
#include "../../core/context.h"
#include "rows.h"
#include "simd_math.h"

namespace nft::cpu::NFT_ISA {

using simd::f32v;

void add(const Add& a, Context&) {
  require_float(Add::kName, "a", a.a);
  require_float(Add::kName, "b", a.b);
  require_float(Add::kName, "y", a.y);
  const Tensor *const in[] = {&a.a, &a.b}, *const out[] = {&a.y};
  map_elements(in, out, [](const f32v* x, f32v* y) { y[0] = x[0] + x[1]; });
}

void scale(const Scale& a, Context&) {
  require_float(Scale::kName, "x", a.x);
  require_float(Scale::kName, "y", a.y);
  const Tensor *const in[] = {&a.x}, *const out[] = {&a.y};
  const f32v factor = simd::set1(static_cast<float>(a.scale));
  map_elements(in, out, [=](const f32v* x, f32v* y) { y[0] = x[0] * factor; });
}

void softcap_forward(const SoftcapForward& a, Context&) {
  require_float(SoftcapForward::kName, "x", a.x);
  require_float(SoftcapForward::kName, "y", a.y);
  const Tensor *const in[] = {&a.x}, *const out[] = {&a.y};
  const f32v cap = simd::set1(static_cast<float>(a.softcap)), inverse = simd::set1(static_cast<float>(1 / a.softcap));
  map_elements(in, out, [=](const f32v* x, f32v* y) { y[0] = cap * simd::tanh(x[0] * inverse); });
}

void fill(const Fill& a, Context&) {
  require_float(Fill::kName, "y", a.y);
  const f32v value = simd::set1(static_cast<float>(a.value));
  const bool contiguous = a.y.contiguous();
  const int64_t rows = contiguous ? 1 : a.y.rows(), cols = contiguous ? a.y.num_elements() : a.y.cols();
  for_ranges(rows, cols, [&](int64_t row, int64_t begin, int64_t end) {
    simd::with_float_type(a.y.dtype, [&](auto type) {
      using Type = decltype(type);
      auto* y = reinterpret_cast<typename Type::Element*>(element(a.y, row, begin));
      for_vectors(end - begin, [&](int64_t i, int count) { Type::store(y + i, value, count); });
    });
  });
}

}  // namespace nft::cpu::NFT_ISA
