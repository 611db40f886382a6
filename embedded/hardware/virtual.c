// Physical memory, addresses, and what is mapped where (cuda.h, "Virtual Memory Management").
//
// An allocation lives as long as its handle or a mapping of it does. Addresses that are reserved
// are pages without access; a mapping is one too until its access is set.
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "driver.h"

#define GRANULARITY (2ul << 20)  // as measured on H100 and H200, minimum and recommended alike
#define PAGE 4096ul

struct physical {
  struct object object;
  struct shared memory;
  unsigned types;  // as which it can be exported
  bool imported;
  bool released;  // its handle is no longer valid
  int mappings;
};

struct reservation {
  struct reservation *next;
  char *whole;  // as mapped, which need not be aligned
  size_t whole_size;
  char *base;
  size_t size;
};

static struct reservation *reservations;  // guarded by memory_lock()

static bool aligned(uint64_t value) { return value % GRANULARITY == 0; }

static struct physical *physical_of(CUmemGenericAllocationHandle handle) {
  struct physical *physical = (struct physical *)handle;
  return object_is(OBJECT_PHYSICAL, physical) && !physical->released ? physical : NULL;
}

// Let go of an allocation that nobody can use any more.
static void forget_unused(struct physical *physical) {
  if (!physical->released || physical->mappings) return;
  close(physical->memory.file);
  if (!physical->imported) allocation_remove(&physical->memory.device->gpu, physical->memory.id);
  object_destroy(OBJECT_PHYSICAL, physical);
}

