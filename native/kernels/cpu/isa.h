#pragma once
// The instruction set this translation unit is compiled for. The build compiles every kernels/cpu/*.cc once per set, with
// NFT_ISA = baseline | avx2 | avx512 | avx512bf16. Rules for these files:
//  - everything lives in namespace nft::cpu::NFT_ISA (or is static): no other symbol may carry wide instructions;
//  - no std:: containers and no inline functions of core/ other than NFT_INLINE / NFT_MEMBER ones.
#ifndef NFT_ISA
#error "compile with -DNFT_ISA=baseline, avx2, avx512 or avx512bf16"
#endif

#if defined(__AVX512F__)
#define NFT_SIMD_BYTES 64
#elif defined(__AVX2__)
#define NFT_SIMD_BYTES 32
#else
#define NFT_SIMD_BYTES 16
#endif
