// A call that never returns as the last instruction of its caller, from a
// signal handler that interrupted a loop.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static volatile int ticks;
static volatile int *nowhere;

__attribute__((noinline, noreturn)) static void give_up(int code) {
  *nowhere = code;
  for (;;) ticks++;
}

__attribute__((noinline)) static void check(int code) {
  ticks += code;
  if (ticks > 2) give_up(code);
  ticks++;
}

static void on_signal(int sig) {
  ticks += sig;
  check(ticks);
  ticks--;
}

__attribute__((noinline)) static int interrupted(int n) {
  int sum = 0;
  for (int i = 0; i < n; i++) {
    sum += i;
    if (i == 50) raise(SIGUSR1);
  }
  return sum;
}

int main(void) {
  signal(SIGUSR1, on_signal);
  int r = interrupted(100);
  printf("%d\n", r);
  return r;
}
