// Memory (cuda.h, "Memory Management", "Unified Addressing").
//
// An allocation is a file in the GPU's directory, mapped shared; its address in this process is the
// device pointer. Behind each mapping lies a page without access, so that a kernel that runs over
// the end faults as on a GPU.
#define _GNU_SOURCE
#include "driver.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#define PAGE 4096ul

static pthread_mutex_t table_lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static struct memory **table;  // by address
static size_t table_used, table_room;

void memory_lock(void) { pthread_mutex_lock(&table_lock); }
void memory_unlock(void) { pthread_mutex_unlock(&table_lock); }

uint64_t memory_process_key(void) {
  static uint64_t key;
  memory_lock();
  while (!key)
    if (getrandom(&key, sizeof key, 0) != sizeof key) key = 0;
  memory_unlock();
  return key;
}

// ---------------------------------------------------------------- the table

// The index of the first range that ends behind the address.
static size_t position(const char *address) {
  size_t low = 0, high = table_used;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (table[middle]->base + table[middle]->size <= address)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

struct memory *memory_at(CUdeviceptr address) {
  memory_lock();
  size_t index = position((const char *)address);
  struct memory *memory = index < table_used ? table[index] : NULL;
  if (memory && (const char *)address < memory->base) memory = NULL;
  memory_unlock();
  return memory;
}

struct memory *memory_imported(struct allocation_id id, const struct device *device,
                               const struct device *importer) {
  for (size_t i = 0; i < table_used; i++) {
    struct memory *memory = table[i];
    if (memory->kind == MEMORY_IMPORTED && memory->device == device &&
        memory->context->device == importer && memory->id.process == id.process &&
        memory->id.number == id.number)
      return memory;
  }
  return NULL;
}

static struct memory *enter(struct memory what) {
  if (table_used == table_room) {
    size_t room = table_room ? 2 * table_room : 64;
    struct memory **larger = realloc(table, room * sizeof(struct memory *));
    if (!larger) return NULL;
    table = larger;
    table_room = room;
  }
  struct memory *memory = malloc(sizeof *memory);
  if (!memory) return NULL;
  *memory = what;
  size_t index = position(what.base);
  memmove(table + index + 1, table + index, (table_used - index) * sizeof *table);
  table[index] = memory;
  table_used++;
  return memory;
}

static void leave(struct memory *memory) {
  size_t index = position(memory->base);
  memmove(table + index, table + index + 1, (table_used - index - 1) * sizeof *table);
  table_used--;
  free(memory);
}

// ---------------------------------------------------------------- mappings

static size_t pages(size_t size) { return (size + PAGE - 1) / PAGE * PAGE; }

// Addresses for `size` bytes and the page without access behind them.
static char *reserve(size_t size) {
  char *base = mmap(NULL, pages(size) + PAGE, PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return base == MAP_FAILED ? NULL : base;
}

static struct memory *map(struct memory what, int file) {
  what.base = reserve(what.size);
  if (!what.base) return NULL;
  int flags = MAP_FIXED | (file < 0 ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE : MAP_SHARED);
  struct memory *memory = NULL;
  if (mmap(what.base, pages(what.size), PROT_READ | PROT_WRITE, flags, file, 0) != MAP_FAILED)
    memory = enter(what);
  if (!memory) munmap(what.base, pages(what.size) + PAGE);
  return memory;
}

struct memory *memory_map(struct memory what, int file) {
  memory_lock();
  struct memory *memory = map(what, file);
  memory_unlock();
  close(file);  // the mapping keeps the memory, even after its process ended
  return memory;
}

void memory_drop(struct memory *memory) {
  memory_lock();
  if (memory->kind != MEMORY_REGISTERED) munmap(memory->base, pages(memory->size) + PAGE);
  if (memory->kind == MEMORY_DEVICE) allocation_remove(&memory->device->gpu, memory->id);
  leave(memory);
  memory_unlock();
}

void memory_drop_all_of(const struct context *context) {
  memory_lock();
  for (size_t i = table_used; i-- > 0;)
    if (table[i]->context == context) memory_drop(table[i]);
  memory_unlock();
}

// ---------------------------------------------------------------- allocating

static CUresult allocate_device(struct context *context, CUdeviceptr *pointer, size_t size) {
  static uint64_t number;
  struct device *device = context->device;
  memory_lock();
  struct allocation_id id = {memory_process_key(), ++number};
  int file;
  enum allocation_state state =
      allocation_create(&device->gpu, id, size, &device->process_lock, &file);
  struct memory *memory = NULL;
  if (state == ALLOCATION_LIVE) {
    memory = memory_map((struct memory){.kind = MEMORY_DEVICE, .size = size, .context = context,
                                        .device = device, .id = id},
                        file);
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
  memory_lock();
  struct memory *memory =
      map((struct memory){.kind = kind, .size = size, .context = context,
                          .device = kind == MEMORY_MANAGED ? context->device : NULL},
          -1);
  memory_unlock();
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
  return free_at(dptr, 1u << MEMORY_DEVICE | 1u << MEMORY_MANAGED);
}

CUresult CUDAAPI cuMemHostAlloc(void **pp, size_t bytesize, unsigned int Flags) {
  REQUIRE_CONTEXT(context);
  (void)Flags;  // portable, mapped, write-combined: all the same to a CPU
  if (!pp || !bytesize) return CUDA_ERROR_INVALID_VALUE;
  return allocate_host(context, MEMORY_HOST, pp, bytesize);
}

CUresult CUDAAPI cuMemAllocHost_v2(void **pp, size_t bytesize) {
  return cuMemHostAlloc(pp, bytesize, 0);
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
  size_t index = position(p);
  bool overlaps = index < table_used && table[index]->base < (char *)p + bytesize;
  struct memory *memory = NULL;
  if (!overlaps)
    memory = enter((struct memory){
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

CUresult CUDAAPI cuPointerGetAttribute(void *data, CUpointer_attribute attribute, CUdeviceptr ptr) {
  REQUIRE_CONTEXT(context);
  struct memory *memory = memory_at(ptr);
  if (!data || !memory) return CUDA_ERROR_INVALID_VALUE;
  switch ((int)attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT:
      *(CUcontext *)data = (CUcontext)memory->context;
      return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
      *(CUmemorytype *)data = is_host(memory) ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
      return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
      *(CUdeviceptr *)data = ptr;
      return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
      if (!is_host(memory) && memory->kind != MEMORY_MANAGED) return CUDA_ERROR_INVALID_VALUE;
      *(void **)data = (void *)ptr;
      return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
      *(unsigned *)data = memory->kind == MEMORY_MANAGED;
      return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL: {
      // An importer may hide the exporting GPU (CUDA_VISIBLE_DEVICES); it then has no ordinal.
      int ordinal = memory->device ? device_ordinal(memory->device) : -1;
      *(int *)data = ordinal >= 0 ? ordinal : device_ordinal(memory->context->device);
      return CUDA_SUCCESS;
    }
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
      *(bool *)data = memory->kind == MEMORY_DEVICE;
      return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
      *(CUdeviceptr *)data = (CUdeviceptr)memory->base;
      return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
      *(size_t *)data = memory->size;
      return CUDA_SUCCESS;
    default:
      return CUDA_ERROR_NOT_SUPPORTED;
  }
}
