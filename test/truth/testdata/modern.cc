// Templates, lambdas, inlining, virtual calls, and a crash in a destructor
// while an exception is thrown.
#include <algorithm>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

static volatile int sink;
static int *volatile nothing;

template <typename T> struct Holder {
  T value;
  explicit Holder(T v) : value(v) {}
  virtual ~Holder() { sink = static_cast<int>(value); }
  virtual T read(int n) const { return value + static_cast<T>(n); }
};

template <typename T> struct Broken : Holder<T> {
  using Holder<T>::Holder;
  __attribute__((noinline)) T read(int n) const override {
    sink = n;
    return static_cast<T>(*nothing + n);
  }
};

struct Guard {
  std::function<int(int)> at_exit;
  ~Guard() {
    int r = at_exit(3);
    sink = r;
  }
};

template <typename T, typename F> __attribute__((noinline)) static T sum_of(const std::vector<T> &v, F f) {
  T sum{};
  std::for_each(v.begin(), v.end(), [&](const T &x) { sum += f(x); });
  return sum;
}

__attribute__((noinline)) static int thrower(const Holder<long> &h, int n) {
  Guard g{[&](int by) {
    std::vector<long> v{1, 2, 3};
    long r = sum_of(v, [&](long x) { return h.read(static_cast<int>(x) * by); });
    sink = static_cast<int>(r);
    return static_cast<int>(r);
  }};
  if (n > 1) throw std::runtime_error("n is " + std::to_string(n));
  return sink;
}

int main(int argc, char **) {
  auto h = std::make_unique<Broken<long>>(5);
  try {
    int r = thrower(*h, argc + 1);
    sink = r;
  } catch (const std::exception &e) {
    sink = e.what()[0];
  }
  return sink;
}
