#pragma once
// What a kernel gets besides its arguments.
#include <cstddef>
#include <cstdint>

namespace nft {

struct Context {
  int threads = 1;            // the pool's size; workspace queries may scale with it
  void* workspace = nullptr;  // 64-byte aligned, workspace_bytes as the op's query asked; contents undefined
  size_t workspace_bytes = 0;
};

}  // namespace nft
