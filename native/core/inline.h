#pragma once
// Helpers shared by translation units that are compiled for different instruction sets must never become one
// out-of-line symbol: the linker could then keep the AVX-512 body and a baseline CPU would run it.
#if defined(_MSC_VER)
#define NFT_INLINE static __forceinline
#else
#define NFT_INLINE static inline __attribute__((always_inline))
#endif
#if defined(_MSC_VER)
#define NFT_MEMBER __forceinline
#else
#define NFT_MEMBER inline __attribute__((always_inline))
#endif
