// Contexts (cuda.h, "Context Management", "Primary Context Management", "Peer Context Memory
// Access"). A context is never freed, so that a stale handle is told from a live one.
#include "driver.h"

#include <pthread.h>
#include <stdlib.h>

#define STACK_SIZE 64

static pthread_mutex_t contexts_lock = PTHREAD_MUTEX_INITIALIZER;
static struct context *contexts;  // every one ever made
static __thread struct context *stack[STACK_SIZE];
static __thread int stacked;

static struct context *top(void) { return stacked ? stack[stacked - 1] : NULL; }

CUresult context_current(struct context **context) {
  REQUIRE_DRIVER();
  *context = top();
  if (!*context) return CUDA_ERROR_INVALID_CONTEXT;
  if ((*context)->destroyed) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
  return (*context)->sticky;
}

// The context behind a caller's handle, or NULL.
static struct context *context_of(CUcontext handle) {
  pthread_mutex_lock(&contexts_lock);
  struct context *context = contexts;
  while (context && (CUcontext)context != handle) context = context->next;
  pthread_mutex_unlock(&contexts_lock);
  return context && !context->destroyed ? context : NULL;
}

static struct context *make(struct device *device, bool primary) {
  struct context *context = calloc(1, sizeof *context);
  if (!context) return NULL;
  context->device = device;
  context->references = primary ? 0 : 1;
  context->primary = primary;
  context->limits[CU_LIMIT_STACK_SIZE] = 1024;
  context->limits[CU_LIMIT_PRINTF_FIFO_SIZE] = 1 << 20;
  context->limits[CU_LIMIT_MALLOC_HEAP_SIZE] = 8 << 20;
  context->next = contexts;
  contexts = context;
  return context;
}

static void destroy(struct context *context) {
  memory_drop_all_of(context);
  context->destroyed = true;
  if (top() == context) stacked--;
}

CUresult CUDAAPI cuCtxCreate_v2(CUcontext *pctx, unsigned int flags, CUdevice dev) {
  REQUIRE_DEVICE(device, dev);
  (void)flags;  // how the CPU waits for the GPU
  if (!pctx) return CUDA_ERROR_INVALID_VALUE;
  if (stacked == STACK_SIZE) return CUDA_ERROR_OUT_OF_MEMORY;
  pthread_mutex_lock(&contexts_lock);
  struct context *context = make(device, false);
  pthread_mutex_unlock(&contexts_lock);
  if (!context) return CUDA_ERROR_OUT_OF_MEMORY;
  stack[stacked++] = context;
  *pctx = (CUcontext)context;
  return CUDA_SUCCESS;
}

SAME(cuCtxCreate, cuCtxCreate_v2);

