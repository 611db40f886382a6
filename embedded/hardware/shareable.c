// Handles by which other processes find memory: POSIX file descriptors and fabric handles (cuda.h,
// CUmemAllocationHandleType).
//
// A descriptor is one of the allocation's file, so it keeps the memory when its exporter is gone.
// A fabric handle is 64 bytes that name the allocation. Neither says anything of a process's PID.
// Results are those measured on two H200, driver 580.159.04: docs/simulated-hardware.md.
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "driver.h"

#define PAGE 4096ul

struct fabric_handle {
  char magic[8];
  unsigned char uuid[16];
  struct allocation_id id;
  int channel;  // the exporter's
  char unused[20];
};
_Static_assert(sizeof(struct fabric_handle) == sizeof(CUmemFabricHandle), "the size is cuda.h's");
static const char MAGIC[8] = "SIMFABR";

CUresult shareable_refusal(enum allocation_state state) {
  switch (state) {
    case ALLOCATION_LIVE:
      return CUDA_SUCCESS;
    case ALLOCATION_FREED:
      return CUDA_ERROR_INVALID_VALUE;
    case ALLOCATION_OWNER_GONE:
      return CUDA_ERROR_INVALID_HANDLE;
    case ALLOCATION_NO_ROOM:
      return CUDA_ERROR_OUT_OF_MEMORY;
    default:
      return CUDA_ERROR_OPERATING_SYSTEM;
  }
}

bool shareable_reaches(const struct device *importer, const struct device *device) {
  const struct gpu *here = &importer->gpu, *there = &device->gpu;
  if (machine_faulty_pair(here, there, "denies-a-peer")) return false;
  return device == importer || machine_peers(there, here);
}

CUresult shareable_types(unsigned types, const struct device *device) {
  if (types & ~(unsigned)(CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR | CU_MEM_HANDLE_TYPE_FABRIC))
    return CUDA_ERROR_NOT_SUPPORTED;
  if (!(types & CU_MEM_HANDLE_TYPE_FABRIC)) return CUDA_SUCCESS;
  if (strcmp(device->gpu.link, "nvlink") != 0) return CUDA_ERROR_NOT_SUPPORTED;
  return machine_channel() < 0 ? CUDA_ERROR_NOT_PERMITTED : CUDA_SUCCESS;
}

CUresult shareable_access(const struct device *device, const CUmemAccessDesc *wanted,
                          size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (wanted[i].location.type != CU_MEM_LOCATION_TYPE_DEVICE) return CUDA_ERROR_INVALID_VALUE;
    if (wanted[i].flags == CU_MEM_ACCESS_FLAGS_PROT_READ) return CUDA_ERROR_NOT_SUPPORTED;
    const struct device *user = device_of(wanted[i].location.id);
    if (!user) return CUDA_ERROR_INVALID_DEVICE;
    bool refused = user != device && machine_fault(&device->gpu, "refuses-peers");
    if (refused || !shareable_reaches(user, device)) return CUDA_ERROR_PEER_ACCESS_UNSUPPORTED;
  }
  return CUDA_SUCCESS;
}

// ---------------------------------------------------------------- exporting

CUresult shareable_export(void *handle, CUmemAllocationHandleType type, const struct shared *what) {
  if (type == CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR) {
    int file = fcntl(what->file, F_DUPFD_CLOEXEC, 0);
    if (file < 0) return CUDA_ERROR_OPERATING_SYSTEM;
    memcpy(handle, &file, sizeof file);
    return CUDA_SUCCESS;
  }
  struct fabric_handle fabric = {.id = what->id, .channel = machine_channel()};
  memcpy(fabric.magic, MAGIC, sizeof MAGIC);
  memcpy(fabric.uuid, what->device->gpu.uuid_bytes, sizeof fabric.uuid);
  memcpy(handle, &fabric, sizeof fabric);
  return CUDA_SUCCESS;
}

// ---------------------------------------------------------------- importing

// The exporting device, or what stands for it on a machine with the fault opens-any-gpu.
static struct device *injected_minor(int minor) {
  int count;
  struct device *devices = injected_devices(&count);
  for (int i = 0; i < count; i++)
    if (devices[i].gpu.minor == minor) return &devices[i];
  return machine_fault(&devices[0].gpu, "opens-any-gpu") ? &devices[0] : NULL;
}

static CUresult import_descriptor(const void *handle, struct shared *what) {
  int descriptor = (int)(intptr_t)handle, minor;
  if (!allocation_of_file(descriptor, &minor, &what->id, &what->size))
    return CUDA_ERROR_INVALID_VALUE;
  what->device = injected_minor(minor);
  if (!what->device) return CUDA_ERROR_INVALID_DEVICE;
  what->file = fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
  return what->file < 0 ? CUDA_ERROR_OPERATING_SYSTEM : CUDA_SUCCESS;
}

static CUresult import_fabric(const void *handle, struct shared *what) {
  int channel = machine_channel();
  if (channel < 0) return CUDA_ERROR_NOT_PERMITTED;
  struct fabric_handle fabric;
  memcpy(&fabric, handle, sizeof fabric);
  if (memcmp(fabric.magic, MAGIC, sizeof MAGIC) != 0) return CUDA_ERROR_INVALID_VALUE;
  if (fabric.channel != channel) return CUDA_ERROR_NOT_PERMITTED;
  what->device = device_by_uuid(fabric.uuid);
  if (!what->device) return CUDA_ERROR_NOT_SUPPORTED;
  what->id = fabric.id;
  return shareable_refusal(allocation_open(&what->device->gpu, what->id, &what->size, &what->file));
}

// The faults with which a GPU refuses, or has lost, what it should give.
static CUresult faulty_import(const struct shared *what) {
  const struct gpu *gpu = &what->device->gpu;
  struct stat status;
  if (machine_fault(gpu, "refuses-imports")) return CUDA_ERROR_NOT_SUPPORTED;
  if (machine_fault(gpu, "refuses-pid-1") && getpid() == 1) return CUDA_ERROR_INVALID_CONTEXT;
  bool late = fstat(what->file, &status) == 0 && status.st_nlink == 0;
  if (machine_fault(gpu, "clears-late") && late &&
      (ftruncate(what->file, 0) != 0 || ftruncate(what->file, (off_t)what->size) != 0))
    return CUDA_ERROR_OPERATING_SYSTEM;
  return CUDA_SUCCESS;
}

CUresult shareable_import(const void *handle, CUmemAllocationHandleType type, struct shared *what) {
  CUresult result = CUDA_ERROR_INVALID_VALUE;
  if (type == CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR)
    result = import_descriptor(handle, what);
  else if (type == CU_MEM_HANDLE_TYPE_FABRIC && handle)
    result = import_fabric(handle, what);
  if (result != CUDA_SUCCESS) return result;
  result = faulty_import(what);
  if (result != CUDA_SUCCESS) close(what->file);
  return result;
}

void shareable_spoil(const struct device *device, void *base, size_t size, int protection,
                     int file) {
  if (machine_fault(&device->gpu, "loses-a-page"))
    mmap(base, PAGE, protection, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (machine_fault(&device->gpu, "loses-writes"))
    mmap(base, PAGE, protection, MAP_FIXED | MAP_PRIVATE, file, 0);
  if (machine_fault(&device->gpu, "lacks-a-page"))  // behind a file's end there is nothing
    mmap((char *)base + size - PAGE, PAGE, protection, MAP_FIXED | MAP_SHARED, file, (off_t)size);
}
