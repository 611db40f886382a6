// Memory shared between processes (cuda.h, cuIpcGetMemHandle and following).
//
// Results are those measured on H100 (and one H200), driver 580.159.04: docs/simulated-hardware.md
// lists them. In short: an importer whose own PID equals the exporter's is taken for the exporter,
// whatever PID namespaces the two are in; nothing else about processes is looked at.
#include "driver.h"

#include <string.h>
#include <unistd.h>

// The 64 bytes of a handle. Only the PID's place is known of the real one; the places of the others
// are chosen so that flipping single bytes has the measured results (ignored bytes: the handle
// opens all the same; 24 and 32: CUDA_ERROR_INVALID_VALUE; 48: CUDA_ERROR_INVALID_HANDLE).
struct handle {
  unsigned char ignored[8];
  unsigned char pid[4];  // the exporter's own PID as it sees itself, little endian
  unsigned char ignored_too[12];
  unsigned char uuid[16];     // 24: the exporting GPU
  unsigned char number[8];    // 40: the allocation among its process's
  unsigned char process[8];   // 48: the exporting process
  unsigned char ignored_last[8];
};
_Static_assert(sizeof(struct handle) == CU_IPC_HANDLE_SIZE, "a handle has 64 bytes");

// Any address within an allocation made by cuMemAlloc; measured: the handle stands for its base.
CUresult CUDAAPI cuIpcGetMemHandle(CUipcMemHandle *pHandle, CUdeviceptr dptr) {
  REQUIRE_CONTEXT(context);
  memory_lock();
  struct memory *memory = memory_at(dptr);
  bool exportable = pHandle && memory && memory->kind == MEMORY_DEVICE;
  if (exportable) {
    struct handle handle = {.ignored = "SIMGPU"};
    uint32_t pid = (uint32_t)getpid();
    memcpy(handle.pid, &pid, sizeof handle.pid);
    memcpy(handle.uuid, memory->device->gpu.uuid_bytes, sizeof handle.uuid);
    memcpy(handle.number, &memory->id.number, sizeof handle.number);
    memcpy(handle.process, &memory->id.process, sizeof handle.process);
    memcpy(pHandle, &handle, sizeof handle);
  }
  memory_unlock();
  return exportable ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

// cuda.h: "CUipcMemHandles from each CUdevice in a given process may only be opened by one
// CUcontext per CUdevice per other process. If the memory handle has already been opened by the
// current context, the reference count on the handle is incremented by 1 and the existing device
// pointer is returned."
static CUresult open_again(struct memory *memory, const struct context *context,
                           CUdeviceptr *pointer) {
  if (memory->context != context) return CUDA_ERROR_INVALID_CONTEXT;
  memory->references++;
  *pointer = (CUdeviceptr)memory->base;
  return CUDA_SUCCESS;
}

static CUresult open_first(struct device *device, struct allocation_id id, struct context *context,
                           CUdeviceptr *pointer) {
  size_t size;
  int file;
  switch (allocation_open(&device->gpu, id, &size, &file)) {
    case ALLOCATION_LIVE:
      break;
    case ALLOCATION_FREED:
      return CUDA_ERROR_INVALID_VALUE;
    case ALLOCATION_OWNER_GONE:
      return CUDA_ERROR_INVALID_HANDLE;
    default:
      return CUDA_ERROR_OPERATING_SYSTEM;
  }
  if (device != context->device && !machine_peers(&device->gpu, &context->device->gpu)) {
    close(file);
    return CUDA_ERROR_PEER_ACCESS_UNSUPPORTED;
  }
  struct memory *memory =
      memory_map((struct memory){.kind = MEMORY_IMPORTED, .size = size, .context = context,
                                 .device = device, .id = id, .references = 1},
                 file);
  if (!memory) return CUDA_ERROR_MAP_FAILED;
  *pointer = (CUdeviceptr)memory->base;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuIpcOpenMemHandle_v2(CUdeviceptr *pdptr, CUipcMemHandle opaque,
                                       unsigned int Flags) {
  REQUIRE_CONTEXT(context);
  struct handle handle;
  memcpy(&handle, &opaque, sizeof handle);
  if (!pdptr || Flags != CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS) return CUDA_ERROR_INVALID_VALUE;

  uint32_t pid;
  memcpy(&pid, handle.pid, sizeof pid);
  if (pid == (uint32_t)getpid()) return CUDA_ERROR_INVALID_CONTEXT;

  // Measured: CUDA_VISIBLE_DEVICES may hide the exporting GPU, but it must be injected.
  struct device *device = device_by_uuid(handle.uuid);
  if (!device) return CUDA_ERROR_INVALID_VALUE;

  struct allocation_id id;
  memcpy(&id.number, handle.number, sizeof id.number);
  memcpy(&id.process, handle.process, sizeof id.process);
  memory_lock();
  struct memory *known = memory_imported(id, device, context->device);
  CUresult result = known ? open_again(known, context, pdptr)
                          : open_first(device, id, context, pdptr);
  memory_unlock();
  return result;
}

#undef cuIpcOpenMemHandle
EXPORT CUresult CUDAAPI cuIpcOpenMemHandle(CUdeviceptr *pdptr, CUipcMemHandle handle,
                                           unsigned int Flags) {
  return cuIpcOpenMemHandle_v2(pdptr, handle, Flags);
}

CUresult CUDAAPI cuIpcCloseMemHandle(CUdeviceptr dptr) {
  REQUIRE_CONTEXT(context);
  memory_lock();
  struct memory *memory = memory_at(dptr);
  bool open = memory && memory->kind == MEMORY_IMPORTED && (CUdeviceptr)memory->base == dptr;
  if (open && --memory->references == 0) memory_drop(memory);
  memory_unlock();
  return open ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
