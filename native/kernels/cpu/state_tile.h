#pragma once
// States of a tile of elements as f32, whatever they are stored as: see updates/block_states.h.
#include "../../updates/block_states.h"
#include "rows.h"

namespace nft::cpu::NFT_ISA {

static_assert(kTile % updates::kLargestBlock == 0 && kItemElements % updates::kLargestBlock == 0, "tiles are whole blocks");

template <class Map>
NFT_INLINE void decode_tile(const Map& map, const uint8_t* codes, const float* largest, int64_t n, float* x) {
  for (int64_t b = 0; b < n; b += Map::kBlock) {
    const float scale = largest[b / Map::kBlock];
    for (int64_t i = b; i < min64(n, b + Map::kBlock); ++i) x[i] = map.value[updates::code_at(map, codes, i)] * scale;
  }
}

// The search of encode_state, one step of it for all elements of a block at a time, which the compiler turns into gathers.
template <class Map>
NFT_INLINE void encode_block(const Map& map, const float* x, int64_t n, float largest, uint8_t* codes) {
  alignas(64) float ratio[Map::kBlock];
  alignas(64) int32_t found[Map::kBlock] = {};
  for (int64_t i = 0; i < n; ++i) ratio[i] = x[i] / largest;
  for (int step = Map::kCodes / 2; step > 0; step >>= 1)
    for (int64_t i = 0; i < n; ++i) found[i] += ratio[i] > map.limit[found[i] + step - 1] ? step : 0;
  for (int64_t i = 0; i < n; ++i) updates::set_code(map, codes, i, updates::keep_sign(map, found[i], x[i] < 0));
}

template <class Map>
NFT_INLINE void encode_tile(const Map& map, const float* x, int64_t n, uint8_t* codes, float* largest) {
  for (int64_t b = 0; b < n; b += Map::kBlock) {
    const int64_t count = min64(Map::kBlock, n - b);
    float most = 0;
    for (int64_t i = b; i < b + count; ++i) most = __builtin_fabsf(x[i]) > most ? __builtin_fabsf(x[i]) : most;
    largest[b / Map::kBlock] = most;
    uint8_t* block = codes + b * Map::kBits / 8;
    if (most > 0)
      encode_block(map, x + b, count, most, block);
    else
      for (int64_t i = 0; i < count; ++i) updates::set_code(map, block, i, map.zero);
  }
}

// Elements [first, first + n) of state number `index`; first is the start of a block where the state is coded.
NFT_INLINE void load_state(const Tensor& state, const Tensor& largest, int64_t bits, int index, int64_t first, int64_t n,
                           float* x) {
  if (!updates::is_coded(state))
    return load_f32(state.dtype, static_cast<const char*>(state.data) + first * element_bytes(state), x, n);
  updates::with_state_map(bits, index, [&](const auto& map) {
    decode_tile(map, state.as<const uint8_t>() + first * map.kBits / 8, largest.as<const float>() + first / map.kBlock, n,
                x);
  });
}
NFT_INLINE void store_state(const Tensor& state, const Tensor& largest, int64_t bits, int index, int64_t first, int64_t n,
                            const float* x) {
  if (!updates::is_coded(state))
    return store_f32(state.dtype, x, static_cast<char*>(state.data) + first * element_bytes(state), n);
  updates::with_state_map(bits, index, [&](const auto& map) {
    encode_tile(map, x, n, state.as<uint8_t>() + first * map.kBits / 8, largest.as<float>() + first / map.kBlock);
  });
}

}  // namespace nft::cpu::NFT_ISA
