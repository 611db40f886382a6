// Memory and events shared between processes (cuda.h, cuIpcGetMemHandle and following).
//
// Results are those measured on H100 (and one H200), driver 580.159.04: docs/simulated-hardware.md
// lists them. In short: an importer whose own PID equals the exporter's is taken for the exporter,
// whatever PID namespaces the two are in; nothing else about processes is looked at. Of events
// nothing was measured: they follow the same rules here.
#include "driver.h"

#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// The 64 bytes of a handle. Only the PID's place is known of the real one; the places of the others
// are chosen so that flipping single bytes has the measured results (ignored bytes: the handle
// opens all the same; 24 and 32: CUDA_ERROR_INVALID_VALUE; 48: CUDA_ERROR_INVALID_HANDLE).
struct handle {
  unsigned char ignored[8];
  unsigned char pid[4];  // the exporter's own PID as it sees itself, little endian
  unsigned char ignored_too[12];
  unsigned char uuid[16];    // 24: the exporting GPU
  unsigned char number[8];   // 40: the allocation or event among its process's
  unsigned char process[8];  // 48: the exporting process
  unsigned char ignored_last[8];
};
_Static_assert(sizeof(struct handle) == CU_IPC_HANDLE_SIZE, "a handle has 64 bytes");

static void write_handle(void *to, const struct device *device, struct allocation_id id) {
  struct handle handle = {.ignored = "SIMGPU"};
  uint32_t pid = (uint32_t)getpid();
  memcpy(handle.pid, &pid, sizeof handle.pid);
  memcpy(handle.uuid, device->gpu.uuid_bytes, sizeof handle.uuid);
  memcpy(handle.number, &id.number, sizeof handle.number);
  memcpy(handle.process, &id.process, sizeof handle.process);
  memcpy(to, &handle, sizeof handle);
}

// What a handle names; not a success: it names nothing that this process can open.
static CUresult read_handle(const void *from, struct device **device, struct allocation_id *id) {
  struct handle handle;
  memcpy(&handle, from, sizeof handle);
  uint32_t pid;
  memcpy(&pid, handle.pid, sizeof pid);
  if (pid == (uint32_t)getpid()) return CUDA_ERROR_INVALID_CONTEXT;
  // Measured: CUDA_VISIBLE_DEVICES may hide the exporting GPU, but it must be injected.
  *device = device_by_uuid(handle.uuid);
  if (!*device) return CUDA_ERROR_INVALID_VALUE;
  memcpy(&id->number, handle.number, sizeof id->number);
  memcpy(&id->process, handle.process, sizeof id->process);
  return CUDA_SUCCESS;
}

// ---------------------------------------------------------------- memory

