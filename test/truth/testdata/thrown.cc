// Exceptions: one thrown through frames with destructors, caught, rethrown from
// the handler, and met by a function that must not throw.
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>

static volatile int sink;

struct Trace {
  const char *name;
  explicit Trace(const char *n) : name(n) { sink = sink + 1; }
  ~Trace() { sink = sink - static_cast<int>(std::string(name).size()); }
};

__attribute__((noinline)) static int fails(int n) {
  Trace t("fails");
  if (n > 0) throw std::out_of_range("n is " + std::to_string(n));
  return n;
}

__attribute__((noinline)) static int wraps(int n) {
  Trace t("wraps");
  try {
    int r = fails(n);
    return r + sink;
  } catch (const std::out_of_range &e) {
    sink = e.what()[0];
    throw std::runtime_error(std::string("wrapped: ") + e.what());
  }
}

__attribute__((noinline)) static int never(int n) noexcept {
  Trace t("never");
  int r = wraps(n);
  sink = r;
  return r;
}

static void on_terminate() {
  Trace t("terminate");
  try {
    std::rethrow_exception(std::current_exception());
  } catch (const std::exception &e) {
    int *nothing = nullptr;
    asm volatile("" : "+r"(nothing));
    *nothing = e.what()[0];
  }
  std::abort();
}

int main(int argc, char **) {
  std::set_terminate(on_terminate);
  int r = never(argc);
  return r + sink;
}
