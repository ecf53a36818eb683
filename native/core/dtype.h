#pragma once
// Storage types of tensor elements: plain ones, and the quantized formats of native/formats.
#include <cstddef>
#include <cstdint>

#include "../formats/all.h"
#include "inline.h"

namespace nft {

enum class DType : int32_t {
  f64,
  f32,
  f16,
  bf16,
  i32,
  u8,
#define NFT_FORMAT(name, Format) name,
#include "../formats/formats.def"
#undef NFT_FORMAT
  count
};

struct DTypeInfo {
  const char* name;
  int32_t block_elements;  // elements that share one block; 1 for plain types
  int32_t block_bytes;
};

// Index = DType.
constexpr DTypeInfo kDTypes[] = {
    {"f64", 1, 8}, {"f32", 1, 4}, {"f16", 1, 2}, {"bf16", 1, 2}, {"i32", 1, 4}, {"u8", 1, 1},
#define NFT_FORMAT(name, Format) {#name, formats::Format::kElements, formats::Format::kBytes},
#include "../formats/formats.def"
#undef NFT_FORMAT
};
static_assert(sizeof(kDTypes) / sizeof(kDTypes[0]) == static_cast<size_t>(DType::count));

NFT_INLINE const DTypeInfo& info(DType t) { return kDTypes[static_cast<int32_t>(t)]; }
NFT_INLINE bool is_quantized(DType t) { return info(t).block_elements > 1; }
NFT_INLINE bool is_float(DType t) { return t == DType::f64 || t == DType::f32 || t == DType::f16 || t == DType::bf16; }

// Bytes before the first block of a row of so many elements.
NFT_INLINE int64_t row_header_bytes(DType t, int64_t cols) {
  switch (t) {
#define NFT_FORMAT(name, Format) \
  case DType::name:              \
    return formats::Format::header_bytes(cols);
#include "../formats/formats.def"
#undef NFT_FORMAT
    default: return 0;
  }
}
NFT_INLINE int64_t row_bytes(DType t, int64_t cols) {
  return row_header_bytes(t, cols) + cols / info(t).block_elements * info(t).block_bytes;
}

}  // namespace nft
