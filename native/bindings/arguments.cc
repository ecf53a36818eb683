#include "arguments.h"

namespace nft::bindings {

void Unpack::read(const char* name, Access access, Tensor& t) {
  const double* s = slots_;
  slots_ += kTensorSlots;
  t = Tensor{};
  if (s[0] == kAbsent) return;
  const std::string where = std::string("[") + op_ + "] " + name;
  t.present = true;
  t.dtype = static_cast<DType>(static_cast<int32_t>(s[2]));
  t.ndim = static_cast<int32_t>(s[3]);
  t.row_stride = static_cast<int64_t>(s[4]);
  if (s[2] < 0 || s[2] >= static_cast<double>(DType::count) || t.ndim < 0 || t.ndim > kMaxDims)
    fail("ERR_SHAPE", where + " has an invalid descriptor");
  for (int i = 0; i < kMaxDims; ++i) t.dim[i] = static_cast<int64_t>(s[5 + i]);
  if (t.cols() % info(t.dtype).block_elements != 0)
    fail("ERR_SHAPE", where + " has rows that are no multiple of its block of " +
                          std::to_string(info(t.dtype).block_elements) + " elements");
  if (dry_) return;
  if (s[0] == kDry) fail("ERR_DISPOSED", where + " belongs to a memory plan and holds no data");
  const SegmentView view = segment(static_cast<SegmentId>(s[0]));
  const int64_t offset = static_cast<int64_t>(s[1]);
  if (offset < 0 || offset + t.extent_bytes() > static_cast<int64_t>(view.bytes))
    fail("ERR_SHAPE", where + " reaches past the end of its memory: " + describe(t));
  if (access != Access::in && !view.writable) fail("ERR_SHAPE", where + " is written, but lies in a read-only file map");
  t.data = view.data + offset;
}

}  // namespace nft::bindings
