#pragma once
// Rows of a matrix in any storage format, read as f32 vectors. Each format is a struct with
//   load(row, k)         kLanes elements from element k; k a multiple of kLanes
//   load(row, k, count)  the first count of them, the rest 0; quantized rows are whole blocks: count is kLanes there
#include "../formats/all.h"
#include "../rows.h"

namespace nft::cpu::NFT_ISA::gemm {

using namespace simd;

template <class Float>
struct PlainRow {
  using Element = typename Float::Element;
  static NFT_MEMBER f32v load(const char* row, int64_t k) { return Float::load(reinterpret_cast<const Element*>(row) + k); }
  static NFT_MEMBER f32v load(const char* row, int64_t k, int count) {
    return Float::load(reinterpret_cast<const Element*>(row) + k, count);
  }
};

// Rows of a quantized format: kernels/cpu/formats/ has its quants, native/formats/ the rest.
template <class Format>
struct BlockRow {
  static constexpr int kElements = Format::kElements, kGroup = Format::kGroup, kGroups = kElements / kGroup;
  static constexpr int kBytes = Format::kBytes;
  static constexpr bool kMinimum = Format::kMinimum;

  static NFT_MEMBER f32v load(const char* row, int64_t k) {
    const uint8_t* bytes = reinterpret_cast<const uint8_t*>(row);
    const int64_t b = k / static_cast<uint64_t>(kElements);
    const int i = static_cast<int>(k & (kElements - 1));
    const formats::Affine affine = Format::affine(bytes, b, i / static_cast<unsigned>(kGroup));
    const f32v scaled = Quants<Format>::load(Format::block(bytes, b), i) * set1(affine.scale);
    return kMinimum ? scaled + set1(affine.minimum) : scaled;
  }
  static NFT_MEMBER f32v load(const char* row, int64_t k, int) { return load(row, k); }

  // Group g of the row.
  static NFT_MEMBER formats::Affine affine(const char* row, int64_t g) {
    const int within = static_cast<int>(g & (kGroups - 1));
    return Format::affine(reinterpret_cast<const uint8_t*>(row), g / static_cast<uint64_t>(kGroups), within);
  }
  static NFT_MEMBER void quants(const char* row, int64_t g, f32v (&q)[kGroup / kLanes]) {
    const uint8_t* bytes = reinterpret_cast<const uint8_t*>(row);
    const int within = static_cast<int>(g & (kGroups - 1));
    Quants<Format>::group(Format::block(bytes, g / static_cast<uint64_t>(kGroups)), within, q);
  }
};

template <class Row>
constexpr bool is_blocked = false;
template <class Format>
constexpr bool is_blocked<BlockRow<Format>> = true;

// Calls f with the row format of t; false for a type without one (f64, i32, u8).
template <class F>
NFT_INLINE bool with_storage(DType t, F&& f) {
  switch (t) {
    case DType::f32: f(PlainRow<F32>{}); return true;
    case DType::bf16: f(PlainRow<Bf16>{}); return true;
    case DType::f16: f(PlainRow<F16>{}); return true;
#define NFT_FORMAT(name, Format)    \
  case DType::name:                 \
    f(BlockRow<formats::Format>{}); \
    return true;
#include "../../../formats/formats.def"
#undef NFT_FORMAT
    default: return false;
  }
}

// A vector of floats of a type known only at run time.
NFT_INLINE f32v load_float(DType t, const char* row, int64_t i, int count) {
  switch (t) {
    case DType::bf16: return PlainRow<Bf16>::load(row, i, count);
    case DType::f16: return PlainRow<F16>::load(row, i, count);
    default: return PlainRow<F32>::load(row, i, count);
  }
}
NFT_INLINE void store_float(DType t, char* row, int64_t i, f32v x, int count) {
  switch (t) {
    case DType::bf16: Bf16::store(reinterpret_cast<uint16_t*>(row) + i, x, count); break;
    case DType::f16: F16::store(reinterpret_cast<uint16_t*>(row) + i, x, count); break;
    default: F32::store(reinterpret_cast<float*>(row) + i, x, count);
  }
}

// Throws ERR_DTYPE for a type that no row format above reads.
NFT_INLINE void require_weight(const char* op, const char* argument, const Tensor& t) {
  if (!is_quantized(t.dtype)) require_float(op, argument, t);
}

}  // namespace nft::cpu::NFT_ISA::gemm
