// A small stack overflows; the handler on the alternate signal stack fails in
// its turn.
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static volatile int sink;
static int *volatile nothing;
static char room[65536];

__attribute__((noinline)) static int report(const siginfo_t *info) {
  sink = info->si_signo;
  *nothing = sink;
  return sink + 1;
}

static void on_overflow(int sig, siginfo_t *info, void *context) {
  (void)context;
  int r = report(info);
  sink = r + sig;
}

__attribute__((noinline)) static int deeper(int n) {
  volatile char local[900];
  memset((char *)local, n, sizeof local);
  int r = deeper(n + 1);
  return r + local[n % 7];
}

static void *overflow(void *arg) {
  stack_t alternate = {.ss_sp = room, .ss_size = sizeof room};
  sigaltstack(&alternate, 0);
  struct sigaction a;
  memset(&a, 0, sizeof a);
  a.sa_sigaction = on_overflow;
  a.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESETHAND;
  sigaction(SIGSEGV, &a, 0);
  int r = deeper((int)(intptr_t)arg);
  sink = r;
  return 0;
}

int main(void) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 32768);
  pthread_t t;
  pthread_create(&t, &attributes, overflow, (void *)1);
  pthread_join(t, 0);
  return sink;
}
