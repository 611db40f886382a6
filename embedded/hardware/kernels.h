// Between the driver (C) and the kernels compiled for the CPU (C++).
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct dim3 {
  unsigned x, y, z;
};

struct kernel {
  const char *name;
  int arguments;
  const size_t *offsets;  // of the arguments in a packed parameter buffer
  const size_t *sizes;    // of the arguments
  size_t bytes;           // of the packed parameter buffer
  // Run the blocks [first, end) of the grid, counted x first, one thread after the other.
  void (*run)(const void *parameters, struct dim3 grid, struct dim3 block, uint64_t first,
              uint64_t end);
};

// Every kernel of the workload's source; ends with an entry whose name is NULL.
extern const struct kernel kernels[];

#ifdef __cplusplus
}
#endif
