#include "arguments.h"

namespace nft::bindings {

void Unpack::read(const char* name, Access access, Tensor& t) {
  const double* s = slots_;
  slots_ += kTensorSlots;
  t = Tensor{};
  if (s[0] == kAbsent) return;
  const auto where = [&] { return std::string("[") + op_ + "] " + name; };
  for (int i = 1; i < kTensorSlots; ++i)
    if (!(s[i] >= 0 && s[i] <= 9007199254740992.0 && s[i] == std::floor(s[i])))
      fail("ERR_SHAPE", where() + " has an invalid descriptor");
  if (s[2] >= static_cast<double>(DType::count) || s[3] > kMaxDims)
    fail("ERR_SHAPE", where() + " has an invalid descriptor");
  t.present = true;
  t.dtype = static_cast<DType>(static_cast<int32_t>(s[2]));
  t.ndim = static_cast<int32_t>(s[3]);
  t.row_stride = static_cast<int64_t>(s[4]);
  double rows = 1;  // in doubles: hostile dimensions must not overflow
  for (int i = 0; i < kMaxDims; ++i) {
    t.dim[i] = static_cast<int64_t>(s[5 + i]);
    if (i + 1 < t.ndim) rows *= s[5 + i];
  }
  if (rows * (s[4] + 1) > 1e15 || rows * static_cast<double>(t.cols()) > 1e15)
    fail("ERR_SHAPE", where() + " is impossibly large");
  if (t.rows() > 1 && t.row_stride < t.cols()) fail("ERR_SHAPE", where() + " has rows that overlap: " + describe(t));
  const int32_t block = info(t.dtype).block_elements;
  if (t.cols() % block != 0 || t.row_stride % block != 0)
    fail("ERR_SHAPE", where() + " has rows that are no multiple of its block of " + std::to_string(block) + " elements");
  if (dry_) return;
  if (s[0] == kDry) fail("ERR_DISPOSED", where() + " belongs to a memory plan and holds no data");
  const SegmentView view = segment(static_cast<SegmentId>(s[0]));
  const int64_t offset = static_cast<int64_t>(s[1]);
  if (offset < 0 || offset + t.extent_bytes() > static_cast<int64_t>(view.bytes))
    fail("ERR_SHAPE", where() + " reaches past the end of its memory: " + describe(t));
  if (access != Access::in && !view.writable) fail("ERR_SHAPE", where() + " is written, but lies in a read-only file map");
  t.data = view.data + offset;
}

}  // namespace nft::bindings
