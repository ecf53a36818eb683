// The cpu device for one instruction set.
#include "table.h"

#include <string>

#include "../registry.h"

namespace nft::cpu::NFT_ISA {

#define NFT_OP(op, Args, ref, cpu, workspace)                                                                     \
  NFT_PICK(                                                                                                       \
      cpu, void op(const Args&, Context&);                                                                        \
      , static void op(const Args&, Context&) { fail("ERR_DEVICE_UNAVAILABLE", "[" #op "] has no cpu kernel"); }) \
  NFT_PICK(NFT_AND(cpu, workspace), size_t op##_workspace(const Args&, const Context&);, NFT_EMPTY)
#include "../../ops/ops.def"
#undef NFT_OP

const Device& table() {
  static const Device device = [] {
    Device d;
    d.name = "cpu";
#define NFT_OP(op, Args, ref, cpu, workspace) \
  d.op = op;                                  \
  NFT_PICK(NFT_AND(cpu, workspace), d.op##_workspace = op##_workspace;, NFT_EMPTY)
#include "../../ops/ops.def"
#undef NFT_OP
    return d;
  }();
  return device;
}

}  // namespace nft::cpu::NFT_ISA