// Any address within an allocation made by cuMemAlloc; measured: the handle stands for its base.
CUresult CUDAAPI cuIpcGetMemHandle(CUipcMemHandle *pHandle, CUdeviceptr dptr) {
  REQUIRE_CONTEXT(context);
  memory_lock();
  struct memory *memory = memory_at(dptr);
  bool exportable = pHandle && memory && memory->kind == MEMORY_DEVICE;
  if (exportable) write_handle(pHandle, memory->device, memory->id);
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
  struct memory what = {MEMORY_IMPORTED, .context = context, .device = device, .id = id};
  what.references = 1;
  int file;
  CUresult refused = shareable_refusal(allocation_open(&device->gpu, id, &what.size, &file));
  if (refused != CUDA_SUCCESS) return refused;
  bool event = what.size == 0;
  const struct gpu *here = &context->device->gpu, *there = &device->gpu;
  bool faulty = machine_faulty_pair(here, there, "refuses-a-peer");
  if (event || faulty || !shareable_reaches(context->device, device)) {
    close(file);
    return event ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_PEER_ACCESS_UNSUPPORTED;
  }
  struct memory *memory = memory_map(what, file);
  if (!memory) return CUDA_ERROR_MAP_FAILED;
  *pointer = (CUdeviceptr)memory->base;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuIpcOpenMemHandle_v2(CUdeviceptr *pdptr, CUipcMemHandle opaque,
                                       unsigned int Flags) {
  REQUIRE_CONTEXT(context);
  if (!pdptr || Flags != CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS) return CUDA_ERROR_INVALID_VALUE;
  struct device *device;
  struct allocation_id id;
  CUresult result = read_handle(&opaque, &device, &id);
  if (result != CUDA_SUCCESS) return result;
  memory_lock();
  struct memory *known = memory_imported(id, device, context->device);
  result = known ? open_again(known, context, pdptr) : open_first(device, id, context, pdptr);
  memory_unlock();
  return result;
}

SAME(cuIpcOpenMemHandle, cuIpcOpenMemHandle_v2);

CUresult CUDAAPI cuIpcCloseMemHandle(CUdeviceptr dptr) {
  REQUIRE_CONTEXT(context);
  memory_lock();
  struct memory *memory = memory_at(dptr);
  bool open = memory && memory->kind == MEMORY_IMPORTED && (CUdeviceptr)memory->base == dptr;
  if (open && --memory->references == 0) memory_drop(memory);
  memory_unlock();
  return open ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

// ---------------------------------------------------------------- events
//
// To other processes an event is an allocation of no bytes: all work is done when its call returns.

// Measured in pods, each with a /dev/shm of its own: CUDA_ERROR_MAP_FAILED. So an event is taken to
// live in a file there, and to open where exporter and importer see the same /dev/shm.
static uint64_t shared_memory_folder(void) {
  struct stat folder;
  return stat("/dev/shm", &folder) ? 0 : (uint64_t)folder.st_dev;
}

// cuda.h: the event must have been made with CU_EVENT_INTERPROCESS and CU_EVENT_DISABLE_TIMING.
CUresult CUDAAPI cuIpcGetEventHandle(CUipcEventHandle *pHandle, CUevent event) {
  REQUIRE_CONTEXT(context);
  struct event *exported = event_of(event);
  if (!exported) return CUDA_ERROR_INVALID_HANDLE;
  if (!pHandle || !(exported->flags & CU_EVENT_INTERPROCESS)) return CUDA_ERROR_INVALID_VALUE;
  CUresult result = CUDA_SUCCESS;
  memory_lock();
  if (!exported->id.number) {
    struct device *device = exported->device;
    struct allocation_id id = memory_new_id();
    int file;
    result =
        shareable_refusal(allocation_create(&device->gpu, id, 0, &device->process_lock, &file));
    if (result == CUDA_SUCCESS) {
      close(file);
      exported->id = id;
    }
  }
  if (result == CUDA_SUCCESS) {
    write_handle(pHandle, exported->device, exported->id);
    uint64_t folder = shared_memory_folder();
    memcpy((char *)pHandle + offsetof(struct handle, ignored_last), &folder, sizeof folder);
  }
  memory_unlock();
  return result;
}

// cuda.h: the event behaves as one that was made with CU_EVENT_DISABLE_TIMING. What its exporter
// recorded is done by now.
CUresult CUDAAPI cuIpcOpenEventHandle(CUevent *phEvent, CUipcEventHandle opaque) {
  REQUIRE_CONTEXT(context);
  if (!phEvent) return CUDA_ERROR_INVALID_VALUE;
  struct device *device;
  struct allocation_id id;
  size_t size;
  int file;
  CUresult result = read_handle(&opaque, &device, &id);
  if (result == CUDA_SUCCESS)
    result = shareable_refusal(allocation_open(&device->gpu, id, &size, &file));
  if (result != CUDA_SUCCESS) return result;
  close(file);
  if (size) return CUDA_ERROR_INVALID_VALUE;
  uint64_t folder;
  memcpy(&folder, (char *)&opaque + offsetof(struct handle, ignored_last), sizeof folder);
  if (folder != shared_memory_folder()) return CUDA_ERROR_MAP_FAILED;
  if (!shareable_reaches(context->device, device)) return CUDA_ERROR_PEER_ACCESS_UNSUPPORTED;
  struct event *event = event_make(device, CU_EVENT_DISABLE_TIMING);
  if (!event) return CUDA_ERROR_OUT_OF_MEMORY;
  event_record(event);
  *phEvent = (CUevent)event;
  return CUDA_SUCCESS;
}
