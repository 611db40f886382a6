// Running kernels (cuda.h, cuLaunchKernel).
//
// The grid's blocks are spread over the CPUs. A kernel that touches memory which is not mapped
// leaves its context unusable: cuLaunchKernel succeeds, every later call returns
// CUDA_ERROR_ILLEGAL_ADDRESS.
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>

#include "modules.h"

#define MAX_WORKERS 16
#define MAX_PARAMETER_BYTES 4096  // PTX ISA: the size of a kernel's parameter space

struct launch {
  const struct kernel *kernel;
  const void *parameters;
  struct dim3 grid, block;
  uint64_t blocks;  // of the grid
  uint64_t share;   // blocks that a worker takes at a time
  uint64_t next;    // first block that nobody has taken
  bool fault;
};

// ---------------------------------------------------------------- faults

static __thread sigjmp_buf fault_return;
static __thread volatile sig_atomic_t in_kernel;
static struct sigaction previous[2];  // of SIGSEGV and SIGBUS

// Out of a kernel to its worker; a fault of other threads is none of ours: the handler that was
// there before gets it when the instruction is tried again.
static void on_fault(int signal) {
  if (in_kernel) siglongjmp(fault_return, 1);
  sigaction(signal, &previous[signal == SIGBUS], NULL);
}

static void catch_faults(void) {
  struct sigaction action = {.sa_handler = on_fault};
  sigaction(SIGSEGV, &action, &previous[0]);
  sigaction(SIGBUS, &action, &previous[1]);
}

static void release_faults(void) {
  sigaction(SIGSEGV, &previous[0], NULL);
  sigaction(SIGBUS, &previous[1], NULL);
}

// ---------------------------------------------------------------- workers

static void *work(void *argument) {
  struct launch *launch = argument;
  if (sigsetjmp(fault_return, 1)) {
    in_kernel = 0;
    __atomic_store_n(&launch->fault, true, __ATOMIC_RELAXED);
    __atomic_store_n(&launch->next, launch->blocks, __ATOMIC_RELAXED);
    return NULL;
  }
  in_kernel = 1;
  for (;;) {
    uint64_t first = __atomic_fetch_add(&launch->next, launch->share, __ATOMIC_RELAXED);
    if (first >= launch->blocks) break;
    uint64_t end = first + launch->share < launch->blocks ? first + launch->share : launch->blocks;
    launch->kernel->run(launch->parameters, launch->grid, launch->block, first, end);
  }
  in_kernel = 0;
  return NULL;
}

static int cpus(void) {
  cpu_set_t set;
  int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  return count < MAX_WORKERS ? count : MAX_WORKERS;
}

// Workers take no signals but those of their own faults: the program's handlers stay with its
// threads.
static void run_parallel(struct launch *launch) {
  int workers = cpus();
  launch->share = launch->blocks / ((uint64_t)workers * 8) + 1;
  if ((uint64_t)workers > launch->blocks) workers = (int)launch->blocks;
  sigset_t all, before;
  sigfillset(&all);
  sigdelset(&all, SIGSEGV);
  sigdelset(&all, SIGBUS);
  sigdelset(&all, SIGFPE);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t helpers[MAX_WORKERS];
  int started = 0;
  while (started < workers - 1 && pthread_create(&helpers[started], NULL, work, launch) == 0)
    started++;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  work(launch);
  while (started > 0) pthread_join(helpers[--started], NULL);
}

// ---------------------------------------------------------------- launching

// Bring the parameters into one packed buffer, from either of the two forms that cuLaunchKernel
// takes.
static CUresult pack(const struct kernel *kernel, void **parameters, void **extra, char *buffer) {
  if (parameters && extra) return CUDA_ERROR_INVALID_VALUE;
  if (parameters) {
    for (int i = 0; i < kernel->arguments; i++)
      memcpy(buffer + kernel->offsets[i], parameters[i], kernel->sizes[i]);
    return CUDA_SUCCESS;
  }
  const void *packed = NULL;
  size_t size = 0;
  for (; extra && *extra != CU_LAUNCH_PARAM_END; extra += 2) {
    if (*extra == CU_LAUNCH_PARAM_BUFFER_POINTER) packed = extra[1];
    if (*extra == CU_LAUNCH_PARAM_BUFFER_SIZE) size = *(const size_t *)extra[1];
  }
  if (size < kernel->bytes || size > MAX_PARAMETER_BYTES || (kernel->bytes && !packed))
    return CUDA_ERROR_INVALID_VALUE;
  memcpy(buffer, packed, kernel->bytes);
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuLaunchKernel(CUfunction f, unsigned int gridDimX, unsigned int gridDimY,
                                unsigned int gridDimZ, unsigned int blockDimX,
                                unsigned int blockDimY, unsigned int blockDimZ,
                                unsigned int sharedMemBytes, CUstream hStream, void **kernelParams,
                                void **extra) {
  static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
  REQUIRE_CONTEXT(context);
  (void)sharedMemBytes;
  if (!object_is(OBJECT_FUNCTION, f) || !stream_valid(hStream)) return CUDA_ERROR_INVALID_HANDLE;
  struct dim3 grid = {gridDimX, gridDimY, gridDimZ}, block = {blockDimX, blockDimY, blockDimZ};
  uint64_t threads = (uint64_t)block.x * block.y * block.z;
  if (!grid.x || !grid.y || !grid.z || !threads || threads > MAX_THREADS_PER_BLOCK)
    return CUDA_ERROR_INVALID_VALUE;
  char buffer[MAX_PARAMETER_BYTES] __attribute__((aligned(16)));
  const struct kernel *kernel = ((struct function *)f)->kernel;
  CUresult result = pack(kernel, kernelParams, extra, buffer);
  if (result != CUDA_SUCCESS) return result;
  struct launch launch = {.kernel = kernel, .parameters = buffer, .grid = grid, .block = block};
  launch.blocks = (uint64_t)grid.x * grid.y * grid.z;
  pthread_mutex_lock(&one_at_a_time);
  catch_faults();
  run_parallel(&launch);
  release_faults();
  pthread_mutex_unlock(&one_at_a_time);
  if (launch.fault) context->sticky = CUDA_ERROR_ILLEGAL_ADDRESS;
  return CUDA_SUCCESS;
}
