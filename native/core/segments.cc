#include "segments.h"

#include <mutex>
#include <vector>

#include "errors.h"

#if defined(_WIN32)
#include <malloc.h>
#include <windows.h>
#else
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#endif

namespace nft {

namespace {

constexpr int64_t kSlotRange = int64_t{1} << 20;

struct Slot {
  char* data = nullptr;
  size_t bytes = 0;
  SegmentCategory category = SegmentCategory::other;
  bool used = false, mapped = false, writable = true;
  int fd = -1;  // of a scratch file that can still be named
  int64_t generation = 0;
};

struct Table {
  std::mutex mutex;
  std::vector<Slot> slots;
  std::vector<int64_t> free_slots;
  MemoryStatistics statistics{};
  int64_t fail_after = -1;
};

Table& table() {
  static Table* t = new Table;  // never destroyed: worker environments may outlive static destruction
  return *t;
}

constexpr size_t kHugePage = size_t{2} << 20;

// Address space of a heap segment. Linux puts a mapping on a huge page's boundary only if it ends on one; what lies behind
// `bytes` is never touched.
size_t reserved_bytes(size_t bytes) {
  return bytes < 2 * kHugePage ? bytes : (bytes + kHugePage - 1) / kHugePage * kHugePage;
}

// Whole pages from the system: zero-filled for free, given back at once, and huge pages where the system grants them: keys
// and values that a token reads from small ones take three times as long.
char* allocate_pages(size_t bytes) {
#if defined(_WIN32)
  return static_cast<char*>(VirtualAlloc(nullptr, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE));
#else
  void* p = mmap(nullptr, reserved_bytes(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return nullptr;
#if defined(MADV_HUGEPAGE)
  if (bytes >= 2 * kHugePage) madvise(p, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
  return static_cast<char*>(p);
#endif
}

void free_pages(char* data, size_t bytes) {
#if defined(_WIN32)
  (void)bytes;
  VirtualFree(data, 0, MEM_RELEASE);
#else
  munmap(data, reserved_bytes(bytes));
#endif
}

#if !defined(_WIN32)
// Blocks of the disk for all of a file, which then has this size; 0 or an errno.
int reserve(int fd, size_t bytes) {
#if defined(__APPLE__)
  fstore_t store = {F_ALLOCATEALL, F_PEOFPOSMODE, 0, static_cast<off_t>(bytes), 0};
  if (fcntl(fd, F_PREALLOCATE, &store) != 0) return errno;
  return ftruncate(fd, static_cast<off_t>(bytes)) == 0 ? 0 : errno;
#else
  int result;
  do result = posix_fallocate(fd, 0, static_cast<off_t>(bytes));
  while (result == EINTR);
  return result;
#endif
}

// A file in the folder of `path` that never had a name and can be given one, or -1.
int open_nameless(const std::string& path) {
#if defined(O_TMPFILE)
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  return open(folder.c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0666);
#else
  (void)path;
  return -1;
#endif
}
#endif

SegmentId insert(Table& t, char* data, size_t bytes, SegmentCategory category) {
  const bool mapped = category == SegmentCategory::mapped || category == SegmentCategory::offloaded;
  int64_t index;
  if (!t.free_slots.empty()) {
    index = t.free_slots.back();
    t.free_slots.pop_back();
  } else {
    index = static_cast<int64_t>(t.slots.size());
    if (index >= kSlotRange) fail("ERR_OUT_OF_MEMORY", "more than 2^20 memory segments");
    t.slots.emplace_back();
  }
  Slot& s = t.slots[static_cast<size_t>(index)];
  s.data = data;
  s.bytes = bytes;
  s.category = category;
  s.mapped = mapped;
  s.writable = category != SegmentCategory::mapped;
  s.fd = -1;
  s.used = true;
  const int c = static_cast<int>(category);
  t.statistics.current[c] += static_cast<int64_t>(bytes);
  if (t.statistics.current[c] > t.statistics.peak[c]) t.statistics.peak[c] = t.statistics.current[c];
  if (!mapped) {
    ++t.statistics.allocations;
    t.statistics.heap_current += static_cast<int64_t>(bytes);
    if (t.statistics.heap_current > t.statistics.heap_peak) t.statistics.heap_peak = t.statistics.heap_current;
  }
  return index + s.generation * kSlotRange;
}

Slot& find(Table& t, SegmentId id) {
  const int64_t index = id % kSlotRange;
  if (id < 0 || index >= static_cast<int64_t>(t.slots.size())) fail("ERR_DISPOSED", "unknown memory segment");
  Slot& s = t.slots[static_cast<size_t>(index)];
  if (!s.used || s.generation != id / kSlotRange) fail("ERR_DISPOSED", "this memory was already released");
  return s;
}

}  // namespace

SegmentId allocate_segment(size_t bytes, SegmentCategory category) {
  Table& t = table();
  std::lock_guard<std::mutex> lock(t.mutex);
  char* data = nullptr;
  const bool injected = t.fail_after == 0;
  if (t.fail_after >= 0) --t.fail_after;
  if (!injected) data = allocate_pages(bytes == 0 ? 1 : bytes);
  if (data == nullptr) fail("ERR_OUT_OF_MEMORY", "could not allocate " + std::to_string(bytes) + " bytes");
  return insert(t, data, bytes, category);
}

SegmentId map_file(const std::string& path) {
#if defined(_WIN32)
  HANDLE file = CreateFileA(path.c_str(), GENERIC_READ, FILE_SHARE_READ, nullptr, OPEN_EXISTING, 0, nullptr);
  if (file == INVALID_HANDLE_VALUE) fail("ERR_FILE", path + ": cannot be opened");
  LARGE_INTEGER size;
  GetFileSizeEx(file, &size);
  HANDLE mapping = CreateFileMappingA(file, nullptr, PAGE_READONLY, 0, 0, nullptr);
  CloseHandle(file);
  void* data = mapping == nullptr ? nullptr : MapViewOfFile(mapping, FILE_MAP_READ, 0, 0, 0);
  if (mapping != nullptr) CloseHandle(mapping);
  if (data == nullptr) fail("ERR_FILE", path + ": cannot be mapped");
  const size_t bytes = static_cast<size_t>(size.QuadPart);
#else
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail("ERR_FILE", path + ": " + std::strerror(errno));
  struct stat st;
  if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size == 0) {
    close(fd);
    fail("ERR_FILE", path + ": is empty or not a regular file");
  }
  const size_t bytes = static_cast<size_t>(st.st_size);
  void* data = mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
  const int error = errno;
  close(fd);
  if (data == MAP_FAILED) fail("ERR_FILE", path + ": cannot be mapped: " + std::strerror(error));
#endif
  Table& t = table();
  std::lock_guard<std::mutex> lock(t.mutex);
  return insert(t, static_cast<char*>(data), bytes, SegmentCategory::mapped);
}

SegmentId map_scratch(const std::string& path, size_t bytes, bool linkable) {
#if defined(_WIN32)
  (void)bytes;
  (void)linkable;
  fail("ERR_FILE", path + ": scratch files are not supported on Windows");
#else
  int fd = open_nameless(path);
  if (fd < 0) {
    linkable = false;
    fd = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) fail("ERR_FILE", path + ": cannot be made: " + std::strerror(errno));
    unlink(path.c_str());
  }
  const int reserved = reserve(fd, bytes);
  if (reserved != 0) {
    close(fd);
    fail("ERR_FILE", path + ": cannot reserve " + std::to_string(bytes) + " bytes: " + std::strerror(reserved));
  }
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  const int error = errno;
  if (!linkable || data == MAP_FAILED) close(fd);
  if (data == MAP_FAILED) fail("ERR_FILE", path + ": cannot be mapped: " + std::strerror(error));
  Table& t = table();
  std::lock_guard<std::mutex> lock(t.mutex);
  const SegmentId id = insert(t, static_cast<char*>(data), bytes, SegmentCategory::offloaded);
  if (linkable) find(t, id).fd = fd;
  return id;
#endif
}

bool is_linkable(SegmentId id) {
  Table& t = table();
  std::lock_guard<std::mutex> lock(t.mutex);
  return find(t, id).fd >= 0;
}

void link_scratch(SegmentId id, const std::string& path) {
#if defined(O_TMPFILE)
  Slot s;
  {
    Table& t = table();
    std::lock_guard<std::mutex> lock(t.mutex);
    s = find(t, id);
  }
  if (s.fd < 0) fail("ERR_FILE", path + ": a scratch file of this file system cannot be named");
  // Without privileges a file is named by the link that the system keeps of the descriptor.
  const std::string descriptor = "/proc/self/fd/" + std::to_string(s.fd);
  if (msync(s.data, s.bytes, MS_SYNC) != 0 || fsync(s.fd) != 0 ||
      linkat(AT_FDCWD, descriptor.c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) != 0)
    fail("ERR_FILE", path + ": cannot be named: " + std::strerror(errno));
#else
  (void)id;
  fail("ERR_FILE", path + ": scratch files cannot be named on this system");
#endif
}

void release_segment(SegmentId id) {
  Table& t = table();
  std::lock_guard<std::mutex> lock(t.mutex);
  Slot& s = find(t, id);
  if (s.mapped) {
#if defined(_WIN32)
    UnmapViewOfFile(s.data);
#else
    munmap(s.data, s.bytes);
    if (s.fd >= 0) close(s.fd);
#endif
  } else {
    free_pages(s.data, s.bytes == 0 ? 1 : s.bytes);
  }
  t.statistics.current[static_cast<int>(s.category)] -= static_cast<int64_t>(s.bytes);
  if (!s.mapped) t.statistics.heap_current -= static_cast<int64_t>(s.bytes);
  s.used = false;
  s.data = nullptr;
  ++s.generation;
  t.free_slots.push_back(id % kSlotRange);
}

SegmentView segment(SegmentId id) {
  Table& t = table();
  std::lock_guard<std::mutex> lock(t.mutex);
  const Slot& s = find(t, id);
  return {s.data, s.bytes, s.writable};
}

MemoryStatistics memory_statistics() {
  Table& t = table();
  std::lock_guard<std::mutex> lock(t.mutex);
  return t.statistics;
}

void reset_memory_peak() {
  Table& t = table();
  std::lock_guard<std::mutex> lock(t.mutex);
  for (int i = 0; i < static_cast<int>(SegmentCategory::count); ++i) t.statistics.peak[i] = t.statistics.current[i];
  t.statistics.heap_peak = t.statistics.heap_current;
}

void fail_allocation_after(int64_t after) {
  Table& t = table();
  std::lock_guard<std::mutex> lock(t.mutex);
  t.fail_after = after;
}

}  // namespace nft
