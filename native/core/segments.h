#pragma once
// Memory that tensors point into: heap segments, read-only file maps and writable maps of scratch files, by id with a
// generation, so that a stale id is an error and not a wild pointer. The id table is process-wide: workers share it; each
// environment frees what it made.
#include <cstddef>
#include <cstdint>
#include <string>

namespace nft {

using SegmentId = int64_t;  // slot + generation * 2^20; exact in a double

enum class SegmentCategory : int32_t { weights, gradients, optimizer, arena, other, mapped, offloaded, count };

struct SegmentView {
  char* data;
  size_t bytes;
  bool writable;
};

SegmentId allocate_segment(size_t bytes,
                           SegmentCategory category);  // zero-filled, 64-byte aligned; throws ERR_OUT_OF_MEMORY
SegmentId map_file(const std::string& path);           // read-only; throws ERR_FILE
// Zero-filled and writable, kept by a new file in the folder of `path` that has no name when this returns: however the
// process ends, the system takes its space back. All of it is reserved here, so that no later write finds the disk full;
// throws ERR_FILE. linkable: for link_scratch, which takes a file descriptor.
SegmentId map_scratch(const std::string& path, size_t bytes, bool linkable = false);
// Whether link_scratch can name the file: made for it, where the file system has files without a name (Linux: O_TMPFILE).
bool is_linkable(SegmentId id);
// Flushes a scratch file to its disk and gives it the new name `path` there; it stays mapped. Throws ERR_FILE.
void link_scratch(SegmentId id, const std::string& path);
void release_segment(SegmentId id);  // throws ERR_DISPOSED when already released
SegmentView segment(SegmentId id);   // throws ERR_DISPOSED

struct MemoryStatistics {
  int64_t current[static_cast<int>(SegmentCategory::count)];
  int64_t peak[static_cast<int>(SegmentCategory::count)];
  int64_t heap_current, heap_peak;  // of all heap segments together
  int64_t allocations;              // heap segments ever made
};
MemoryStatistics memory_statistics();
void reset_memory_peak();
// Test hook: the allocation after the next `after` ones fails as if memory had run out; negative turns it off.
void fail_allocation_after(int64_t after);

}  // namespace nft
