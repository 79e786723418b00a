// Unlikely paths that the compiler moves away from their function, ending in
// calls that never return: a failing assertion after a chain of them.
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static volatile int sink;

__attribute__((cold, noinline, noreturn, format(printf, 2, 3))) static void fatal(int code, const char *format, ...) {
  char text[100];
  va_list rest;
  va_start(rest, format);
  int n = vsnprintf(text, sizeof text, format, rest);
  va_end(rest);
  sink = n + code;
  assert(sink == 0);
  abort();
}

__attribute__((noinline)) static int checked(const int *p, int n) {
  if (__builtin_expect(n > 7, 0)) {
    sink = n;
    fatal(2, "n is %d at %p", n, (const void *)p);
  }
  return p[n];
}

__attribute__((noinline)) static int rows(int n) {
  int row[8] = {0};
  int sum = 0;
  for (int i = 0; i < n; i++) sum += checked(row, i);
  return sum;
}

int main(int argc, char **argv) {
  (void)argv;
  int r = rows(argc + 20);
  sink = r;
  return r;
}
