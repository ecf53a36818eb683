{
  "variables": {
    "nft_core_sources": [
      "native/core/device.cc",
      "native/core/errors.cc",
      "native/core/segments.cc",
      "native/core/thread_pool.cc",
      "native/ops/check.cc",
      "native/kernels/ref/table.cc"
    ],
    "nft_cpu_sources": [
      "native/kernels/cpu/table.cc"
    ],
    "nft_addon_sources": [
      "native/bindings/addon.cc",
      "native/bindings/arguments.cc"
    ],
    "nft_napi_version": "9",
    "nft_baseline_flags": ["-DNFT_ISA=baseline", "-march=x86-64-v2"],
    "nft_avx2_flags": ["-DNFT_ISA=avx2", "-march=x86-64-v3"],
    "nft_avx512_flags": ["-DNFT_ISA=avx512", "-march=x86-64-v4", "-mprefer-vector-width=512"],
    "nft_cpu_common_flags": ["-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
  }
}
