// nft_tests [group]: runs the tests of one group, or all.
#include <cstdio>
#include <cstring>
#include <exception>
#include <vector>

#include "test.h"

namespace nft::test {

namespace {

struct Test {
  const char* group;
  const char* name;
  void (*body)();
};
std::vector<Test>& tests() {
  static std::vector<Test> all;
  return all;
}
int failures = 0;  // of the running test

}  // namespace

Registration::Registration(const char* group, const char* name, void (*body)()) { tests().push_back({group, name, body}); }

void report(bool ok, const char* condition, const char* file, int line) {
  constexpr int kShown = 10;  // exhaustive loops would otherwise flood the log
  if (ok || ++failures > kShown) return;
  std::fprintf(stderr, "%s:%d: %s does not hold\n", file, line, condition);
}

static int run(const char* group) {
  int failed = 0, ran = 0;
  for (const Test& t : tests()) {
    if (group != nullptr && std::strcmp(group, t.group) != 0) continue;
    ++ran;
    failures = 0;
    try {
      t.body();
    } catch (const std::exception& e) {
      ++failures;
      std::fprintf(stderr, "threw %s\n", e.what());
    }
    std::printf("%s %s.%s\n", failures == 0 ? "ok  " : "FAIL", t.group, t.name);
    failed += failures == 0 ? 0 : 1;
  }
  if (ran == 0) std::fprintf(stderr, "no tests in group %s\n", group);
  return failed == 0 && ran > 0 ? 0 : 1;
}

}  // namespace nft::test

int main(int argc, char** argv) { return nft::test::run(argc > 1 ? argv[1] : nullptr); }
