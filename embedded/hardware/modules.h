// Between modules.c and launch.c.
#pragma once

#include "driver.h"
#include "kernels.h"

#define MAX_THREADS_PER_BLOCK 1024

struct function {
  struct object object;
  const struct kernel *kernel;
};
