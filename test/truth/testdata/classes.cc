// Virtual bases and thunks, std::sort with a comparator, std::visit, a
// coroutine, threads of std::thread, and a call of a pure virtual function.
#include <algorithm>
#include <coroutine>
#include <future>
#include <memory>
#include <numeric>
#include <thread>
#include <variant>
#include <vector>

static volatile int sink;

struct Shape {
  virtual ~Shape() = default;
  virtual int area(int by) = 0;
};
struct Named : virtual Shape {
  int id = 1;
  virtual int name() { return id; }
};
struct Round : virtual Shape {
  int radius = 2;
  int *where = nullptr;
  __attribute__((noinline)) int area(int by) override {
    sink = by;
    return *where * radius;
  }
};
struct Coin : Named, Round {
  int name() override { return id + radius; }
};

struct Task {
  struct promise_type {
    int value = 0;
    Task get_return_object() { return Task{std::coroutine_handle<promise_type>::from_promise(*this)}; }
    std::suspend_always initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    void return_value(int v) { value = v; }
    void unhandled_exception() { std::terminate(); }
  };
  std::coroutine_handle<promise_type> handle;
  ~Task() { handle.destroy(); }
};

static Task measure(Shape &s, int n) {
  int sum = 0;
  for (int i = 0; i < n; i++) sum += s.area(i);
  co_return sum;
}

using Item = std::variant<int, std::shared_ptr<Shape>>;

template <class... F> struct Overload : F... { using F::operator()...; };
template <class... F> Overload(F...) -> Overload<F...>;

__attribute__((noinline)) static int weigh(const Item &item) {
  return std::visit(Overload{[](int n) { return n; },
                             [](const std::shared_ptr<Shape> &s) {
                               Task t = measure(*s, 3);
                               t.handle.resume();
                               return t.handle.promise().value;
                             }},
                    item);
}

__attribute__((noinline)) static int sorted(std::vector<Item> items) {
  std::sort(items.begin(), items.end(), [](const Item &a, const Item &b) { return weigh(a) < weigh(b); });
  return std::accumulate(items.begin(), items.end(), 0, [](int n, const Item &i) { return n + static_cast<int>(i.index()); });
}

int main() {
  std::vector<Item> items{5, 3, std::make_shared<Coin>(), 4};
  auto later = std::async(std::launch::async, [&] {
    int r = sorted(items);
    sink = r;
    return r;
  });
  int r = later.get();
  sink = r;
  return 0;
}
