#pragma once
// One table per instruction set; kernels/cpu/*.cc is compiled once for each, with NFT_ISA naming the namespace.
#include "../../core/device.h"

namespace nft::cpu {
namespace baseline {
const Device& table();
}
namespace avx2 {
const Device& table();
}
namespace avx512 {
const Device& table();
}
namespace avx512bf16 {
const Device& table();
}
}  // namespace nft::cpu
