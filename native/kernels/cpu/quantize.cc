// Weights into quantized storage: see ops/quantize.h.
#include "../../ops/quantize.h"

#include <cstdio>

#include "../../core/context.h"
#include "rows.h"

namespace nft::cpu::NFT_ISA {

using namespace simd;

namespace {

constexpr int kBlock = 64, kVectors = kBlock / kLanes;

// A block of x as f32, and its largest magnitude. False if an element is not finite.
NFT_INLINE bool load_block(const float* x, f32v (&block)[kVectors], float* absmax) {
  f32v largest = zero(), rest = zero();
  for (int v = 0; v < kVectors; ++v) {
    block[v] = F32::load(x + v * kLanes);
    largest = max(largest, abs(block[v]));
    rest += block[v] - block[v];  // 0 where all are finite
  }
  *absmax = reduce_max(largest);
  return reduce_add(rest) == 0;
}

NFT_INLINE float divisor(float absmax) { return absmax > 1e-38f ? absmax : 1e-38f; }

NFT_INLINE void write_int8(const f32v (&block)[kVectors], float absmax, uint8_t* out) {
  const f32v factor = set1(127.0f * (1.0f / (absmax > 1e-36f ? absmax : 1e-36f)));
  formats::store_f32(out, absmax / 127.0f);
  for (int v = 0; v < kVectors; ++v) {
    typedef int8_t i8v __attribute__((vector_size(kLanes)));
    const i8v q = __builtin_convertvector(round_to_i32(block[v] * factor), i8v);
    std::memcpy(out + formats::Int8::kQuants + v * kLanes, &q, sizeof(q));
  }
}

NFT_INLINE void write_nf4_codes(const f32v (&block)[kVectors], float absmax, uint8_t* codes) {
  const f32v inverse = set1(1.0f / divisor(absmax));
  int32_t code[kBlock];
  for (int v = 0; v < kVectors; ++v) {
    const f32v x = block[v] * inverse;
    i32v below = {};
    for (int c = 0; c < 15; ++c) below -= set1(formats::nf4_midpoint(c)) < x;
    std::memcpy(code + v * kLanes, &below, sizeof(below));
  }
  for (int i = 0; i < kBlock; i += 2) codes[i / 2] = static_cast<uint8_t>(code[i] << 4 | code[i + 1]);
}

// Where the first block of a row begins.
uint8_t* first_block(const Tensor& y, int64_t row) {
  return reinterpret_cast<uint8_t*>(y.row(row)) + row_header_bytes(y.dtype, y.cols());
}

// Headers of all rows, and the codes of the absmax [rows * blocks of a row].
void quantize_absmax(const Tensor& y, const float* absmax, float* scales) {
  using formats::Nf4Dq;
  const int64_t blocks = y.cols() / kBlock, all = y.rows() * blocks;
  double sum = 0;
  for (int64_t i = 0; i < all; ++i) sum += absmax[i];
  const float offset = static_cast<float>(sum / static_cast<double>(all));
  for (int64_t first = 0; first < all; first += Nf4Dq::kNested) {
    float largest = 0;
    for (int64_t i = first; i < min64(all, first + Nf4Dq::kNested); ++i) {
      const float x = absmax[i] - offset;
      largest = largest < x ? x : largest < -x ? -x : largest;
    }
    scales[first / Nf4Dq::kNested] = largest;
  }
  for_ranges(y.rows(), y.cols(), [&](int64_t row, int64_t begin, int64_t end) {
    if (begin == 0) Nf4Dq::write_header(reinterpret_cast<uint8_t*>(y.row(row)), row, blocks, all, scales, offset);
    for (int64_t b = begin / kBlock; b < end / kBlock; ++b) {
      const int64_t i = row * blocks + b;
      const float x = (absmax[i] - offset) / divisor(scales[i / Nf4Dq::kNested]);
      first_block(y, row)[b * Nf4Dq::kBytes] = static_cast<uint8_t>(formats::nearest_in_dynamic_map(x));
    }
  });
}

}  // namespace

// nf4_dq: the absmax of all blocks and their scales.
size_t quantize_workspace(const Quantize& a, const Context&) {
  const int64_t blocks = a.x.num_elements() / kBlock;
  return a.y.dtype == DType::nf4_dq ? static_cast<size_t>(blocks + ceil_div(blocks, formats::Nf4Dq::kNested)) * 4 : 0;
}

void quantize(const Quantize& a, Context& c) {
  require_float(a.kName, "x", a.x);
  const int64_t rows = a.x.rows(), cols = a.x.cols(), blocks = cols / kBlock;
  if (rows == 0 || cols == 0) return;
  float* all_absmax = a.y.dtype == DType::nf4_dq ? static_cast<float*>(c.workspace) : nullptr;
  const int64_t block_bytes = info(a.y.dtype).block_bytes;
  int64_t bad_row = -1;
  for_ranges(rows, cols, [&](int64_t row, int64_t begin, int64_t end) {
    alignas(64) float buffer[kTile];
    uint8_t* out = first_block(a.y, row);
    for (int64_t col = begin; col < end; col += kTile) {
      const int64_t n = min64(kTile, end - col);
      const float* x = load_tile(a.x, row, col, n, buffer);
      for (int64_t i = 0; i < n; i += kBlock) {
        const int64_t b = (col + i) / kBlock;
        uint8_t* target = out + b * block_bytes;
        f32v block[kVectors];
        float absmax;
        if (!load_block(x + i, block, &absmax)) {
          __atomic_store_n(&bad_row, row, __ATOMIC_RELAXED);
          return;
        }
        if (a.y.dtype == DType::int8) {
          write_int8(block, absmax, target);
        } else if (all_absmax) {
          all_absmax[row * blocks + b] = absmax;
          write_nf4_codes(block, absmax, target + formats::Nf4Dq::kCodes);
        } else {
          formats::store_f32(target, absmax);
          write_nf4_codes(block, absmax, target + formats::Nf4::kCodes);
        }
      }
    }
  });
  if (bad_row >= 0) {
    char message[96];
    std::snprintf(message, sizeof(message), "[quantize] x must be finite, but row %lld is not",
                  static_cast<long long>(bad_row));
    fail("ERR_SHAPE", static_cast<const char*>(message));
  }
  if (all_absmax) quantize_absmax(a.y, all_absmax, all_absmax + rows * blocks);
}

void pack_nf4(const PackNf4& a, Context&) {
  a.check_maps();
  const int64_t blocks = a.y.cols() / kBlock, all = a.y.rows() * blocks, block_bytes = info(a.y.dtype).block_bytes;
  const bool nested = a.y.dtype == DType::nf4_dq;
  const int64_t scale_bytes = nested ? formats::Nf4Dq::kCodes : formats::Nf4::kCodes;
  for_ranges(a.y.rows(), a.y.cols(), [&](int64_t row, int64_t begin, int64_t end) {
    if (nested && begin == 0)
      formats::Nf4Dq::write_header(reinterpret_cast<uint8_t*>(a.y.row(row)), row, blocks, all, a.nested.as<const float>(),
                                   static_cast<float>(a.offset));
    for (int64_t b = begin / kBlock; b < end / kBlock; ++b) {
      const int64_t i = row * blocks + b;
      uint8_t* out = first_block(a.y, row) + b * block_bytes;
      std::memcpy(out, a.absmax.as<const uint8_t>() + i * scale_bytes, static_cast<size_t>(scale_bytes));
      std::memcpy(out + scale_bytes, a.codes.as<const uint8_t>() + i * (kBlock / 2), kBlock / 2);
    }
  });
}

}  // namespace nft::cpu::NFT_ISA
