// Memory pools that are made by a program, and their sharing (cuda.h, "Stream Ordered Memory
// Allocator").
//
// A pool is a list of nothing: each allocation is a file of its own, as of cuMemAlloc. To other
// processes a pool is an allocation of no bytes; who has it opens what its exporter names.
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "driver.h"

struct pool {
  struct object object;
  struct shared shared;  // the allocation of no bytes; number 0: it was not exported
  unsigned types;        // as which it can be exported
  bool imported;
};

// What stands in the 64 bytes of an exported pointer.
struct pointer {
  char magic[8];
  struct allocation_id pool, memory;
  char unused[24];
};
_Static_assert(sizeof(struct pointer) == sizeof(CUmemPoolPtrExportData), "the size is cuda.h's");
static const char MAGIC[8] = "SIMPOOL";

static struct pool *pool_of(CUmemoryPool handle) {
  return object_is(OBJECT_POOL, handle) ? (struct pool *)handle : NULL;
}

static bool same(struct allocation_id one, struct allocation_id other) {
  return one.process == other.process && one.number == other.number;
}

CUresult CUDAAPI cuMemPoolCreate(CUmemoryPool *pool, const CUmemPoolProps *poolProps) {
  REQUIRE_DRIVER();
  if (!pool || !poolProps || poolProps->allocType != CU_MEM_ALLOCATION_TYPE_PINNED)
    return CUDA_ERROR_INVALID_VALUE;
  if (poolProps->location.type != CU_MEM_LOCATION_TYPE_DEVICE) return CUDA_ERROR_NOT_SUPPORTED;
  struct device *device = device_of(poolProps->location.id);
  if (!device) return CUDA_ERROR_INVALID_DEVICE;
  CUresult result = shareable_types(poolProps->handleTypes, device);
  if (result != CUDA_SUCCESS) return result;
  struct pool *made = object_create(OBJECT_POOL, sizeof *made);
  if (!made) return CUDA_ERROR_OUT_OF_MEMORY;
  made->shared.device = device;
  made->types = poolProps->handleTypes;
  *pool = (CUmemoryPool)made;
  return CUDA_SUCCESS;
}

