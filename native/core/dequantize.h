#pragma once
// Single elements of quantized rows; kernels/cpu/gemm/storage.h reads vectors of them.
#include "dtype.h"

namespace nft {

template <class Format>
NFT_INLINE float dequantize_in(const uint8_t* row, int64_t i) {
  const int64_t b = i / Format::kElements;
  const int k = static_cast<int>(i % Format::kElements);
  const formats::Affine affine = Format::affine(row, b, k / Format::kGroup);
  const float scaled = affine.scale * Format::quant(Format::block(row, b), k);
  return Format::kMinimum ? scaled + affine.minimum : scaled;
}

// Element i of a row of quantized blocks.
NFT_INLINE float dequantize_element(DType type, const void* row, int64_t i) {
  const uint8_t* bytes = static_cast<const uint8_t*>(row);
  switch (type) {
#define NFT_FORMAT(name, Format) \
  case DType::name:              \
    return dequantize_in<formats::Format>(bytes, i);
#include "../formats/formats.def"
#undef NFT_FORMAT
    default: return 0;
  }
}

}  // namespace nft
