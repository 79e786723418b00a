// Calls in tail position, mutual recursion by them, and calls through tables of
// function pointers.
#include <stdlib.h>

typedef int (*step)(int n, int *p);
static volatile int sink;
static int *volatile nothing;

__attribute__((noinline)) static int last(int n, int *p) {
  sink = n;
  return *p + n;
}

__attribute__((noinline)) static int even(int n, int *p);

__attribute__((noinline)) static int odd(int n, int *p) {
  sink = n;
  if (n <= 1) return last(n + sink, p);
  return even(n - 1, p);
}

__attribute__((noinline)) static int even(int n, int *p) {
  sink = n + 1;
  if (n <= 1) return last(n, p);
  return odd(n - 1, p);
}

__attribute__((noinline)) static int keep(int n, int *p) {
  int r = even(n, p);
  return r + sink;
}

static step volatile table[3] = {odd, even, keep};

__attribute__((noinline)) static int indirect(int n, int *p) {
  step s = table[n % 3];
  int r = s(n + 6, p);
  sink = r;
  return r;
}

__attribute__((noinline)) static int jumps(int n, int *p) {
  sink = n;
  return indirect(n, p);
}

int main(int argc, char **argv) {
  (void)argv;
  int r = jumps(argc + 1, nothing);
  return r + sink;
}
