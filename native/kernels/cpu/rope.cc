#include "../../ops/rope.h"

#include "../../core/context.h"
#include "double_math.h"
#include "rows.h"

namespace nft::cpu::NFT_ISA {

namespace {

// (low, high) of each pair rotated in place.
template <class Row>
NFT_INLINE void rotate(const Row& low, const Row& high, const float* cos, const float* sin, float direction, int64_t pairs) {
  for_vectors(
      pairs, [&](int64_t i, int count) __attribute__((always_inline)) {
        const simd::f32v c = load_n(cos + i, count), s = load_n(sin + i, count) * direction;
        const simd::f32v a = low.load(i, count), b = high.load(i, count);
        low.store(i, a * c - b * s, count);
        high.store(i, simd::fma(b, c, a * s), count);
      });
}

}  // namespace

void rope_table(const RopeTable& a, Context&) {
  require_f32(RopeTable::kName, "cos", a.cos);
  require_f32(RopeTable::kName, "sin", a.sin);
  const int64_t pairs = a.inv_freq.num_elements();
  const int32_t* positions = a.positions.as<int32_t>();
  for_ranges(a.positions.num_elements(), pairs, [&](int64_t row, int64_t begin, int64_t end) {
    float *cos = a.cos.as<float>() + row * pairs, *sin = a.sin.as<float>() + row * pairs;
    for (int64_t i = begin; i < end; ++i) {
      const double angle = a.inv_freq.dtype == DType::f64
                               ? static_cast<double>(positions[row]) * a.inv_freq.as<double>()[i]
                               : static_cast<double>(static_cast<float>(positions[row]) * a.inv_freq.as<float>()[i]);
      double s, c;
      sin_cos(angle, s, c);
      cos[i] = static_cast<float>(a.scale * c);
      sin[i] = static_cast<float>(a.scale * s);
    }
  });
}

void rope_inplace(const RopeInplace& a, Context&) {
  const char* op = RopeInplace::kName;
  require_float(op, "x", a.x);
  require_f32(op, "cos", a.cos);
  require_f32(op, "sin", a.sin);
  const int64_t rows = a.x.rows(), width = a.x.cols() / a.heads, pairs = a.cos.cols();
  const int64_t block = max64(1, kItemElements / max64(1, a.x.cols()));
  const float direction = a.inverse ? -1.f : 1.f;
  const Tensor* const tensors[] = {&a.x};
  with_row_type(tensors, [&](auto row_type) {
    using Row = typename decltype(row_type)::Type;
    ThreadPool::instance().run(ceil_div(rows, block), [&](int64_t item, int) {
      for (int64_t row = item * block; row < min64(rows, (item + 1) * block); ++row) {
        const auto *cos = reinterpret_cast<const float*>(a.cos.row(row)),
                   *sin = reinterpret_cast<const float*>(a.sin.row(row));
        for (int64_t head = 0; head < a.heads; ++head)
          rotate(Row(a.x, row, head * width), Row(a.x, row, head * width + pairs), cos, sin, direction, pairs);
      }
    });
  });
}

}  // namespace nft::cpu::NFT_ISA
