// A signal handler that a second signal interrupts, whose handler crashes; the
// first signal is a fault in the middle of a leaf function.
#include <signal.h>
#include <stdio.h>
#include <string.h>

static volatile int sink;
static int *volatile nothing;

static int touch(int v) { return v * 3 + sink; }

static void second(int sig) {
  sink += touch(sig);
  *nothing = sink;
  sink--;
}

static void first(int sig) {
  sink = sig;
  raise(SIGUSR2);
  sink++;
}

__attribute__((noinline)) static int leaf(const int *p, int n) {
  int sum = 0;
  for (int i = 0; i < n; i++) sum += p[i] * i;
  return sum;
}

__attribute__((noinline)) static int middle(int n) {
  int local[16];
  for (int i = 0; i < 16; i++) local[i] = n * i;
  int r = leaf(local, 8);
  r += leaf((const int *)((char *)nothing + 16), 4);
  return r + local[n & 15];
}

int main(void) {
  struct sigaction a;
  memset(&a, 0, sizeof a);
  a.sa_handler = first;
  a.sa_flags = SA_RESETHAND;
  sigaction(SIGSEGV, &a, 0);
  a.sa_handler = second;
  sigaction(SIGUSR2, &a, 0);
  int r = middle(3);
  printf("%d\n", r);
  return 0;
}
