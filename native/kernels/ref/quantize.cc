#include "../../ops/quantize.h"

#include <cmath>
#include <vector>

#include "../../core/context.h"
#include "access.h"

namespace nft::ref {

namespace {

constexpr int kBlock = 64;

// A block of x as f32, and its largest magnitude, at least what can be divided by.
struct Block {
  float x[kBlock], absmax = 0, divisor = 0;

  Block(const Tensor& t, int64_t row, int64_t b) {
    for (int i = 0; i < kBlock; ++i) {
      x[i] = static_cast<float>(at(t, row, b * kBlock + i));
      if (!std::isfinite(x[i])) fail("ERR_SHAPE", "[quantize] x must be finite, but row " + std::to_string(row) + " is not");
      absmax = std::fmax(absmax, std::fabs(x[i]));
    }
    divisor = std::fmax(absmax, 1e-38f);
  }
};

uint8_t* block_of(const Tensor& y, int64_t row, int64_t b) {
  uint8_t* first = reinterpret_cast<uint8_t*>(y.row(row)) + row_header_bytes(y.dtype, y.cols());
  return first + b * info(y.dtype).block_bytes;
}

void write_codes(const Block& block, uint8_t* codes) {
  const float inverse = 1.0f / block.divisor;
  for (int i = 0; i < kBlock; i += 2) {
    const int high = formats::nearest_nf4(block.x[i] * inverse), low = formats::nearest_nf4(block.x[i + 1] * inverse);
    codes[i / 2] = static_cast<uint8_t>(high << 4 | low);
  }
}

void quantize_int8(const Block& block, uint8_t* out) {
  const float factor = 127.0f * (1.0f / std::fmax(block.absmax, 1e-36f));
  formats::store_f32(out, block.absmax / 127.0f);
  for (int i = 0; i < kBlock; ++i)
    out[formats::Int8::kQuants + i] = static_cast<uint8_t>(static_cast<int8_t>(std::nearbyint(block.x[i] * factor)));
}

}  // namespace

void quantize(const Quantize& a, Context&) {
  const int64_t rows = a.x.rows(), blocks = a.x.cols() / kBlock, all = rows * blocks;
  std::vector<float> absmax(static_cast<size_t>(all));
  double sum = 0;
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t b = 0; b < blocks; ++b) {
      const Block block(a.x, row, b);
      uint8_t* out = block_of(a.y, row, b);
      if (a.y.dtype == DType::int8) {
        quantize_int8(block, out);
        continue;
      }
      if (a.y.dtype == DType::nf4) formats::store_f32(out, block.absmax);
      write_codes(block, out + (a.y.dtype == DType::nf4 ? formats::Nf4::kCodes : formats::Nf4Dq::kCodes));
      absmax[static_cast<size_t>(row * blocks + b)] = block.absmax;
      sum += block.absmax;
    }
  if (a.y.dtype != DType::nf4_dq || all == 0) return;

  using formats::Nf4Dq;
  const float offset = static_cast<float>(sum / static_cast<double>(all));
  std::vector<float> scales;
  for (int64_t first = 0; first < all; first += Nf4Dq::kNested) {
    float largest = 0;
    for (int64_t i = first; i < all && i < first + Nf4Dq::kNested; ++i)
      largest = std::fmax(largest, std::fabs(absmax[static_cast<size_t>(i)] - offset));
    scales.push_back(largest);
  }
  for (int64_t row = 0; row < rows; ++row) {
    Nf4Dq::write_header(reinterpret_cast<uint8_t*>(a.y.row(row)), row, blocks, all, scales.data(), offset);
    for (int64_t b = 0; b < blocks; ++b) {
      const int64_t i = row * blocks + b;
      const float scale = std::fmax(scales[static_cast<size_t>(i / Nf4Dq::kNested)], 1e-38f);
      const float x = (absmax[static_cast<size_t>(i)] - offset) / scale;
      *block_of(a.y, row, b) = static_cast<uint8_t>(formats::nearest_in_dynamic_map(x));
    }
  }
}

void pack_nf4(const PackNf4& a, Context&) {
  a.check_maps();
  const int64_t blocks = a.y.cols() / kBlock, all = a.y.rows() * blocks;
  const bool nested = a.y.dtype == DType::nf4_dq;
  for (int64_t row = 0; row < a.y.rows(); ++row) {
    if (nested)
      formats::Nf4Dq::write_header(reinterpret_cast<uint8_t*>(a.y.row(row)), row, blocks, all, a.nested.as<const float>(),
                                   static_cast<float>(a.offset));
    for (int64_t b = 0; b < blocks; ++b) {
      const int64_t i = row * blocks + b;
      uint8_t* out = block_of(a.y, row, b);
      const int scale_bytes = nested ? formats::Nf4Dq::kCodes : formats::Nf4::kCodes;
      std::memcpy(out, a.absmax.as<const uint8_t>() + i * scale_bytes, static_cast<size_t>(scale_bytes));
      std::memcpy(out + scale_bytes, a.codes.as<const uint8_t>() + i * (kBlock / 2), kBlock / 2);
    }
  }
}

}  // namespace nft::ref
