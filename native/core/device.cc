#include "device.h"

#include <cstdlib>
#include <cstring>
#include <string>

#include "../kernels/cpu/table.h"
#include "../kernels/ref/table.h"

namespace nft {

namespace {

struct InstructionSet {
  const char* name;
  const Device& (*table)();
  bool (*supported)();
  bool (*worthwhile)();  // chosen without being asked for
};

#if defined(__x86_64__) || defined(_M_X64)
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}

bool always() { return true; }

// A dot product of bf16 pairs has twice the rate of f32 multiply-adds on AMD's cores, and half of it on Intel's
// (docs/log.md): there bf16 operands are multiplied as f32.
bool has_fast_bf16_dot() { return __builtin_cpu_is("amd"); }

// From the most to the least capable.
constexpr InstructionSet kInstructionSets[] = {
    {"avx512bf16", cpu::avx512bf16::table, [] { return has_avx512() && __builtin_cpu_supports("avx512bf16"); },
     has_fast_bf16_dot},
    {"avx512", cpu::avx512::table, has_avx512, always},
    {"avx2", cpu::avx2::table, [] { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }, always},
    {"baseline", cpu::baseline::table, always, always},
};
#else
bool always() { return true; }

constexpr InstructionSet kInstructionSets[] = {{"baseline", cpu::baseline::table, always, always}};
#endif

const InstructionSet& choose() {
  const char* wanted = std::getenv("NODE_FINETUNE_CPU");
  std::string known;
  for (const InstructionSet& set : kInstructionSets) {
    if (wanted == nullptr || *wanted == '\0') {
      if (set.supported() && set.worthwhile()) return set;
      continue;
    }
    if (std::strcmp(wanted, set.name) == 0) {
      if (set.supported()) return set;
      fail("ERR_DEVICE_UNAVAILABLE", std::string("NODE_FINETUNE_CPU=") + wanted + ", but this processor does not have it");
    }
    known += std::string(known.empty() ? "" : ", ") + set.name;
  }
  fail("ERR_DEVICE_UNAVAILABLE", std::string("NODE_FINETUNE_CPU=") + wanted + " is unknown; use one of: " + known);
}

const InstructionSet& chosen() {
  static const InstructionSet& set = choose();
  return set;
}

}  // namespace

const char* cpu_instruction_set() { return chosen().name; }

const Device& device(DeviceId id) {
  switch (id) {
    case DeviceId::ref: return ref::table();
    case DeviceId::cpu: return chosen().table();
    default: fail("ERR_DEVICE_UNAVAILABLE", "unknown device number " + std::to_string(static_cast<int>(id)));
  }
}

}  // namespace nft
