// Threads that wait, sleep and crash.
#include <pthread.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
static volatile int ready;
static int *volatile nothing;

__attribute__((noinline)) static int wait_for_work(int id) {
  pthread_mutex_lock(&lock);
  ready++;
  while (id >= 0) pthread_cond_wait(&never, &lock);
  pthread_mutex_unlock(&lock);
  return id;
}

static void *worker(void *arg) {
  int id = (int)(long)arg;
  int r = wait_for_work(id);
  ready -= r;
  return arg;
}

__attribute__((noinline)) static int fail(int n) {
  int v = *nothing + n;
  ready += v;
  return v;
}

static void *breaker(void *arg) {
  while (ready < 3) usleep(1000);
  usleep(20000);
  int r = fail(ready);
  ready += r;
  return arg;
}

int main(void) {
  pthread_t t[4];
  for (long i = 0; i < 3; i++) pthread_create(&t[i], 0, worker, (void *)i);
  pthread_create(&t[3], 0, breaker, 0);
  for (int i = 0; i < 4; i++) pthread_join(t[i], 0);
  return 0;
}
