#pragma once
// States of a tile of elements as f32, whatever they are stored as: see updates/block_states.h.
#include "../../updates/block_states.h"
#include "rows.h"

namespace nft::cpu::NFT_ISA {

static_assert(kTile % updates::kStateBlock == 0 && kItemElements % updates::kStateBlock == 0, "tiles are whole blocks");

NFT_INLINE void decode_tile(const updates::DynamicMap& map, const uint8_t* code, const float* largest, int64_t n, float* x) {
  for (int64_t b = 0; b < n; b += updates::kStateBlock) {
    const float scale = largest[b / updates::kStateBlock];
    for (int64_t i = b; i < min64(n, b + updates::kStateBlock); ++i) x[i] = map.value[code[i]] * scale;
  }
}

// The search of encode_state, one step of it for all elements of a block at a time, which the compiler turns into gathers.
NFT_INLINE void encode_block(const updates::DynamicMap& map, const float* x, int64_t n, float largest, uint8_t* code) {
  alignas(64) float ratio[updates::kStateBlock];
  alignas(64) int32_t found[updates::kStateBlock] = {};
  for (int64_t i = 0; i < n; ++i) ratio[i] = x[i] / largest;
  for (int step = 128; step > 0; step >>= 1)
    for (int64_t i = 0; i < n; ++i) found[i] += ratio[i] > map.limit[found[i] + step - 1] ? step : 0;
  for (int64_t i = 0; i < n; ++i) code[i] = static_cast<uint8_t>(updates::keep_sign(map, found[i], x[i] < 0));
}

NFT_INLINE void encode_tile(const updates::DynamicMap& map, const float* x, int64_t n, uint8_t* code, float* largest) {
  for (int64_t b = 0; b < n; b += updates::kStateBlock) {
    const int64_t count = min64(updates::kStateBlock, n - b);
    float most = 0;
    for (int64_t i = b; i < b + count; ++i) most = __builtin_fabsf(x[i]) > most ? __builtin_fabsf(x[i]) : most;
    largest[b / updates::kStateBlock] = most;
    if (most > 0)
      encode_block(map, x + b, count, most, code + b);
    else
      std::memset(code + b, map.zero, static_cast<size_t>(count));
  }
}

// Elements [first, first + n) of state number `index`; first is the start of a block where the state is coded.
NFT_INLINE void load_state(const Tensor& state, const Tensor& largest, int index, int64_t first, int64_t n, float* x) {
  if (updates::is_coded(state))
    decode_tile(updates::map_of(index), state.as<const uint8_t>() + first,
                largest.as<const float>() + first / updates::kStateBlock, n, x);
  else
    load_f32(state.dtype, static_cast<const char*>(state.data) + first * element_bytes(state), x, n);
}
NFT_INLINE void store_state(const Tensor& state, const Tensor& largest, int index, int64_t first, int64_t n,
                            const float* x) {
  if (updates::is_coded(state))
    encode_tile(updates::map_of(index), x, n, state.as<uint8_t>() + first,
                largest.as<float>() + first / updates::kStateBlock);
  else
    store_f32(state.dtype, x, static_cast<char*>(state.data) + first * element_bytes(state), n);
}

}  // namespace nft::cpu::NFT_ISA
