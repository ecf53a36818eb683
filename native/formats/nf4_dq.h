#pragma once
// NF4 with double quantization (Dettmers et al. 2023, arXiv 2305.14314, section 3): the blocks' largest magnitudes are 8-bit
// codes of the signed dynamic map (Dettmers et al. 2022, arXiv 2110.02861) with an f32 scale for every 256 blocks of the
// matrix, counted row after row, and one f32 offset: absmax = map[code] * scale + offset, each step rounded to f32.
// So that a row can be read alone, it begins with what its blocks need of that: f32 offset; u16 number of blocks between the
// begin of its first 256 and its own first block; u16 bytes of the header; f32 scales of the 256s it touches. A block is a
// u8 code and 32 bytes as in NF4.
#include "dynamic_map.h"
#include "nf4.h"

namespace nft::formats {

struct Nf4Dq {
  static constexpr int kElements = 64, kBytes = 33, kGroup = 64, kCodes = 1, kNested = 256;
  static constexpr bool kMinimum = false;
  // As many 256s as a row of this width can touch.
  static NFT_MEMBER int64_t nested_count(int64_t cols) { return (cols / kElements + kNested - 2) / kNested + 1; }
  static NFT_MEMBER int64_t header_bytes(int64_t cols) { return 8 + 4 * nested_count(cols); }
  static NFT_MEMBER const uint8_t* block(const uint8_t* row, int64_t b) {
    return row + load_as<uint16_t>(row + 6) + b * kBytes;
  }
  static NFT_MEMBER Affine affine(const uint8_t* row, int64_t b, int) {
    const int64_t nested = (load_as<uint16_t>(row + 4) + b) / kNested;
    const float product = kDynamicMap[*block(row, b)] * load_as<float>(row + 8 + 4 * nested);
    return {product + load_as<float>(row), 0};
  }
  // The header of row `row` of a matrix with so many blocks in a row: scales [all blocks / 256, rounded up].
  static NFT_MEMBER void write_header(uint8_t* out, int64_t row, int64_t row_blocks, int64_t all_blocks, const float* scales,
                                      float offset) {
    const int64_t first = row * row_blocks, count = nested_count(row_blocks * kElements);
    store_f32(out, offset);
    store_u16(out + 4, static_cast<uint16_t>(first % kNested));
    store_u16(out + 6, static_cast<uint16_t>(8 + 4 * count));
    for (int64_t i = 0; i < count; ++i) {
      const int64_t nested = first / kNested + i;
      store_f32(out + 8 + 4 * i, nested * kNested < all_blocks ? scales[nested] : 0);
    }
  }
  static NFT_MEMBER float quant(const uint8_t* block, int i) { return kNf4Codebook[nf4_code(block + kCodes, i)]; }
};

}  // namespace nft::formats