static CUresult enter(struct shared memory, unsigned types, bool imported,
                      CUmemGenericAllocationHandle *handle) {
  struct physical *physical = object_create(OBJECT_PHYSICAL, sizeof *physical);
  if (!physical) {
    close(memory.file);
    if (!imported) allocation_remove(&memory.device->gpu, memory.id);
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  physical->memory = memory;
  physical->types = types;
  physical->imported = imported;
  *handle = (CUmemGenericAllocationHandle)physical;
  return CUDA_SUCCESS;
}

// The device that is asked for; not a success: no memory can be had so.
static CUresult device_wanted(const CUmemAllocationProp *prop, struct device **device) {
  if (!prop || prop->type != CU_MEM_ALLOCATION_TYPE_PINNED) return CUDA_ERROR_INVALID_VALUE;
  if (prop->location.type != CU_MEM_LOCATION_TYPE_DEVICE) return CUDA_ERROR_NOT_SUPPORTED;
  *device = device_of(prop->location.id);
  return *device ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

// ---------------------------------------------------------------- physical memory

CUresult CUDAAPI cuMemGetAllocationGranularity(size_t *granularity, const CUmemAllocationProp *prop,
                                               CUmemAllocationGranularity_flags option) {
  REQUIRE_DRIVER();
  struct device *device;
  if (!granularity || (unsigned)option > CU_MEM_ALLOC_GRANULARITY_RECOMMENDED)
    return CUDA_ERROR_INVALID_VALUE;
  CUresult result = device_wanted(prop, &device);
  if (result == CUDA_SUCCESS) *granularity = GRANULARITY;
  return result;
}

CUresult CUDAAPI cuMemCreate(CUmemGenericAllocationHandle *handle, size_t size,
                             const CUmemAllocationProp *prop, unsigned long long flags) {
  REQUIRE_DRIVER();
  struct shared memory = {.size = size};
  if (!handle || !size || !aligned(size) || flags) return CUDA_ERROR_INVALID_VALUE;
  CUresult result = device_wanted(prop, &memory.device);
  if (result == CUDA_SUCCESS) result = shareable_types(prop->requestedHandleTypes, memory.device);
  if (result != CUDA_SUCCESS) return result;
  memory_lock();
  memory.id = memory_new_id();
  struct device *device = memory.device;
  result = shareable_refusal(
      allocation_create(&device->gpu, memory.id, size, &device->process_lock, &memory.file));
  if (result == CUDA_SUCCESS) result = enter(memory, prop->requestedHandleTypes, false, handle);
  memory_unlock();
  return result;
}

CUresult CUDAAPI cuMemRelease(CUmemGenericAllocationHandle handle) {
  REQUIRE_DRIVER();
  memory_lock();
  struct physical *physical = physical_of(handle);
  if (physical) {
    physical->released = true;
    forget_unused(physical);
  }
  memory_unlock();
  return physical ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult CUDAAPI cuMemGetAllocationPropertiesFromHandle(CUmemAllocationProp *prop,
                                                        CUmemGenericAllocationHandle handle) {
  REQUIRE_DRIVER();
  struct physical *physical = physical_of(handle);
  if (!prop || !physical) return CUDA_ERROR_INVALID_VALUE;
  *prop = (CUmemAllocationProp){.type = CU_MEM_ALLOCATION_TYPE_PINNED};
  prop->requestedHandleTypes = (CUmemAllocationHandleType)physical->types;
  prop->location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  prop->location.id = device_ordinal(physical->memory.device);
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemExportToShareableHandle(void *shareableHandle,
                                              CUmemGenericAllocationHandle handle,
                                              CUmemAllocationHandleType handleType,
                                              unsigned long long flags) {
  REQUIRE_DRIVER();
  struct physical *physical = physical_of(handle);
  if (!shareableHandle || flags || !physical || !handleType ||
      (handleType & ~physical->types))  // cuda.h: it must be one that was requested
    return CUDA_ERROR_INVALID_VALUE;
  return shareable_export(shareableHandle, handleType, &physical->memory);
}

// A pool's descriptor, which is of no bytes, is none of memory.
CUresult CUDAAPI cuMemImportFromShareableHandle(CUmemGenericAllocationHandle *handle,
                                                void *osHandle,
                                                CUmemAllocationHandleType shHandleType) {
  REQUIRE_DRIVER();
  struct shared memory;
  if (!handle) return CUDA_ERROR_INVALID_VALUE;
  CUresult result = shareable_import(osHandle, shHandleType, &memory);
  if (result != CUDA_SUCCESS) return result;
  if (!memory.size) {
    close(memory.file);
    return CUDA_ERROR_INVALID_VALUE;
  }
  return enter(memory, shHandleType, true, handle);
}

// ---------------------------------------------------------------- addresses

static struct reservation **link_to(const char *address, size_t size) {
  struct reservation **link = &reservations;
  while (*link && (address < (*link)->base || address + size > (*link)->base + (*link)->size))
    link = &(*link)->next;
  return link;
}

// Whether nothing is mapped in a range.
static bool unused(const char *address, size_t size) {
  struct memory *next = memory_from((CUdeviceptr)address);
  return !next || next->base >= address + size;
}

// The address that is asked for is a wish, which is not heard. Behind the range lies a page without
// access.
CUresult CUDAAPI cuMemAddressReserve(CUdeviceptr *ptr, size_t size, size_t alignment,
                                     CUdeviceptr addr, unsigned long long flags) {
  REQUIRE_DRIVER();
  (void)addr;
  size_t step = alignment > GRANULARITY ? alignment : GRANULARITY;
  if (!ptr || !size || !aligned(size) || (alignment & (alignment - 1)) || flags)
    return CUDA_ERROR_INVALID_VALUE;
  struct reservation *made = malloc(sizeof *made);
  if (!made) return CUDA_ERROR_OUT_OF_MEMORY;
  made->size = size;
  made->whole_size = size + step + PAGE;
  made->whole =
      mmap(NULL, made->whole_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (made->whole == MAP_FAILED) {
    free(made);
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  made->base = (char *)(((uintptr_t)made->whole + step - 1) / step * step);
  memory_lock();
  made->next = reservations;
  reservations = made;
  memory_unlock();
  *ptr = (CUdeviceptr)made->base;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemAddressFree(CUdeviceptr ptr, size_t size) {
  REQUIRE_DRIVER();
  memory_lock();
  struct reservation **link = link_to((char *)ptr, size), *found = *link;
  bool whole = found && (CUdeviceptr)found->base == ptr && found->size == size;
  bool fits = whole && unused(found->base, size);
  if (fits) {
    *link = found->next;
    munmap(found->whole, found->whole_size);
    free(found);
  }
  memory_unlock();
  return fits ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

// ---------------------------------------------------------------- mappings

static CUresult map(char *base, size_t size, struct physical *physical) {
  struct shared *from = &physical->memory;
  if (mmap(base, size, PROT_NONE, MAP_FIXED | MAP_SHARED, from->file, 0) == MAP_FAILED)
    return CUDA_ERROR_MAP_FAILED;
  struct memory what = {MEMORY_VIRTUAL, .base = base, .size = size, .device = from->device};
  what.owner = &physical->object;
  what.denied = true;
  if (!memory_enter(what)) return CUDA_ERROR_OUT_OF_MEMORY;
  if (physical->imported) shareable_spoil(from->device, base, size, PROT_NONE, from->file);
  physical->mappings++;
  return CUDA_SUCCESS;
}

// cuda.h: the offset must be 0 for now; the range must be reserved and not be mapped yet.
CUresult CUDAAPI cuMemMap(CUdeviceptr ptr, size_t size, size_t offset,
                          CUmemGenericAllocationHandle handle, unsigned long long flags) {
  REQUIRE_DRIVER();
  CUresult result = CUDA_ERROR_INVALID_VALUE;
  memory_lock();
  struct physical *physical = physical_of(handle);
  bool fits = physical && size && size <= physical->memory.size && !offset && !flags;
  if (fits && aligned(ptr) && aligned(size) && *link_to((char *)ptr, size) &&
      unused((char *)ptr, size))
    result = map((char *)ptr, size, physical);
  memory_unlock();
  return result;
}

// The mappings of a range, which they must fill: call `done` for each. The caller holds the lock.
static CUresult each_mapping(CUdeviceptr ptr, size_t size,
                             CUresult (*done)(struct memory *, void *), void *with) {
  CUdeviceptr next = ptr;
  while (next < ptr + size) {
    struct memory *memory = memory_at(next);
    if (!memory || memory->kind != MEMORY_VIRTUAL || (CUdeviceptr)memory->base != next)
      return CUDA_ERROR_INVALID_VALUE;
    next += memory->size;
    if (next > ptr + size) return CUDA_ERROR_INVALID_VALUE;
    CUresult result = done ? done(memory, with) : CUDA_SUCCESS;
    if (result != CUDA_SUCCESS) return result;
  }
  return size ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static CUresult unmap(struct memory *memory, void *with) {
  (void)with;
  struct physical *physical = (struct physical *)memory->owner;
  memory_drop(memory);
  physical->mappings--;
  forget_unused(physical);
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemUnmap(CUdeviceptr ptr, size_t size) {
  REQUIRE_DRIVER();
  memory_lock();
  CUresult result = each_mapping(ptr, size, NULL, NULL);
  if (result == CUDA_SUCCESS) result = each_mapping(ptr, size, unmap, NULL);
  memory_unlock();
  return result;
}

struct wanted_access {
  const CUmemAccessDesc *wanted;
  size_t count;
};

static CUresult set_access(struct memory *memory, void *with) {
  const struct wanted_access *access = with;
  CUresult result = shareable_access(memory->device, access->wanted, access->count);
  if (result != CUDA_SUCCESS) return result;
  memory->denied = true;
  for (size_t i = 0; i < access->count; i++)
    if (access->wanted[i].flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE) memory->denied = false;
  int protection = memory->denied ? PROT_NONE : PROT_READ | PROT_WRITE;
  return mprotect(memory->base, memory->size, protection) ? CUDA_ERROR_OPERATING_SYSTEM
                                                          : CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemSetAccess(CUdeviceptr ptr, size_t size, const CUmemAccessDesc *desc,
                                size_t count) {
  REQUIRE_DRIVER();
  if (!desc || !count) return CUDA_ERROR_INVALID_VALUE;
  struct wanted_access access = {desc, count};
  memory_lock();
  CUresult result = each_mapping(ptr, size, NULL, NULL);
  if (result == CUDA_SUCCESS) result = each_mapping(ptr, size, set_access, &access);
  memory_unlock();
  return result;
}
