#include "../core/thread_pool.h"

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#include "test.h"

namespace nft {

namespace {

ThreadPool& pool() { return ThreadPool::instance(); }

// Restores the pool's size at the end of a test.
struct Threads {
  const int before = pool().threads();
  explicit Threads(int count) { pool().set_threads(count); }
  ~Threads() { pool().set_threads(before); }
};

}  // namespace

TEST(thread_pool, every_item_runs_once_in_equal_contiguous_ranges) {
  for (const int count : {1, 2, 3, 8}) {
    const Threads threads(count);
    CHECK(pool().threads() == count);
    for (const int64_t items : {0, 1, 2, 3, 7, 8, 9, 1000}) {
      std::vector<int> runs(static_cast<size_t>(items), 0), owner(static_cast<size_t>(items), -1);
      pool().run(items, [&](int64_t i, int thread) {
        ++runs[static_cast<size_t>(i)];
        owner[static_cast<size_t>(i)] = thread;
      });
      std::vector<int64_t> share(static_cast<size_t>(count), 0);
      for (size_t i = 0; i < runs.size(); ++i) {
        CHECK(runs[i] == 1);
        CHECK(owner[i] >= 0 && owner[i] < count && (i == 0 || owner[i] >= owner[i - 1]));
        ++share[static_cast<size_t>(owner[i])];
      }
      for (const int64_t s : share) CHECK(items <= 1 || s == items / count || s == items / count + 1);
    }
  }
}

TEST(thread_pool, the_first_exception_comes_back_and_the_pool_lives_on) {
  const Threads threads(4);
  for (const int64_t bad : {0, 50, 99}) {
    std::atomic<int> ran{0};
    std::string caught;
    try {
      pool().run(100, [&](int64_t i, int) {
        if (i == bad) throw std::runtime_error("item " + std::to_string(i));
        ++ran;
      });
    } catch (const std::runtime_error& e) { caught = e.what(); }
    CHECK(caught == "item " + std::to_string(bad));
    CHECK(ran >= 75 && ran < 100);
  }
  std::atomic<int> ran{0};
  pool().run(100, [&](int64_t, int) { ++ran; });
  CHECK(ran == 100);
}

TEST(thread_pool, callers_take_turns) {
  const Threads threads(2);
  std::atomic<int64_t> sum{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&] {
      for (int r = 0; r < 200; ++r) pool().run(10, [&](int64_t i, int) { sum += i; });
    });
  }
  for (std::thread& c : callers) c.join();
  CHECK(sum == 4 * 200 * 45);
}

TEST(thread_pool, refuses_impossible_sizes) {
  const int before = pool().threads();
  for (const int bad : {0, -1, 100000}) {
    CHECK(test::error_code([&] { pool().set_threads(bad); }) == "ERR_CONFIG_INVALID");
  }
  CHECK(pool().threads() == before);
}

// Sleeping workers must wake: work after a pause longer than the spin phase.
TEST(thread_pool, wakes_from_sleep) {
  const Threads threads(3);
  for (int r = 0; r < 5; ++r) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    std::atomic<int> ran{0};
    pool().run(3, [&](int64_t, int) { ++ran; });
    CHECK(ran == 3);
  }
}

}  // namespace nft
