#include "../../ops/rope.h"

#include "../../core/context.h"
#include "double_math.h"
#include "rows.h"

namespace nft::cpu::NFT_ISA {

namespace {

void rotate(float* x, const float* cos, const float* sin, float direction, int64_t pairs, int64_t distance) {
  for_vectors(pairs, [&](int64_t i, int count) {
    const simd::f32v c = load_n(cos + i, count), s = load_n(sin + i, count) * direction;
    const simd::f32v a = load_n(x + i, count), b = load_n(x + distance + i, count);
    store_n(x + i, a * c - b * s, count);
    store_n(x + distance + i, simd::fma(b, c, a * s), count);
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
  ThreadPool::instance().run(ceil_div(rows, block), [&](int64_t item, int) {
    alignas(64) float buffer[2 * kTile];
    for (int64_t row = item * block; row < min64(rows, (item + 1) * block); ++row) {
      const float *cos = reinterpret_cast<const float*>(a.cos.row(row)),
                  *sin = reinterpret_cast<const float*>(a.sin.row(row));
      for (int64_t head = 0; head < a.heads; ++head) {
        if (a.x.dtype == DType::f32) {
          rotate(reinterpret_cast<float*>(a.x.row(row)) + head * width, cos, sin, direction, pairs, pairs);
          continue;
        }
        for (int64_t i = 0; i < pairs; i += kTile) {
          const int64_t n = min64(kTile, pairs - i);
          char *low = element(a.x, row, head * width + i), *high = element(a.x, row, head * width + pairs + i);
          load_f32(a.x.dtype, low, buffer, n);
          load_f32(a.x.dtype, high, buffer + kTile, n);
          rotate(buffer, cos + i, sin + i, direction, n, kTile);
          store_f32(a.x.dtype, buffer, low, n);
          store_f32(a.x.dtype, buffer + kTile, high, n);
        }
      }
    }
  });
}

}  // namespace nft::cpu::NFT_ISA
