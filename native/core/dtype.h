#pragma once
// Storage types of tensor elements. Quantized types are stored in blocks of 32 elements, laid out as in GGUF.
#include <cstddef>
#include <cstdint>

#include "inline.h"

namespace nft {

enum class DType : int32_t { f64, f32, f16, bf16, i32, u8, q8_0, q4_0, q4_1, count };

struct DTypeInfo {
  const char* name;
  int32_t block_elements;  // elements that share one block; 1 for plain types
  int32_t block_bytes;
};

// Index = DType. q8_0: f16 scale + 32 x i8. q4_0: f16 scale + 16 B of nibbles. q4_1: f16 scale, f16 min + 16 B of nibbles.
constexpr DTypeInfo kDTypes[] = {
    {"f64", 1, 8}, {"f32", 1, 4},    {"f16", 1, 2},    {"bf16", 1, 2},   {"i32", 1, 4},
    {"u8", 1, 1},  {"q8_0", 32, 34}, {"q4_0", 32, 18}, {"q4_1", 32, 20},
};
static_assert(sizeof(kDTypes) / sizeof(kDTypes[0]) == static_cast<size_t>(DType::count));

NFT_INLINE const DTypeInfo& info(DType t) { return kDTypes[static_cast<int32_t>(t)]; }
NFT_INLINE bool is_quantized(DType t) { return info(t).block_elements > 1; }
NFT_INLINE bool is_float(DType t) { return t == DType::f64 || t == DType::f32 || t == DType::f16 || t == DType::bf16; }

}  // namespace nft
