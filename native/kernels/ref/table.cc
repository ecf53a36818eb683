// The ref device: plain loops in double, any storage type. Oracle of the tests and documentation of the ops.
#include "table.h"

#include <string>

#include "../registry.h"

namespace nft::ref {

#define NFT_OP(op, Args, ref, cpu, workspace) \
  NFT_PICK(                                   \
      ref, void op(const Args&, Context&);    \
      , static void op(const Args&, Context&) { fail("ERR_DEVICE_UNAVAILABLE", "[" #op "] has no ref kernel"); })
#include "../../ops/ops.def"
#undef NFT_OP

const Device& table() {
  static const Device device = [] {
    Device d;
    d.name = "ref";
#define NFT_OP(op, Args, ref, cpu, workspace) d.op = op;
#include "../../ops/ops.def"
#undef NFT_OP
    return d;
  }();
  return device;
}

}  // namespace nft::ref
