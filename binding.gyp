{
  # The CPU addon with nothing but node-gyp, a C++17 compiler and Python. CMakeLists.txt builds the same from the same lists
  # (native/sources.gypi), and what needs more than a compiler besides.
  "includes": ["native/sources.gypi"],
  "target_defaults": {
    "cflags!": ["-fno-omit-frame-pointer"],
    "cflags_cc!": ["-fno-exceptions", "-fno-rtti", "-std=gnu++17", "-std=gnu++20", "-std=gnu++23"],
    "cflags_cc": ["<@(nft_cxx_flags)"],
    "xcode_settings": {
      "GCC_ENABLE_CPP_EXCEPTIONS": "YES",
      "GCC_ENABLE_CPP_RTTI": "YES",
      "MACOSX_DEPLOYMENT_TARGET": "11.0",
      "OTHER_CPLUSPLUSFLAGS": ["<@(nft_cxx_flags)"]
    },
    "configurations": { "Release": { "defines": ["NDEBUG"] } }
  },
  "targets": [
    {
      "target_name": "nft_core",
      "type": "static_library",
      "sources": ["<@(nft_core_sources)"]
    },
    {
      "target_name": "nft_cpu_baseline",
      "type": "static_library",
      "sources": ["<@(nft_cpu_sources)"],
      "cflags_cc": ["<@(nft_cpu_common_flags)"],
      "xcode_settings": { "OTHER_CPLUSPLUSFLAGS": ["<@(nft_cpu_common_flags)"] },
      "conditions": [
        ["target_arch=='x64'", {
          "cflags_cc": ["<@(nft_baseline_flags)"],
          "xcode_settings": { "OTHER_CPLUSPLUSFLAGS": ["<@(nft_baseline_flags)"] }
        }, {
          "cflags_cc": ["<@(nft_portable_flags)"],
          "xcode_settings": { "OTHER_CPLUSPLUSFLAGS": ["<@(nft_portable_flags)"] }
        }]
      ]
    },
    {
      "target_name": "node_finetune",
      "sources": ["<@(nft_addon_sources)"],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["<@(nft_addon_defines)"],
      "dependencies": ["nft_core", "nft_cpu_baseline"],
      "conditions": [
        ["target_arch=='x64'", { "dependencies": ["nft_cpu_avx2", "nft_cpu_avx512", "nft_cpu_avx512bf16"] }],
        ["OS=='linux'", { "ldflags": ["<@(nft_linux_link_flags)", "-Wl,--version-script=../native/exports.map", "-pthread"] }]
      ]
    }
  ],
  "conditions": [
    ["target_arch=='x64'", {
      "targets": [
        {
          "target_name": "nft_cpu_avx2",
          "type": "static_library",
          "sources": ["<@(nft_cpu_sources)"],
          "cflags_cc": ["<@(nft_cpu_common_flags)", "<@(nft_avx2_flags)"],
          "xcode_settings": { "OTHER_CPLUSPLUSFLAGS": ["<@(nft_cpu_common_flags)", "<@(nft_avx2_flags)"] }
        },
        {
          "target_name": "nft_cpu_avx512",
          "type": "static_library",
          "sources": ["<@(nft_cpu_sources)"],
          "cflags_cc": ["<@(nft_cpu_common_flags)", "<@(nft_avx512_flags)"],
          "xcode_settings": { "OTHER_CPLUSPLUSFLAGS": ["<@(nft_cpu_common_flags)", "<@(nft_avx512_flags)"] }
        },
        {
          "target_name": "nft_cpu_avx512bf16",
          "type": "static_library",
          "sources": ["<@(nft_cpu_sources)"],
          "cflags_cc": ["<@(nft_cpu_common_flags)", "<@(nft_avx512bf16_flags)"],
          "xcode_settings": { "OTHER_CPLUSPLUSFLAGS": ["<@(nft_cpu_common_flags)", "<@(nft_avx512bf16_flags)"] }
        }
      ]
    }]
  ]
}
