// A chain of calls with recursion, a callback, large frames and alloca; the
// innermost writes through a null pointer.
#include <alloca.h>
#include <stdlib.h>
#include <string.h>

struct item { int key; struct item *next; char name[40]; };
static volatile int sink;

static inline int weigh(const struct item *i, int by) { return i->key * by + (int)strlen(i->name); }

__attribute__((noinline)) static int store(struct item *where, int v) {
  sink = v;
  where->key = v + weigh(where, 3);
  return sink;
}

__attribute__((noinline)) static int with_alloca(int n, struct item *where) {
  char *room = alloca((size_t)n * 64);
  memset(room, n, (size_t)n * 64);
  int r = store(where, room[n] + n);
  sink = room[3];
  return r + sink;
}

__attribute__((noinline)) static int with_big_frame(int n, struct item *where) {
  volatile char page[20000];
  for (size_t i = 0; i < sizeof page; i += 512) page[i] = (char)n;
  int r = with_alloca(n, where);
  return r + page[512];
}

__attribute__((noinline)) static int recurse(int depth, struct item *where) {
  volatile int local[8] = {depth};
  if (depth == 0) return with_big_frame(7, where) + local[0];
  int r = recurse(depth - 1, where);
  return r + local[depth % 8];
}

static struct item *target;

__attribute__((noinline)) static int compare(const void *a, const void *b) {
  int d = *(const int *)a - *(const int *)b;
  if (*(const int *)a == 4) d += recurse(5, target);
  sink = d;
  return d;
}

int main(int argc, char **argv) {
  int values[] = {9, 4, 7, 1, 8};
  (void)argv;
  qsort(values, 5, sizeof values[0], compare);
  return values[0] + argc + sink;
}
