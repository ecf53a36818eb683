#pragma once
// Rows of a matrix in any storage format, read as f32 vectors. Each format is a struct with
//   load(row, k)         kLanes elements from element k; k a multiple of kLanes
//   load(row, k, count)  the first count of them, the rest 0; quantized rows are whole blocks of 32: count is kLanes there
// Block layouts are GGUF's: q8_0 = f16 scale, 32 i8; q4_0 = f16 scale, 16 bytes (element i in the low nibble of byte i,
// element i + 16 in its high nibble), value (nibble - 8) * scale; q4_1 = f16 scale, f16 minimum, 16 bytes, value
// nibble * scale + minimum.
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

NFT_INLINE float load_scale(const char* p) {
  uint16_t h;
  std::memcpy(&h, p, 2);
#if defined(__F16C__)
  return _cvtsh_ss(h);
#else
  return f16_to_f32(h);
#endif
}

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

struct Q8Row {
  static NFT_MEMBER f32v load(const char* row, int64_t k) {
    const char* block = row + (k >> 5) * 34;
    return bytes_to_f32(load_bytes<i8v>(block + 2 + (k & 31))) * set1(load_scale(block));
  }
  static NFT_MEMBER f32v load(const char* row, int64_t k, int) { return load(row, k); }
};

// The nibbles of kLanes elements from element k of a block's 16 bytes.
NFT_INLINE f32v load_nibbles(const char* bytes, int64_t k) {
  const u8v packed = load_bytes<u8v>(bytes + (k & 15));
  return bytes_to_f32((k & 16) ? packed >> 4 : packed & 15);
}

struct Q4Row {
  static NFT_MEMBER f32v load(const char* row, int64_t k) {
    const char* block = row + (k >> 5) * 18;
    return (load_nibbles(block + 2, k) - 8.0f) * set1(load_scale(block));
  }
  static NFT_MEMBER f32v load(const char* row, int64_t k, int) { return load(row, k); }
};

struct Q41Row {
  static NFT_MEMBER f32v load(const char* row, int64_t k) {
    const char* block = row + (k >> 5) * 20;
    return load_nibbles(block + 4, k) * set1(load_scale(block)) + set1(load_scale(block + 2));
  }
  static NFT_MEMBER f32v load(const char* row, int64_t k, int) { return load(row, k); }
};

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