// cuda.h: what was allocated from it stays until it is freed.
CUresult CUDAAPI cuMemPoolDestroy(CUmemoryPool pool) {
  REQUIRE_DRIVER();
  struct pool *found = pool_of(pool);
  if (!found) return CUDA_ERROR_INVALID_VALUE;
  if (found->shared.id.number) close(found->shared.file);
  if (found->shared.id.number && !found->imported)
    allocation_remove(&found->shared.device->gpu, found->shared.id);
  object_destroy(OBJECT_POOL, found);
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemPoolSetAccess(CUmemoryPool pool, const CUmemAccessDesc *map, size_t count) {
  REQUIRE_DRIVER();
  struct pool *found = pool_of(pool);
  if (!found || !map) return CUDA_ERROR_INVALID_VALUE;
  return shareable_access(found->shared.device, map, count);
}

// ---------------------------------------------------------------- its memory

// A new allocation's or another process's file, as memory of the pool.
static CUresult enter(struct pool *pool, enum memory_kind kind, struct shared from,
                      CUdeviceptr *pointer) {
  struct memory what = {kind, .size = from.size, .device = from.device, .id = from.id};
  what.owner = &pool->object;
  struct memory *memory = memory_map(what, from.file);
  if (!memory) return CUDA_ERROR_OUT_OF_MEMORY;
  *pointer = (CUdeviceptr)memory->base;
  return CUDA_SUCCESS;
}

// cuda.h: a process that imported a pool cannot allocate from it.
CUresult CUDAAPI cuMemAllocFromPoolAsync(CUdeviceptr *dptr, size_t bytesize, CUmemoryPool pool,
                                         CUstream hStream) {
  REQUIRE_CONTEXT(context);
  struct pool *found = pool_of(pool);
  if (!stream_valid(hStream)) return CUDA_ERROR_INVALID_HANDLE;
  if (!dptr || !bytesize || !found || found->imported) return CUDA_ERROR_INVALID_VALUE;
  struct device *device = found->shared.device;
  struct shared made = {.device = device, .size = bytesize};
  memory_lock();
  made.id = memory_new_id();
  CUresult result = shareable_refusal(
      allocation_create(&device->gpu, made.id, bytesize, &device->process_lock, &made.file));
  if (result == CUDA_SUCCESS) {
    result = enter(found, MEMORY_POOLED, made, dptr);
    if (result != CUDA_SUCCESS) allocation_remove(&device->gpu, made.id);
  }
  memory_unlock();
  return result;
}

CUresult CUDAAPI cuMemFreeAsync(CUdeviceptr dptr, CUstream hStream) {
  if (!stream_valid(hStream)) return CUDA_ERROR_INVALID_HANDLE;
  return cuMemFree_v2(dptr);
}

// ---------------------------------------------------------------- sharing it

CUresult CUDAAPI cuMemPoolExportToShareableHandle(void *handle_out, CUmemoryPool pool,
                                                  CUmemAllocationHandleType handleType,
                                                  unsigned long long flags) {
  REQUIRE_DRIVER();
  struct pool *found = pool_of(pool);
  if (!handle_out || flags || !found || found->imported || !handleType ||
      (handleType & ~found->types))
    return CUDA_ERROR_INVALID_VALUE;
  CUresult result = CUDA_SUCCESS;
  memory_lock();
  struct shared *shared = &found->shared;
  if (!shared->id.number) {
    struct allocation_id id = memory_new_id();
    struct device *device = shared->device;
    result = shareable_refusal(
        allocation_create(&device->gpu, id, 0, &device->process_lock, &shared->file));
    if (result == CUDA_SUCCESS) shared->id = id;
  }
  if (result == CUDA_SUCCESS) result = shareable_export(handle_out, handleType, shared);
  memory_unlock();
  return result;
}

CUresult CUDAAPI cuMemPoolImportFromShareableHandle(CUmemoryPool *pool_out, void *handle,
                                                    CUmemAllocationHandleType handleType,
                                                    unsigned long long flags) {
  REQUIRE_DRIVER();
  if (!pool_out || flags) return CUDA_ERROR_INVALID_VALUE;
  struct shared shared;
  CUresult result = shareable_import(handle, handleType, &shared);
  if (result != CUDA_SUCCESS) return result;
  struct pool *made = shared.size ? NULL : object_create(OBJECT_POOL, sizeof *made);
  if (!made) {
    close(shared.file);
    return shared.size ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_OUT_OF_MEMORY;
  }
  made->shared = shared;
  made->imported = true;
  *pool_out = (CUmemoryPool)made;
  return CUDA_SUCCESS;
}

// Measured: the pool has to be exported before its pointers are.
CUresult CUDAAPI cuMemPoolExportPointer(CUmemPoolPtrExportData *shareData_out, CUdeviceptr ptr) {
  REQUIRE_DRIVER();
  memory_lock();
  struct memory *memory = memory_at(ptr);
  bool pooled = memory && memory->kind == MEMORY_POOLED && (CUdeviceptr)memory->base == ptr;
  struct pool *pool = pooled ? pool_of((CUmemoryPool)memory->owner) : NULL;
  bool exported = shareData_out && pool && pool->shared.id.number;
  if (exported) {
    struct pointer pointer = {.pool = pool->shared.id, .memory = memory->id};
    memcpy(pointer.magic, MAGIC, sizeof MAGIC);
    memcpy(shareData_out, &pointer, sizeof pointer);
  }
  memory_unlock();
  return exported ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult CUDAAPI cuMemPoolImportPointer(CUdeviceptr *ptr_out, CUmemoryPool pool,
                                        CUmemPoolPtrExportData *shareData) {
  REQUIRE_DRIVER();
  struct pool *found = pool_of(pool);
  struct pointer pointer;
  if (!ptr_out || !shareData || !found || !found->imported) return CUDA_ERROR_INVALID_VALUE;
  memcpy(&pointer, shareData, sizeof pointer);
  if (memcmp(pointer.magic, MAGIC, sizeof MAGIC) != 0 || !same(pointer.pool, found->shared.id))
    return CUDA_ERROR_INVALID_VALUE;
  struct shared from = {.device = found->shared.device, .id = pointer.memory};
  CUresult result =
      shareable_refusal(allocation_open(&from.device->gpu, from.id, &from.size, &from.file));
  if (result != CUDA_SUCCESS) return result;
  memory_lock();
  int file = dup(from.file);  // memory_map() closes its own
  result = enter(found, MEMORY_BORROWED, from, ptr_out);
  if (result == CUDA_SUCCESS)
    shareable_spoil(from.device, (void *)*ptr_out, from.size, PROT_READ | PROT_WRITE, file);
  close(file);
  memory_unlock();
  return result;
}
