#pragma once
// What linear_cross_entropy and its fused update must do alike, bit for bit: which tokens take part, how many are summed at
// a time, and the gradient of a logit.
#include "../../core/tensor.h"
#include "rows.h"
#include "simd_math.h"

namespace nft::cpu::NFT_ISA {

// Tokens that a weight gradient is summed over at a time, in order, and whose logits are held for it: as f32 they take a
// third of the weight's bytes, so that reading the weight again for each chunk stays cheap beside its products, and memory
// small beside the weight; or up to 12 MiB.
NFT_INLINE int64_t cross_entropy_chunk(const Tensor& weight) {
  const int64_t bytes = weight.dtype == DType::f32 ? 4 : 2;
  const int64_t third = weight.cols() * bytes / 12, few = (12 << 20) / (4 * max64(1, weight.rows()));
  return min64(256, max64(64, max64(third, few) / 16 * 16));
}

// index[0 .. count) = the tokens with a target, in order; returns count.
NFT_INLINE int64_t labelled_tokens(const Tensor& targets, int32_t* index) {
  const int32_t* target = targets.as<const int32_t>();
  int64_t count = 0;
  for (int64_t n = 0; n < targets.num_elements(); ++n)
    if (target[n] >= 0) index[count++] = static_cast<int32_t>(n);
  return count;
}

// z = softcap * tanh(z / softcap) in place; nothing for softcap 0.
NFT_INLINE void cap_logits(float* z, int64_t n, float softcap) {
  if (!(softcap > 0)) return;
  const float inverse = 1 / softcap;
  for_vectors(
      n, [&](int64_t i, int count) __attribute__((always_inline)) {
        store_n(z + i, simd::tanh(load_n(z + i, count) * inverse) * softcap, count);
      });
}

// Type of the gradient of the logits: like h where that is bf16, since both are operands of products then.
NFT_INLINE DType logit_gradient_type(const Tensor& h) { return h.dtype == DType::bf16 ? DType::bf16 : DType::f32; }

// gradient[i] = weight * (exp(z[i] - lse) - [i == target]) * dz/dlogit for n logits; may lie where z does. A token of weight
// 0 has gradient 0 whatever z is. target counts from z's first element and may lie outside.
template <class Float>
NFT_INLINE void logit_gradient(const float* z, int64_t n, float lse, int64_t target, float weight, float softcap,
                               typename Float::Element* gradient) {
  if (weight == 0) {
    std::memset(gradient, 0, static_cast<size_t>(n) * sizeof(*gradient));
    return;
  }
  const float inverse = softcap > 0 ? 1 / softcap : 0;
  const float at_target = target >= 0 && target < n ? z[target] : 0;
  for_vectors(
      n, [&](int64_t i, int count) __attribute__((always_inline)) {
        const simd::f32v x = load_n(z + i, count), t = x * inverse;
        // In place this is behind what has been read: gradient[i] does not lie after z[i].
        Float::store(gradient + i, (simd::exp(x - lse) * weight) * (1.f - t * t), count);
      });
  if (target >= 0 && target < n) {
    const float t = at_target * inverse;
    Float::store1(gradient + target, (simd::exp(simd::set1(at_target - lse))[0] - 1) * weight * (1 - t * t));
  }
}

NFT_INLINE void logit_gradient(DType type, const float* z, int64_t n, float lse, int64_t target, float weight, float softcap,
                               void* gradient) {
  if (type == DType::bf16)
    logit_gradient<simd::Bf16>(z, n, lse, target, weight, softcap, static_cast<uint16_t*>(gradient));
  else
    logit_gradient<simd::F32>(z, n, lse, target, weight, softcap, static_cast<float*>(gradient));
}

}  // namespace nft::cpu::NFT_ISA
