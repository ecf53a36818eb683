#pragma once
// A test is TEST(group, name) { ... CHECK(condition); ... }. A failed CHECK prints where and goes on; a test fails when one
// did.
#include <string>

#include "../core/errors.h"

namespace nft::test {

struct Registration {
  Registration(const char* group, const char* name, void (*body)());
};
void report(bool ok, const char* condition, const char* file, int line);

// The code of the nft::Error that f throws, or what happened instead.
template <class F>
std::string error_code(F&& f) {
  try {
    f();
  } catch (const Error& e) { return e.code; } catch (...) {
    return "another exception";
  }
  return "no exception";
}

}  // namespace nft::test

#define CHECK(...) ::nft::test::report(static_cast<bool>(__VA_ARGS__), #__VA_ARGS__, __FILE__, __LINE__)
#define TEST(group, name)                                                                              \
  static void group##_##name();                                                                        \
  static const ::nft::test::Registration group##_##name##_registration(#group, #name, group##_##name); \
  static void group##_##name()
