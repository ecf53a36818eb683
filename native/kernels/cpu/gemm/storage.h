#pragma once
// Rows of a matrix in any storage format, read as f32 vectors. Each format is a struct with
//   load(row, k)         kLanes elements from element k; k a multiple of kLanes
//   load(row, k, count)  the first count of them, the rest 0; quantized rows are whole blocks of 32: count is kLanes there
// Block layouts are GGUF's: q8_0 = f16 scale, 32 i8; q4_0 = f16 scale, 16 bytes (element i in the low nibble of byte i,
// element i + 16 in its high nibble), value (nibble - 8) * scale; q4_1 = f16 scale, f16 minimum, 16 bytes, value
// nibble * scale + minimum.
#include <type_traits>

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

typedef uint8_t u8v __attribute__((vector_size(kLanes)));
typedef int8_t i8v __attribute__((vector_size(kLanes)));

template <class Bytes>
NFT_INLINE Bytes load_bytes(const char* p) {
  Bytes x;
  std::memcpy(&x, p, sizeof(x));
  return x;
}
NFT_INLINE f32v bytes_to_f32(u8v x) {
#if defined(__AVX512F__)
  return to_f32(reinterpret_cast<i32v>(_mm512_cvtepu8_epi32(reinterpret_cast<__m128i>(x))));
#elif defined(__AVX2__)
  return to_f32(reinterpret_cast<i32v>(_mm256_cvtepu8_epi32(_mm_set_epi64x(0, reinterpret_cast<long long>(x)))));
#else
  return to_f32(__builtin_convertvector(x, i32v));
#endif
}
NFT_INLINE f32v bytes_to_f32(i8v x) {
#if defined(__AVX512F__)
  return to_f32(reinterpret_cast<i32v>(_mm512_cvtepi8_epi32(reinterpret_cast<__m128i>(x))));
#elif defined(__AVX2__)
  return to_f32(reinterpret_cast<i32v>(_mm256_cvtepi8_epi32(_mm_set_epi64x(0, reinterpret_cast<long long>(x)))));
#else
  return to_f32(__builtin_convertvector(x, i32v));
#endif
}

typedef float f32x4 __attribute__((vector_size(16)));

// The f16 values at the start of a block: its scale, and the minimum where it has one.
NFT_INLINE f32x4 load_header(const char* p, int bytes) {
  uint32_t h = 0;
  std::memcpy(&h, p, static_cast<size_t>(bytes));
#if defined(__F16C__)
  return _mm_cvtph_ps(_mm_cvtsi32_si128(static_cast<int>(h)));
#else
  return f32x4{f16_to_f32(static_cast<uint16_t>(h)), f16_to_f32(static_cast<uint16_t>(h >> 16)), 0, 0};
#endif
}

// The 16 bytes of a 4-bit block as 32 numbers 0 - kOffset to 15 - kOffset, in the order of its elements.
template <int kOffset>
NFT_INLINE void unpack_nibbles(const char* bytes, f32v (&q)[32 / kLanes]) {
#if defined(__AVX512F__)
  const f32v table = f32v{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15} - static_cast<float>(kOffset);
  const __m512i packed = _mm512_cvtepu8_epi32(load_bytes<__m128i>(bytes));
  q[0] = _mm512_permutexvar_ps(packed, table);  // looks at the low 4 bits only
  q[1] = _mm512_permutexvar_ps(_mm512_srli_epi32(packed, 4), table);
#else
  for (int i = 0; i < 16 / kLanes; ++i) {
    const u8v packed = load_bytes<u8v>(bytes + i * kLanes);
    q[i] = bytes_to_f32(packed & 15) - static_cast<float>(kOffset);
    q[i + 16 / kLanes] = bytes_to_f32(packed >> 4) - static_cast<float>(kOffset);
  }
#endif
}
// kLanes of them, from element k on.
template <int kOffset>
NFT_INLINE f32v load_nibbles(const char* bytes, int64_t k) {
  const u8v packed = load_bytes<u8v>(bytes + (k & 15));
  return bytes_to_f32((k & 16) ? packed >> 4 : packed & 15) - static_cast<float>(kOffset);
}

// A format of 32 elements a block: kBytes in all, of which kHeader for the scale and, with kMinimum, the minimum. An element
// is its quant, a whole number, * scale [+ minimum].
//   quants(block, k)  kLanes of them from element k on
//   quants(block, q)  all of them
template <class Block>
struct BlockRow {
  static NFT_MEMBER f32v load(const char* row, int64_t k) {
    const char* block = row + (k >> 5) * Block::kBytes;
    const f32x4 header = load_header(block, Block::kHeader);
    const f32v scaled = Block::quants(block, k & 31) * set1(header[0]);
    return Block::kMinimum ? scaled + set1(header[1]) : scaled;
  }
  static NFT_MEMBER f32v load(const char* row, int64_t k, int) { return load(row, k); }
};

struct Q8Row : BlockRow<Q8Row> {
  static constexpr int64_t kBytes = 34;
  static constexpr int kHeader = 2;
  static constexpr bool kMinimum = false;
  static NFT_MEMBER f32v quants(const char* block, int64_t k) { return bytes_to_f32(load_bytes<i8v>(block + kHeader + k)); }
  static NFT_MEMBER void quants(const char* block, f32v (&q)[32 / kLanes]) {
    for (int i = 0; i < 32 / kLanes; ++i) q[i] = quants(block, i * kLanes);
  }
};

template <class Block, int kOffset>
struct NibbleRow : BlockRow<Block> {
  static NFT_MEMBER f32v quants(const char* block, int64_t k) { return load_nibbles<kOffset>(block + Block::kHeader, k); }
  static NFT_MEMBER void quants(const char* block, f32v (&q)[32 / kLanes]) {
    unpack_nibbles<kOffset>(block + Block::kHeader, q);
  }
};
struct Q4Row : NibbleRow<Q4Row, 8> {
  static constexpr int64_t kBytes = 18;
  static constexpr int kHeader = 2;
  static constexpr bool kMinimum = false;
};
struct Q41Row : NibbleRow<Q41Row, 0> {
  static constexpr int64_t kBytes = 20;
  static constexpr int kHeader = 4;
  static constexpr bool kMinimum = true;
};

template <class Row>
constexpr bool is_blocked = std::is_base_of_v<BlockRow<Row>, Row>;

// Calls f with the row format of t; false for a type without one (f64, i32, u8).
template <class F>
NFT_INLINE bool with_storage(DType t, F&& f) {
  switch (t) {
    case DType::f32: f(PlainRow<F32>{}); return true;
    case DType::bf16: f(PlainRow<Bf16>{}); return true;
    case DType::f16: f(PlainRow<F16>{}); return true;
    case DType::q8_0: f(Q8Row{}); return true;
    case DType::q4_0: f(Q4Row{}); return true;
    case DType::q4_1: f(Q41Row{}); return true;
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
