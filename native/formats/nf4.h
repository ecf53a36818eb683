#pragma once
// NF4, the 4-bit NormalFloat of QLoRA (Dettmers et al. 2023, arXiv 2305.14314, appendix E): f32 largest magnitude of the
// block, then 32 bytes of codes as in bitsandbytes, the first element of two in the high half. x = absmax * codebook[code].
#include "format.h"

namespace nft::formats {

constexpr float kNf4Codebook[16] = {-1.0f,
                                    -0.6961928009986877f,
                                    -0.5250730514526367f,
                                    -0.39491748809814453f,
                                    -0.28444138169288635f,
                                    -0.18477343022823334f,
                                    -0.09105003625154495f,
                                    0.0f,
                                    0.07958029955625534f,
                                    0.16093020141124725f,
                                    0.24611230194568634f,
                                    0.33791524171829224f,
                                    0.44070982933044434f,
                                    0.5626170039176941f,
                                    0.7229568362236023f,
                                    1.0f};

// Halfway between code c and code c + 1, in f32.
NFT_INLINE float nf4_midpoint(int c) { return (kNf4Codebook[c] + kNf4Codebook[c + 1]) / 2; }
// The code of x, which is at most 1 in magnitude: of two as near, the lower.
NFT_INLINE int nearest_nf4(float x) {
  int code = 0;
  for (int c = 0; c < 15; ++c) code += nf4_midpoint(c) < x;
  return code;
}

NFT_INLINE int nf4_code(const uint8_t* codes, int i) { return codes[i >> 1] >> (i & 1 ? 0 : 4) & 15; }

struct Nf4 : PlainRows<36> {
  static constexpr int kElements = 64, kGroup = 64, kCodes = 4;
  static constexpr bool kMinimum = false;
  static NFT_MEMBER Affine affine(const uint8_t* row, int64_t b, int) { return {load_as<float>(block(row, b)), 0}; }
  static NFT_MEMBER float quant(const uint8_t* block, int i) { return kNf4Codebook[nf4_code(block + kCodes, i)]; }
};

}  // namespace nft::formats
