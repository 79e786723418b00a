// A call through a null function pointer, from an initialiser that runs before
// main, or from a thread with cleanup handlers.
#include <pthread.h>
#include <stdlib.h>

typedef int (*work)(int);
static volatile int sink;
static work volatile missing;

__attribute__((noinline)) static int dispatch(work w, int n) {
  int r = w(n) + sink;
  return r * n;
}

static void clean(void *arg) {
  int r = dispatch(missing, *(int *)arg);
  sink = r;
}

static void *run(void *arg) {
  int n = 4;
  (void)arg;
  pthread_cleanup_push(clean, &n);
  sink = n;
  pthread_exit(0);
  pthread_cleanup_pop(1);
  return 0;
}

__attribute__((constructor)) static void before_main(int argc) {
  if (argc > 1) return;
  int r = dispatch(missing, 3);
  sink = r;
}

int main(void) {
  pthread_t t;
  pthread_create(&t, 0, run, 0);
  pthread_join(t, 0);
  return sink;
}
