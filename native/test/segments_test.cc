#include "../core/segments.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "test.h"

namespace nft {

using test::error_code;

namespace {

int64_t current(SegmentCategory c) { return memory_statistics().current[static_cast<int>(c)]; }

// A file that is gone at the end of the test.
struct TemporaryFile {
  std::string path;
  explicit TemporaryFile(const std::string& content) {
    const char* folder = std::getenv("TMPDIR");
    path = std::string(folder != nullptr ? folder : "/tmp") + "/nft_segments_XXXXXX";
    const int fd = mkstemp(path.data());
    CHECK(fd >= 0 && write(fd, content.data(), content.size()) == static_cast<ssize_t>(content.size()));
    close(fd);
  }
  ~TemporaryFile() { unlink(path.c_str()); }
};

}  // namespace

TEST(segments, are_zeroed_aligned_and_writable) {
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{4096}, size_t{20} << 20}) {
    const SegmentId id = allocate_segment(bytes, SegmentCategory::weights);
    const SegmentView v = segment(id);
    CHECK(v.bytes == bytes && v.writable && reinterpret_cast<uintptr_t>(v.data) % 64 == 0);
    bool zero = true;
    for (size_t i = 0; i < bytes; ++i) zero = zero && v.data[i] == 0;
    CHECK(zero);
    std::memset(v.data, 0x5A, bytes);
    release_segment(id);
  }
}

TEST(segments, stale_and_unknown_ids_are_errors) {
  const SegmentId id = allocate_segment(64, SegmentCategory::other);
  release_segment(id);
  CHECK(error_code([&] { segment(id); }) == "ERR_DISPOSED");
  CHECK(error_code([&] { release_segment(id); }) == "ERR_DISPOSED");
  const SegmentId reused = allocate_segment(64, SegmentCategory::other);
  CHECK(reused != id);
  CHECK(error_code([&] { segment(id); }) == "ERR_DISPOSED");
  CHECK(segment(reused).bytes == 64);
  release_segment(reused);
  for (const SegmentId bad : {SegmentId{-1}, SegmentId{1} << 19, INT64_MAX}) {
    CHECK(error_code([&] { segment(bad); }) == "ERR_DISPOSED");
  }
}

TEST(segments, statistics_follow_every_category) {
  const MemoryStatistics before = memory_statistics();
  const SegmentId a = allocate_segment(1000, SegmentCategory::gradients),
                  b = allocate_segment(500, SegmentCategory::gradients);
  CHECK(current(SegmentCategory::gradients) == before.current[1] + 1500);
  release_segment(a);
  const MemoryStatistics after = memory_statistics();
  CHECK(after.current[1] == before.current[1] + 500 && after.peak[1] >= before.current[1] + 1500);
  CHECK(after.allocations == before.allocations + 2);
  reset_memory_peak();
  CHECK(memory_statistics().peak[1] == before.current[1] + 500);
  release_segment(b);
}

TEST(segments, running_out_is_an_error_and_leaves_nothing_behind) {
  const MemoryStatistics before = memory_statistics();
  CHECK(error_code([] { allocate_segment(size_t{1} << 60, SegmentCategory::weights); }) == "ERR_OUT_OF_MEMORY");
  fail_allocation_after(1);
  const SegmentId id = allocate_segment(64, SegmentCategory::weights);
  CHECK(error_code([] { allocate_segment(64, SegmentCategory::weights); }) == "ERR_OUT_OF_MEMORY");
  const SegmentId next = allocate_segment(64, SegmentCategory::weights);  // the hook fires once
  release_segment(id);
  release_segment(next);
  CHECK(memory_statistics().current[0] == before.current[0]);
}

TEST(segments, maps_files_read_only) {
  const TemporaryFile file("hello, weights"), empty("");
  const SegmentId id = map_file(file.path);
  const SegmentView v = segment(id);
  CHECK(v.bytes == 14 && !v.writable && std::memcmp(v.data, "hello, weights", 14) == 0);
  CHECK(current(SegmentCategory::mapped) >= 14);
  release_segment(id);
  CHECK(error_code([&] { map_file(empty.path); }) == "ERR_FILE");
  CHECK(error_code([&] { map_file(file.path + ".missing"); }) == "ERR_FILE");
  CHECK(error_code([] { map_file("/"); }) == "ERR_FILE");
}

TEST(segments, scratch_files_are_zeroed_writable_and_have_no_name) {
  const TemporaryFile taken("x");
  const std::string path = taken.path + ".scratch";
  const int64_t heap = memory_statistics().heap_current;
  const SegmentId id = map_scratch(path, 10000);
  const SegmentView v = segment(id);
  CHECK(v.bytes == 10000 && v.writable && v.data[0] == 0 && v.data[9999] == 0);
  CHECK(access(path.c_str(), F_OK) != 0);
  std::memset(v.data, 7, v.bytes);
  CHECK(current(SegmentCategory::offloaded) == 10000 && memory_statistics().heap_current == heap);
  release_segment(id);
  CHECK(current(SegmentCategory::offloaded) == 0);
  CHECK(error_code([&] { map_scratch(taken.path + "/no/folder", 10); }) == "ERR_FILE");
  CHECK(error_code([&] { map_scratch(path, size_t{1} << 60); }) == "ERR_FILE");
  CHECK(access(path.c_str(), F_OK) != 0);
}

TEST(segments, scratch_files_can_be_named_once_written) {
  const TemporaryFile taken("x");
  const std::string path = taken.path + ".named";
  const SegmentId id = map_scratch(taken.path + ".scratch", 5000, true);
  std::memset(segment(id).data, 7, 5000);
  if (is_linkable(id)) {
    CHECK(error_code([&] { link_scratch(id, taken.path); }) == "ERR_FILE");  // exists already
    link_scratch(id, path);
    const SegmentId read = map_file(path);
    CHECK(segment(read).bytes == 5000 && segment(read).data[4999] == 7);
    release_segment(read);
    std::remove(path.c_str());
  } else {
    CHECK(error_code([&] { link_scratch(id, path); }) == "ERR_FILE");
  }
  release_segment(id);
  const SegmentId heap = allocate_segment(64, SegmentCategory::other);
  CHECK(!is_linkable(heap) && error_code([&] { link_scratch(heap, path); }) == "ERR_FILE");
  release_segment(heap);
}

TEST(segments, threads_may_allocate_at_once) {
  const int64_t before = current(SegmentCategory::other);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([] {
      for (int i = 0; i < 200; ++i) {
        const SegmentId id = allocate_segment(128, SegmentCategory::other);
        std::memset(segment(id).data, i, 128);
        release_segment(id);
      }
    });
  }
  for (std::thread& t : threads) t.join();
  CHECK(current(SegmentCategory::other) == before);
}

}  // namespace nft
