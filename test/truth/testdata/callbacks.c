// Callbacks through the C library one inside the other: bsearch, qsort, a tree
// walk, pthread_once and an atexit handler.
#include <pthread.h>
#include <search.h>
#include <stdlib.h>

static volatile int sink;
static int *volatile nothing;
static int values[] = {1, 3, 5, 7, 9, 11};
static void *root;

static int by_value(const void *a, const void *b) {
  const int *x = a, *y = b;
  return (*x > *y) - (*x < *y);
}

static int find(const void *key, const void *member) {
  int d = by_value(key, member);
  if (d == 0) sink = *nothing;
  return d;
}

static void visit(const void *node, VISIT which, int depth) {
  int key = **(int *const *)node;
  if (which == postorder && depth > 0) {
    void *found = bsearch(&key, values, 6, sizeof values[0], find);
    sink = found == 0;
  }
}

static int order(const void *a, const void *b) {
  if (sink == 0) {
    sink = 1;
    twalk(root, visit);
    sink = 2;
  }
  return by_value(b, a);
}

static void once(void) {
  int copy[6];
  for (int i = 0; i < 6; i++) copy[i] = values[i];
  qsort(copy, 6, sizeof copy[0], order);
  sink = copy[0];
}

static void at_exit(void) {
  static pthread_once_t control = PTHREAD_ONCE_INIT;
  int r = pthread_once(&control, once);
  sink = r;
}

int main(void) {
  for (int i = 0; i < 6; i++) tsearch(&values[i], &root, by_value);
  atexit(at_exit);
  return 0;
}