CUresult CUDAAPI cuCtxDestroy_v2(CUcontext ctx) {
  REQUIRE_DRIVER();
  struct context *context = context_of(ctx);
  if (!context || context->primary) return CUDA_ERROR_INVALID_CONTEXT;
  destroy(context);
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxAttach(CUcontext *pctx, unsigned int flags) {
  REQUIRE_CONTEXT(context);
  if (!pctx || flags) return CUDA_ERROR_INVALID_VALUE;
  context->references++;
  *pctx = (CUcontext)context;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxDetach(CUcontext ctx) {
  REQUIRE_DRIVER();
  struct context *context = context_of(ctx);
  if (!context || context->primary) return CUDA_ERROR_INVALID_CONTEXT;
  if (--context->references <= 0) destroy(context);
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxPushCurrent_v2(CUcontext ctx) {
  REQUIRE_DRIVER();
  struct context *context = context_of(ctx);
  if (!context || stacked == STACK_SIZE) return CUDA_ERROR_INVALID_CONTEXT;
  stack[stacked++] = context;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxPopCurrent_v2(CUcontext *pctx) {
  REQUIRE_DRIVER();
  if (!stacked) return CUDA_ERROR_INVALID_CONTEXT;
  if (pctx) *pctx = (CUcontext)top();
  stacked--;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxGetDevice(CUdevice *device) {
  REQUIRE_CONTEXT(context);
  if (!device) return CUDA_ERROR_INVALID_VALUE;
  *device = device_ordinal(context->device);
  return CUDA_SUCCESS;
}

// All work is done when its call returns: what is left to do here is to report a kernel's fault.
CUresult CUDAAPI cuCtxSynchronize(void) {
  REQUIRE_CONTEXT(context);
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxGetApiVersion(CUcontext ctx, unsigned int *version) {
  REQUIRE_DRIVER();
  if (!version) return CUDA_ERROR_INVALID_VALUE;
  if (ctx ? !context_of(ctx) : !top()) return CUDA_ERROR_INVALID_CONTEXT;
  *version = 3020;  // of contexts made by cuCtxCreate_v2 and later
  return CUDA_SUCCESS;
}

static bool has_limit(CUlimit limit) {
  return limit == CU_LIMIT_STACK_SIZE || limit == CU_LIMIT_PRINTF_FIFO_SIZE ||
         limit == CU_LIMIT_MALLOC_HEAP_SIZE;
}

// Limits are kept for who asks; kernels of the simulation need none of them.
CUresult CUDAAPI cuCtxSetLimit(CUlimit limit, size_t value) {
  REQUIRE_CONTEXT(context);
  if ((unsigned)limit >= CU_LIMIT_MAX) return CUDA_ERROR_INVALID_VALUE;
  if (!has_limit(limit)) return CUDA_ERROR_UNSUPPORTED_LIMIT;
  context->limits[limit] = value;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxGetLimit(size_t *pvalue, CUlimit limit) {
  REQUIRE_CONTEXT(context);
  if (!pvalue || (unsigned)limit >= CU_LIMIT_MAX) return CUDA_ERROR_INVALID_VALUE;
  if (!has_limit(limit)) return CUDA_ERROR_UNSUPPORTED_LIMIT;
  *pvalue = context->limits[limit];
  return CUDA_SUCCESS;
}

// cuda.h: on devices whose cache is not configurable this "will return … PREFER_NONE" and does
// nothing.
CUresult CUDAAPI cuCtxGetCacheConfig(CUfunc_cache *pconfig) {
  REQUIRE_CONTEXT(context);
  if (!pconfig) return CUDA_ERROR_INVALID_VALUE;
  *pconfig = CU_FUNC_CACHE_PREFER_NONE;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxSetCacheConfig(CUfunc_cache config) {
  REQUIRE_CONTEXT(context);
  return config <= CU_FUNC_CACHE_PREFER_EQUAL ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

// ---------------------------------------------------------------- peers

CUresult CUDAAPI cuCtxEnablePeerAccess(CUcontext peerContext, unsigned int Flags) {
  REQUIRE_CONTEXT(context);
  if (Flags) return CUDA_ERROR_INVALID_VALUE;
  struct context *peer = context_of(peerContext);
  if (!peer || peer == context) return CUDA_ERROR_INVALID_CONTEXT;
  if (!machine_peers(&context->device->gpu, &peer->device->gpu))
    return CUDA_ERROR_PEER_ACCESS_UNSUPPORTED;
  uint64_t bit = 1ull << (peer->device->gpu.minor % 64);
  if (context->peers & bit) return CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED;
  context->peers |= bit;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxDisablePeerAccess(CUcontext peerContext) {
  REQUIRE_CONTEXT(context);
  struct context *peer = context_of(peerContext);
  if (!peer) return CUDA_ERROR_INVALID_CONTEXT;
  uint64_t bit = 1ull << (peer->device->gpu.minor % 64);
  if (!(context->peers & bit)) return CUDA_ERROR_PEER_ACCESS_NOT_ENABLED;
  context->peers &= ~bit;
  return CUDA_SUCCESS;
}

// ---------------------------------------------------------------- primary contexts

// The device's live primary context; made if wanted. The caller holds contexts_lock.
static struct context *primary_of(struct device *device, bool wanted) {
  for (struct context *context = contexts; context; context = context->next)
    if (context->primary && context->device == device && !context->destroyed) return context;
  return wanted ? make(device, true) : NULL;
}

CUresult CUDAAPI cuDevicePrimaryCtxRetain(CUcontext *pctx, CUdevice dev) {
  REQUIRE_DEVICE(device, dev);
  if (!pctx) return CUDA_ERROR_INVALID_VALUE;
  pthread_mutex_lock(&contexts_lock);
  struct context *context = primary_of(device, true);
  if (context) context->references++;
  pthread_mutex_unlock(&contexts_lock);
  if (!context) return CUDA_ERROR_OUT_OF_MEMORY;
  *pctx = (CUcontext)context;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDevicePrimaryCtxRelease_v2(CUdevice dev) {
  REQUIRE_DEVICE(device, dev);
  pthread_mutex_lock(&contexts_lock);
  struct context *context = primary_of(device, false);
  bool last = context && context->references > 0 && --context->references == 0;
  pthread_mutex_unlock(&contexts_lock);
  if (!context) return CUDA_ERROR_INVALID_CONTEXT;
  if (last) destroy(context);
  return CUDA_SUCCESS;
}
