{
  "variables": {
    "nft_core_sources": [
      "native/core/device.cc",
      "native/core/errors.cc",
      "native/core/segments.cc",
      "native/core/thread_pool.cc",
      "native/ops/check.cc",
      "native/kernels/ref/table.cc",
      "native/kernels/ref/apollo_update.cc",
      "native/kernels/ref/attention.cc",
      "native/kernels/ref/columns.cc",
      "native/kernels/ref/elementwise.cc",
      "native/kernels/ref/embedding.cc",
      "native/kernels/ref/factored_update.cc",
      "native/kernels/ref/galore_update.cc",
      "native/kernels/ref/gated_activation.cc",
      "native/kernels/ref/linear.cc",
      "native/kernels/ref/linear_cross_entropy.cc",
      "native/kernels/ref/logit_difference.cc",
      "native/kernels/ref/low_rank_basis.cc",
      "native/kernels/ref/muon_update.cc",
      "native/kernels/ref/optimizer_update.cc",
      "native/kernels/ref/perturb.cc",
      "native/kernels/ref/quantize.cc",
      "native/kernels/ref/reduce.cc",
      "native/kernels/ref/rms_norm.cc",
      "native/kernels/ref/rope.cc",
      "native/kernels/ref/row_norms.cc",
      "native/kernels/ref/sample_token.cc"
    ],
    "nft_cpu_sources": [
      "native/kernels/cpu/apollo_update.cc",
      "native/kernels/cpu/attention_backward.cc",
      "native/kernels/cpu/attention_forward.cc",
      "native/kernels/cpu/cast.cc",
      "native/kernels/cpu/columns.cc",
      "native/kernels/cpu/dropout.cc",
      "native/kernels/cpu/elementwise.cc",
      "native/kernels/cpu/embedding.cc",
      "native/kernels/cpu/factored_update.cc",
      "native/kernels/cpu/galore_update.cc",
      "native/kernels/cpu/gated_activation.cc",
      "native/kernels/cpu/gemm/gemm.cc",
      "native/kernels/cpu/gemm/matvec.cc",
      "native/kernels/cpu/gemm/narrow.cc",
      "native/kernels/cpu/gemm/narrow_pair.cc",
      "native/kernels/cpu/linear.cc",
      "native/kernels/cpu/linear_cross_entropy.cc",
      "native/kernels/cpu/linear_cross_entropy_update.cc",
      "native/kernels/cpu/linear_update.cc",
      "native/kernels/cpu/logit_difference.cc",
      "native/kernels/cpu/low_rank_basis.cc",
      "native/kernels/cpu/muon_update.cc",
      "native/kernels/cpu/optimizer_update.cc",
      "native/kernels/cpu/orthonormal_rows.cc",
      "native/kernels/cpu/perturb.cc",
      "native/kernels/cpu/quantize.cc",
      "native/kernels/cpu/random_fill.cc",
      "native/kernels/cpu/reduce.cc",
      "native/kernels/cpu/rms_norm.cc",
      "native/kernels/cpu/rope.cc",
      "native/kernels/cpu/rows.cc",
      "native/kernels/cpu/row_norms.cc",
      "native/kernels/cpu/sample_token.cc",
      "native/kernels/cpu/symmetric_eigen.cc",
      "native/kernels/cpu/table.cc"
    ],
    "nft_addon_sources": [
      "native/bindings/addon.cc",
      "native/bindings/arguments.cc"
    ],
    "nft_cxx_flags": [
      "-std=c++17", "-fvisibility=hidden", "-fvisibility-inlines-hidden", "-ffunction-sections", "-ffp-contract=off", "-Wall", "-Wextra"
    ],
    "nft_linux_link_flags": ["-static-libstdc++", "-Wl,-z,nodelete", "-Wl,--gc-sections", "-Wl,--exclude-libs,ALL", "-Wl,-Bsymbolic"],
    "nft_addon_defines": [
      "NAPI_VERSION=9", "NAPI_CPP_EXCEPTIONS", "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS", "NODE_ADDON_API_DISABLE_DEPRECATED"
    ],
    "nft_cpu_common_flags": ["-fno-math-errno", "-fno-trapping-math"],
    "nft_portable_flags": ["-DNFT_ISA=baseline"],
    "nft_baseline_flags": ["-DNFT_ISA=baseline", "-march=x86-64-v2"],
    "nft_avx2_flags": ["-DNFT_ISA=avx2", "-march=x86-64-v3"],
    "nft_avx512_flags": ["-DNFT_ISA=avx512", "-march=x86-64-v4", "-mprefer-vector-width=512", "-Wno-uninitialized"],
    "nft_avx512bf16_flags": [
      "-DNFT_ISA=avx512bf16", "-march=x86-64-v4", "-mavx512bf16", "-mprefer-vector-width=512", "-Wno-uninitialized"
    ]
  }
}
