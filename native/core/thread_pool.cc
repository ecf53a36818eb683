#include "thread_pool.h"

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "errors.h"

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#define NFT_PAUSE() _mm_pause()
#else
#define NFT_PAUSE() std::this_thread::yield()
#endif

namespace nft {

namespace {

// Spinning bridges the gap between two ops of a step. On a busy machine the awaited thread may not be running, or may have
// been put on this very core: so the time slice is given away soon, which costs next to nothing where nobody else wants it.
constexpr int kSpins = 300;
constexpr int kYields = 400;

// Waits for done(), first spinning, then yielding; false when neither sufficed.
template <class Done>
bool wait_briefly(Done done) {
  for (int i = 0; i < kSpins; ++i) {
    if (done()) return true;
    NFT_PAUSE();
  }
  for (int i = 0; i < kYields; ++i) {
    if (done()) return true;
    std::this_thread::yield();
  }
  return done();
}

// The core this thread runs on; -1 where the system does not say.
int current_core() {
#if defined(__linux__)
  return sched_getcpu();
#else
  return -1;
#endif
}

// Moves this thread to another core, if it may run on others, without binding it to any.
void leave_core(int core) {
#if defined(__linux__)
  cpu_set_t allowed, others;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return;
  others = allowed;
  CPU_CLR(static_cast<size_t>(core), &others);
  if (CPU_COUNT(&others) > 0 && sched_setaffinity(0, sizeof(others), &others) == 0)
    sched_setaffinity(0, sizeof(allowed), &allowed);
#else
  (void)core;
#endif
}

struct Pool {
  std::mutex caller;  // one parallel_for at a time
  std::mutex mutex;
  std::condition_variable wake;      // a new job, or the end
  std::condition_variable finished;  // pending reached 0
  std::vector<std::thread> workers;
  std::atomic<uint64_t> epoch{0};
  std::atomic<int> pending{0};
  std::atomic<bool> stop{false};
  int threads = 1;

  int caller_core = -1;
  int64_t items = 0;
  ThreadPool::Body body = nullptr;
  void* context = nullptr;
  std::mutex error_mutex;
  std::exception_ptr error;

  void work(int thread) {
    const int64_t begin = items * thread / threads, end = items * (thread + 1) / threads;
    try {
      for (int64_t i = begin; i < end; ++i) body(context, i, thread);
    } catch (...) {
      std::lock_guard<std::mutex> lock(error_mutex);
      if (!error) error = std::current_exception();
    }
  }

  // A scheduler wakes a thread where its waker runs, and sees no reason to part two that both keep that core busy.
  void loop(int thread, uint64_t seen) {
    constexpr int kPatience = 16;  // jobs: moving costs about one
    int together = 0;
    for (;;) {
      const auto called = [&] { return epoch.load(std::memory_order_acquire) != seen; };
      if (!wait_briefly(called)) {
        std::unique_lock<std::mutex> lock(mutex);
        wake.wait(lock, called);
      }
      seen = epoch.load(std::memory_order_acquire);
      if (stop.load()) return;
      const int core = current_core();
      together = core >= 0 && core == caller_core ? together + 1 : 0;
      if (together == kPatience) {
        leave_core(core);
        together = 0;
      }
      work(thread);
      if (pending.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        std::lock_guard<std::mutex> lock(mutex);  // the caller is either before its check or in wait: no lost wake-up
        finished.notify_one();
      }
    }
  }

  void start(int count) {
    threads = count;
    const uint64_t seen = epoch.load();
    for (int i = 1; i < count; ++i) workers.emplace_back([this, i, seen] { loop(i, seen); });
  }

  void finish() {
    {
      std::lock_guard<std::mutex> lock(mutex);
      stop.store(true);
      epoch.fetch_add(1, std::memory_order_release);
    }
    wake.notify_all();
    for (std::thread& w : workers) w.join();
    workers.clear();
    stop.store(false);
  }
};

Pool& pool() {
  static Pool* p = [] {
    Pool* fresh = new Pool;  // never destroyed: its threads must not be joined during process exit
    const unsigned cores = std::thread::hardware_concurrency();
    fresh->start(cores == 0 ? 1 : static_cast<int>(cores));
    return fresh;
  }();
  return *p;
}

}  // namespace

ThreadPool& ThreadPool::instance() {
  static ThreadPool handle;
  return handle;
}

int ThreadPool::threads() const { return pool().threads; }

void ThreadPool::set_threads(int count) {
  if (count < 1 || count > 1024) fail("ERR_CONFIG_INVALID", "threads must be 1 to 1024, got " + std::to_string(count));
  Pool& p = pool();
  std::lock_guard<std::mutex> lock(p.caller);
  if (count == p.threads) return;
  p.finish();
  p.start(count);
}

void ThreadPool::parallel_for(int64_t items, Body body, void* context) {
  if (items <= 0) return;
  Pool& p = pool();
  std::lock_guard<std::mutex> lock(p.caller);
  if (p.threads == 1 || items == 1) {
    for (int64_t i = 0; i < items; ++i) body(context, i, 0);
    return;
  }
  p.items = items;
  p.body = body;
  p.context = context;
  p.error = nullptr;
  p.caller_core = current_core();
  p.pending.store(p.threads - 1, std::memory_order_relaxed);
  {
    std::lock_guard<std::mutex> wake_lock(p.mutex);
    p.epoch.fetch_add(1, std::memory_order_release);
  }
  p.wake.notify_all();
  p.work(0);
  const auto done = [&] { return p.pending.load(std::memory_order_acquire) == 0; };
  if (!wait_briefly(done)) {
    std::unique_lock<std::mutex> lock(p.mutex);
    p.finished.wait(lock, done);
  }
  if (p.error) std::rethrow_exception(p.error);
}

}  // namespace nft
