#pragma once
// A device is one struct of function pointers, filled from ops.def. Versioned, so that a plugin can provide one.
#include "../ops/all.h"
#include "context.h"

namespace nft {

constexpr int32_t kDeviceAbi = 1;

template <class Args>
using Kernel = void (*)(const Args&, Context&);
template <class Args>
using WorkspaceQuery = size_t (*)(const Args&, const Context&);  // bytes; null = none needed

struct Device {
  int32_t abi = kDeviceAbi;
  const char* name = "";
#define NFT_OP(op, Args, ref, cpu, workspace) \
  Kernel<Args> op = nullptr;                  \
  WorkspaceQuery<Args> op##_workspace = nullptr;
#include "../ops/ops.def"
#undef NFT_OP
};

// Index = the device number that lib/core/device.ts passes.
enum class DeviceId : int32_t { ref, cpu, count };

const Device& device(DeviceId id);

// Instruction set of the cpu device: chosen once, at first use, from the processor or NODE_FINETUNE_CPU.
const char* cpu_instruction_set();

}  // namespace nft
