// Conversion between storage types, and dequantization of GGUF blocks (layouts: core/dtype.h).
#include "../../core/context.h"
#include "../../ops/elementwise.h"
#include "rows.h"

namespace nft::cpu::NFT_ISA {

namespace {

constexpr int kBlock = 32;

uint16_t read_u16(const uint8_t* p) { return static_cast<uint16_t>(p[0] | (p[1] << 8)); }

// One block of 32 elements. q8_0: d * q. q4_0: d * (q - 8). q4_1: d * q + m. Low nibbles are elements 0-15, high ones 16-31.
void dequantize_block(DType type, const uint8_t* block, float* y) {
  const float d = f16_to_f32(read_u16(block));
  if (type == DType::q8_0) {
    for (int i = 0; i < kBlock; ++i) y[i] = d * static_cast<float>(static_cast<int8_t>(block[2 + i]));
  } else if (type == DType::q4_0) {
    for (int i = 0; i < kBlock / 2; ++i) {
      y[i] = d * static_cast<float>((block[2 + i] & 15) - 8);
      y[i + kBlock / 2] = d * static_cast<float>((block[2 + i] >> 4) - 8);
    }
  } else {
    const float m = f16_to_f32(read_u16(block + 2));
    for (int i = 0; i < kBlock / 2; ++i) {
      y[i] = d * static_cast<float>(block[4 + i] & 15) + m;
      y[i + kBlock / 2] = d * static_cast<float>(block[4 + i] >> 4) + m;
    }
  }
}

void dequantize(const Tensor& x, const Tensor& y) {
  const int64_t blocks = x.cols() / kBlock, bytes = info(x.dtype).block_bytes;
  for_ranges(x.rows(), blocks * kBlock, [&](int64_t row, int64_t begin, int64_t end) {
    const uint8_t* p = reinterpret_cast<const uint8_t*>(x.row(row)) + begin / kBlock * bytes;
    alignas(64) float buffer[kBlock];
    for (int64_t col = begin; col < end; col += kBlock, p += bytes) {
      float* target = tile_target(y, row, col, buffer);
      dequantize_block(x.dtype, p, target);
      store_tile(y, row, col, kBlock, target);
    }
  });
}

}  // namespace

void cast(const Cast& a, Context&) {
  require_float(Cast::kName, "y", a.y);
  if (is_quantized(a.x.dtype)) return dequantize(a.x, a.y);
  require_float(Cast::kName, "x", a.x);
  const Tensor *const in[] = {&a.x}, *const out[] = {&a.y};
  map_elements(in, out, [](const simd::f32v* x, simd::f32v* y, int64_t) { y[0] = x[0]; });
}

}  // namespace nft::cpu::NFT_ISA
