// Crashes inside the C library: hand-written string functions and printf with
// arguments that cannot be read.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static volatile size_t sink;
static const char *volatile nowhere = (const char *)16;

static inline size_t measure(const char *s) { return strlen(s) + 1; }

__attribute__((noinline)) static size_t copy(const char *s) {
  char *to = malloc(100);
  size_t n = 0;
  if (sink == 1) n = measure(s);
  if (sink == 2) memcpy(to, s, 4000 + sink);
  if (sink == 3) n = (size_t)snprintf(to, 100, "%d %s", 5, s);
  if (sink == 4) free((void *)s);
  sink = n;
  free(to);
  return n;
}

int main(int argc, char **argv) {
  sink = (size_t)atoi(argc > 1 ? argv[1] : "1");
  size_t n = copy(nowhere);
  return (int)n;
}
