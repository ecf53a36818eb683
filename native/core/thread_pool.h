#pragma once
// A fixed pool with a static partition: work item i always covers the same indices, so results do not depend on the
// number of threads. Callers must not let the partition size depend on threads() where it changes rounding.
#include <cstdint>

namespace nft {

class ThreadPool {
 public:
  static ThreadPool& instance();

  int threads() const;
  void set_threads(int count);  // >= 1; not while a parallel_for runs

  // Calls body(context, item, thread) for every item in [0, items). Items go to threads in contiguous, equal ranges.
  // thread is in [0, threads()). Blocks until all are done; rethrows the first exception. Concurrent callers take turns.
  using Body = void (*)(void* context, int64_t item, int thread);
  void parallel_for(int64_t items, Body body, void* context);

  template <class F>
  void run(int64_t items, F&& f) {
    parallel_for(
        items, [](void* c, int64_t item, int thread) { (*static_cast<F*>(c))(item, thread); },
        const_cast<void*>(static_cast<const void*>(&f)));
  }
};

}  // namespace nft
