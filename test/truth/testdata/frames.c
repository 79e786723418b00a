// Frames of odd shapes: over-aligned locals, variable length arrays, many saved
// registers, arguments on the stack, structures by value, setjmp.
#include <setjmp.h>
#include <stdalign.h>
#include <string.h>

struct large { long words[40]; };
static volatile long sink;
static long *volatile nothing;
static jmp_buf back;

__attribute__((noinline)) static long many(long a, long b, long c, long d, long e, long f, long g, long h, struct large l) {
  long r = a + b * 2 + c * 3 + d * 5 + e * 7 + f * 11 + g * 13 + h * 17;
  sink = r;
  r += *nothing;
  return r + l.words[3];
}

__attribute__((noinline)) static long aligned(long n) {
  alignas(64) volatile char line[128];
  memset((char *)line, (int)n, sizeof line);
  struct large l;
  memset(&l, 1, sizeof l);
  long r = many(n, n + 1, n + 2, n + 3, n + 4, n + 5, n + 6, n + 7, l);
  return r + line[n & 63];
}

__attribute__((noinline)) static long variable(long n) {
  long row[n];
  for (long i = 0; i < n; i++) row[i] = i * n;
  alignas(32) long more[4] = {n, sink, n, sink};
  long r = aligned(row[n - 1]);
  return r + row[0] + more[n & 3];
}

__attribute__((noinline)) static long saved(long a, long b, long c, long d, long e, long f) {
  long x = a * b, y = c * d, z = e * f, u = a ^ f, v = b ^ e, w = c ^ d;
  long r = variable(9);
  sink = r;
  long s = variable(x + y);
  return r + s + x + y + z + u + v + w;
}

__attribute__((noinline)) static void jump(int n) {
  sink = n;
  longjmp(back, n);
}

int main(int argc, char **argv) {
  (void)argv;
  if (setjmp(back) == 0) jump(argc);
  long r = saved(argc, 2, 3, 4, 5, 6);
  sink = r;
  return 0;
}
