// Allocating memory and asking about it (cuda.h, "Memory Management", "Unified Addressing").
#include "driver.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

// ---------------------------------------------------------------- allocating

static CUresult allocate_device(struct context *context, CUdeviceptr *pointer, size_t size) {
  struct device *device = context->device;
  memory_lock();
  struct allocation_id id = memory_new_id();
  int file;
  enum allocation_state state =
      allocation_create(&device->gpu, id, size, &device->process_lock, &file);
  struct memory *memory = NULL;
  if (state == ALLOCATION_LIVE) {
    struct memory what = {MEMORY_DEVICE, .size = size, .context = context, .device = device};
    what.id = id;
    memory = memory_map(what, file);
    if (!memory) allocation_remove(&device->gpu, id);
  } else if (state == ALLOCATION_FAILED) {
    fprintf(stderr, "simulated GPU hardware: cannot allocate in %s: %s\n", device->gpu.directory,
            strerror(errno));
  }
  memory_unlock();
  if (state == ALLOCATION_FAILED) return CUDA_ERROR_OPERATING_SYSTEM;
  if (!memory) return CUDA_ERROR_OUT_OF_MEMORY;
  *pointer = (CUdeviceptr)memory->base;
  return CUDA_SUCCESS;
}

// Memory that belongs to no GPU's budget.
static CUresult allocate_host(struct context *context, enum memory_kind kind, void **pointer,
                              size_t size) {
  struct device *device = kind == MEMORY_MANAGED ? context->device : NULL;
  struct memory what = {kind, .size = size, .context = context, .device = device};
  struct memory *memory = memory_map(what, -1);
  if (!memory) return CUDA_ERROR_OUT_OF_MEMORY;
  *pointer = memory->base;
  return CUDA_SUCCESS;
}

// Free the range that begins at the pointer if it is of the kind(s).
static CUresult free_at(CUdeviceptr pointer, unsigned kinds) {
  memory_lock();
  struct memory *memory = memory_at(pointer);
  bool fits = memory && (CUdeviceptr)memory->base == pointer && (kinds >> memory->kind & 1);
  if (fits) memory_drop(memory);
  memory_unlock();
  return fits ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult CUDAAPI cuMemAlloc_v2(CUdeviceptr *dptr, size_t bytesize) {
  REQUIRE_CONTEXT(context);
  if (!dptr || !bytesize) return CUDA_ERROR_INVALID_VALUE;
  return allocate_device(context, dptr, bytesize);
}

// cuda.h: rows are padded so that they meet the alignment for coalescing; 512 on current devices.
CUresult CUDAAPI cuMemAllocPitch_v2(CUdeviceptr *dptr, size_t *pPitch, size_t WidthInBytes,
                                    size_t Height, unsigned int ElementSizeBytes) {
  REQUIRE_CONTEXT(context);
  bool element = ElementSizeBytes == 4 || ElementSizeBytes == 8 || ElementSizeBytes == 16;
  if (!dptr || !pPitch || !WidthInBytes || !Height || !element) return CUDA_ERROR_INVALID_VALUE;
  *pPitch = (WidthInBytes + 511) / 512 * 512;
  return allocate_device(context, dptr, *pPitch * Height);
}

CUresult CUDAAPI cuMemAllocManaged(CUdeviceptr *dptr, size_t bytesize, unsigned int flags) {
  REQUIRE_CONTEXT(context);
  if (!dptr || !bytesize) return CUDA_ERROR_INVALID_VALUE;
  if (flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST) return CUDA_ERROR_INVALID_VALUE;
  return allocate_host(context, MEMORY_MANAGED, (void **)dptr, bytesize);
}

// cuda.h: the pointer must be one that an allocating call returned. Imported memory is closed
// instead.
CUresult CUDAAPI cuMemFree_v2(CUdeviceptr dptr) {
  REQUIRE_CONTEXT(context);
  if (!dptr) return CUDA_SUCCESS;
  return free_at(dptr, 1u << MEMORY_DEVICE | 1u << MEMORY_MANAGED | 1u << MEMORY_POOLED |
                           1u << MEMORY_BORROWED);
}

CUresult CUDAAPI cuMemHostAlloc(void **pp, size_t bytesize, unsigned int Flags) {
  REQUIRE_CONTEXT(context);
  (void)Flags;  // portable, mapped, write-combined: all the same to a CPU
  if (!pp || !bytesize) return CUDA_ERROR_INVALID_VALUE;
  return allocate_host(context, MEMORY_HOST, pp, bytesize);
}

CUresult CUDAAPI cuMemFreeHost(void *p) {
  REQUIRE_CONTEXT(context);
  return free_at((CUdeviceptr)p, 1u << MEMORY_HOST);
}

CUresult CUDAAPI cuMemHostRegister_v2(void *p, size_t bytesize, unsigned int Flags) {
  REQUIRE_CONTEXT(context);
  (void)Flags;
  if (!p || !bytesize) return CUDA_ERROR_INVALID_VALUE;
  memory_lock();
  struct memory *memory = memory_from((CUdeviceptr)p);
  bool overlaps = memory && memory->base < (char *)p + bytesize;
  if (!overlaps)
    memory = memory_enter((struct memory){
        .kind = MEMORY_REGISTERED, .base = p, .size = bytesize, .context = context});
  memory_unlock();
  if (overlaps) return CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
  return memory ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult CUDAAPI cuMemHostUnregister(void *p) {
  REQUIRE_CONTEXT(context);
  bool done = free_at((CUdeviceptr)p, 1u << MEMORY_REGISTERED) == CUDA_SUCCESS;
  return done ? CUDA_SUCCESS : CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
}

static bool is_host(const struct memory *memory) {
  return memory && (memory->kind == MEMORY_HOST || memory->kind == MEMORY_REGISTERED);
}

// With unified addressing the device uses the host's own pointer.
CUresult CUDAAPI cuMemHostGetDevicePointer_v2(CUdeviceptr *pdptr, void *p, unsigned int Flags) {
  REQUIRE_CONTEXT(context);
  if (!pdptr || Flags || !is_host(memory_at((CUdeviceptr)p))) return CUDA_ERROR_INVALID_VALUE;
  *pdptr = (CUdeviceptr)p;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemHostGetFlags(unsigned int *pFlags, void *p) {
  REQUIRE_CONTEXT(context);
  if (!pFlags || !is_host(memory_at((CUdeviceptr)p))) return CUDA_ERROR_INVALID_VALUE;
  *pFlags = CU_MEMHOSTALLOC_DEVICEMAP;  // with unified addressing all of it is mapped
  return CUDA_SUCCESS;
}

// ---------------------------------------------------------------- asking

CUresult CUDAAPI cuMemGetInfo_v2(size_t *free, size_t *total) {
  REQUIRE_CONTEXT(context);
  if (!free || !total) return CUDA_ERROR_INVALID_VALUE;
  const struct gpu *gpu = &context->device->gpu;
  int64_t used = machine_used_memory(gpu);
  if (used < 0) return CUDA_ERROR_OPERATING_SYSTEM;
  *total = gpu->memory;
  *free = gpu->memory > (uint64_t)used ? gpu->memory - (uint64_t)used : 0;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemGetAddressRange_v2(CUdeviceptr *pbase, size_t *psize, CUdeviceptr dptr) {
  REQUIRE_CONTEXT(context);
  struct memory *memory = memory_at(dptr);
  if (!memory) return CUDA_ERROR_NOT_FOUND;
  if (pbase) *pbase = (CUdeviceptr)memory->base;
  if (psize) *psize = memory->size;
  return CUDA_SUCCESS;
}
