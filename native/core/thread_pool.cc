#include "thread_pool.h"

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "errors.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#define NFT_PAUSE() _mm_pause()
#else
#define NFT_PAUSE() std::this_thread::yield()
#endif

namespace nft {

namespace {

// Long enough to bridge the gap between two ops of a step, short enough not to burn a core while JavaScript runs.
constexpr int kSpins = 20000;

struct Pool {
  std::mutex caller;  // one parallel_for at a time
  std::mutex mutex;
  std::condition_variable wake;
  std::vector<std::thread> workers;
  std::atomic<uint64_t> epoch{0};
  std::atomic<int> pending{0};
  std::atomic<bool> stop{false};
  int threads = 1;

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

  void loop(int thread, uint64_t seen) {
    for (;;) {
      int spins = 0;
      while (epoch.load(std::memory_order_acquire) == seen && spins < kSpins) {
        NFT_PAUSE();
        ++spins;
      }
      if (epoch.load(std::memory_order_acquire) == seen) {
        std::unique_lock<std::mutex> lock(mutex);
        wake.wait(lock, [&] { return epoch.load(std::memory_order_acquire) != seen; });
      }
      seen = epoch.load(std::memory_order_acquire);
      if (stop.load()) return;
      work(thread);
      pending.fetch_sub(1, std::memory_order_release);
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
  p.pending.store(p.threads - 1, std::memory_order_relaxed);
  {
    std::lock_guard<std::mutex> wake_lock(p.mutex);
    p.epoch.fetch_add(1, std::memory_order_release);
  }
  p.wake.notify_all();
  p.work(0);
  while (p.pending.load(std::memory_order_acquire) != 0) NFT_PAUSE();
  if (p.error) std::rethrow_exception(p.error);
}

}  // namespace nft
