// Which devices there are and what they are like.
#include "driver.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static pthread_mutex_t init_lock = PTHREAD_MUTEX_INITIALIZER;
static bool ready;
static bool forked;  // this process is a child of one that had called cuInit

static struct device devices[MACHINE_MAX_GPUS];  // every injected GPU, by minor
static int device_count;
static struct device *visible[MACHINE_MAX_GPUS];  // by ordinal
static int visible_count;

CUresult driver_ready(void) { return ready && !forked ? CUDA_SUCCESS : CUDA_ERROR_NOT_INITIALIZED; }

struct device *device_of(CUdevice ordinal) {
  return ordinal >= 0 && ordinal < visible_count ? visible[ordinal] : NULL;
}

struct device *device_by_uuid(const unsigned char uuid[16]) {
  for (int i = 0; i < device_count; i++)
    if (memcmp(devices[i].gpu.uuid_bytes, uuid, 16) == 0) return &devices[i];
  return NULL;
}

int device_ordinal(const struct device *device) {
  for (int i = 0; i < visible_count; i++)
    if (visible[i] == device) return i;
  return -1;
}

struct device *injected_devices(int *count) {
  *count = device_count;
  return devices;
}

// ---------------------------------------------------------------- CUDA_VISIBLE_DEVICES

// A full UUID or an unambiguous beginning of one.
static struct device *device_of_uuid_prefix(const char *text) {
  struct device *found = NULL;
  for (int i = 0; i < device_count; i++) {
    if (strncasecmp(devices[i].gpu.uuid, text, strlen(text)) != 0) continue;
    if (found) return NULL;
    found = &devices[i];
  }
  return found;
}

static struct device *device_of_entry(const char *entry) {
  if (strncasecmp(entry, "GPU-", 4) == 0) return device_of_uuid_prefix(entry);
  char *end;
  long index = strtol(entry, &end, 10);
  bool number = end != entry && *end == '\0';
  return number && index >= 0 && index < device_count ? &devices[index] : NULL;
}

// CUDA C++ Programming Guide, "CUDA Environment Variables": a list of indices or UUID prefixes;
// what follows the first invalid entry does not count. A repeated entry leaves no device at all.
static void select_visible_devices(void) {
  visible_count = 0;
  const char *chosen = getenv("CUDA_VISIBLE_DEVICES");
  if (!chosen) {
    while (visible_count < device_count) {
      visible[visible_count] = &devices[visible_count];
      visible_count++;
    }
    return;
  }
  char *list = strdup(chosen), *rest = list, *entry;
  while (list && (entry = strsep(&rest, ","))) {
    struct device *device = device_of_entry(entry);
    if (!device) break;
    if (device_ordinal(device) >= 0) {
      visible_count = 0;
      break;
    }
    visible[visible_count++] = device;
  }
  free(list);
}

static void mark_forked(void) { forked = true; }

// cuda.h: "Initialize the CUDA driver API"; Flags must be 0.
CUresult CUDAAPI cuInit(unsigned int Flags) {
  if (Flags != 0) return CUDA_ERROR_INVALID_VALUE;
  pthread_mutex_lock(&init_lock);
  if (!ready && !forked) {
    struct gpu gpus[MACHINE_MAX_GPUS];
    device_count = machine_gpus(gpus);
    for (int i = 0; i < device_count; i++)
      devices[i] = (struct device){.gpu = gpus[i], .process_lock = -1};
    select_visible_devices();
    ready = visible_count > 0;
    if (ready) pthread_atfork(NULL, NULL, mark_forked);
  }
  bool usable = ready, child = forked;
  pthread_mutex_unlock(&init_lock);
  if (child) return CUDA_ERROR_NOT_INITIALIZED;  // as on hardware: no CUDA after fork()
  return usable ? CUDA_SUCCESS : CUDA_ERROR_NO_DEVICE;
}

// cuda.h: the version of CUDA that the driver supports, 1000 * major + 10 * minor. Needs no cuInit.
CUresult CUDAAPI cuDriverGetVersion(int *driverVersion) {
  struct driver driver;
  if (!driverVersion) return CUDA_ERROR_INVALID_VALUE;
  *driverVersion = machine_driver(&driver) ? driver.cuda_version : 0;
  return CUDA_SUCCESS;
}

// ---------------------------------------------------------------- cuda.h, "Device Management"

CUresult CUDAAPI cuDeviceGetCount(int *count) {
  REQUIRE_DRIVER();
  if (!count) return CUDA_ERROR_INVALID_VALUE;
  *count = visible_count;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceGet(CUdevice *device, int ordinal) {
  REQUIRE_DEVICE(found, ordinal);
  (void)found;
  if (!device) return CUDA_ERROR_INVALID_VALUE;
  *device = ordinal;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceGetName(char *name, int len, CUdevice dev) {
  REQUIRE_DEVICE(device, dev);
  if (!name || len <= 0) return CUDA_ERROR_INVALID_VALUE;
  snprintf(name, (size_t)len, "%s", device->gpu.name);
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice dev) {
  REQUIRE_DEVICE(device, dev);
  if (!uuid) return CUDA_ERROR_INVALID_VALUE;
  memcpy(uuid->bytes, device->gpu.uuid_bytes, 16);
  return CUDA_SUCCESS;
}

SAME(cuDeviceGetUuid, cuDeviceGetUuid_v2);  // differs for MIG devices only

CUresult CUDAAPI cuDeviceTotalMem_v2(size_t *bytes, CUdevice dev) {
  REQUIRE_DEVICE(device, dev);
  if (!bytes) return CUDA_ERROR_INVALID_VALUE;
  *bytes = device->gpu.memory;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceComputeCapability(int *major, int *minor, CUdevice dev) {
  REQUIRE_DEVICE(device, dev);
  if (!major || !minor) return CUDA_ERROR_INVALID_VALUE;
  *major = device->gpu.capability_major;
  *minor = device->gpu.capability_minor;
  return CUDA_SUCCESS;
}

// cuda.h: "[domain]:[bus]:[device].[function] where … are all hexadecimal values"; the driver
// prints capital digits, unlike /sys.
CUresult CUDAAPI cuDeviceGetPCIBusId(char *pciBusId, int len, CUdevice dev) {
  REQUIRE_DEVICE(device, dev);
  if (!pciBusId || len <= 0) return CUDA_ERROR_INVALID_VALUE;
  const struct gpu *gpu = &device->gpu;
  snprintf(pciBusId, (size_t)len, "%04X:%02X:%02X.0", gpu->pci_domain, gpu->pci_bus,
           gpu->pci_device);
  return CUDA_SUCCESS;
}

// cuda.h: "[domain]:[bus]:[device].[function]", "[domain]:[bus]:[device]" or
// "[bus]:[device].[function]".
CUresult CUDAAPI cuDeviceGetByPCIBusId(CUdevice *dev, const char *pciBusId) {
  REQUIRE_DRIVER();
  if (!dev || !pciBusId) return CUDA_ERROR_INVALID_VALUE;
  unsigned domain = 0, bus, slot;
  if (sscanf(pciBusId, "%x:%x:%x", &domain, &bus, &slot) != 3) {
    domain = 0;
    if (sscanf(pciBusId, "%x:%x.", &bus, &slot) != 2) return CUDA_ERROR_INVALID_VALUE;
  }
  for (int i = 0; i < visible_count; i++) {
    const struct gpu *gpu = &visible[i]->gpu;
    if (gpu->pci_domain != domain || gpu->pci_bus != bus || gpu->pci_device != slot) continue;
    *dev = i;
    return CUDA_SUCCESS;
  }
  return CUDA_ERROR_INVALID_DEVICE;
}

CUresult CUDAAPI cuDeviceCanAccessPeer(int *canAccessPeer, CUdevice dev, CUdevice peerDev) {
  REQUIRE_DEVICE(device, dev);
  struct device *peer = device_of(peerDev);
  if (!peer) return CUDA_ERROR_INVALID_DEVICE;
  if (!canAccessPeer) return CUDA_ERROR_INVALID_VALUE;
  const struct gpu *here = &device->gpu, *there = &peer->gpu;
  *canAccessPeer = machine_peers(here, there) && !machine_faulty_pair(here, there, "denies-a-peer");
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceGetP2PAttribute(int *value, CUdevice_P2PAttribute attrib,
                                         CUdevice srcDevice, CUdevice dstDevice) {
  REQUIRE_DEVICE(device, srcDevice);
  struct device *peer = device_of(dstDevice);
  if (!peer || peer == device) return CUDA_ERROR_INVALID_DEVICE;
  if (!value) return CUDA_ERROR_INVALID_VALUE;
  bool peers = machine_peers(&device->gpu, &peer->gpu);
  switch (attrib) {
    case CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED:
    case CU_DEVICE_P2P_ATTRIBUTE_NATIVE_ATOMIC_SUPPORTED:
      *value = peers;
      return CUDA_SUCCESS;
    case CU_DEVICE_P2P_ATTRIBUTE_PERFORMANCE_RANK:             // 0, the best: all pairs are alike
    case CU_DEVICE_P2P_ATTRIBUTE_CUDA_ARRAY_ACCESS_SUPPORTED:  // arrays are not simulated
      *value = 0;
      return CUDA_SUCCESS;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

// An attribute that is not listed is 0: "the device cannot do it", which is true for what is not
// simulated.
CUresult CUDAAPI cuDeviceGetAttribute(int *pi, CUdevice_attribute attrib, CUdevice dev) {
  REQUIRE_DEVICE(device, dev);
  const struct gpu *gpu = &device->gpu;
  if (!pi || (int)attrib <= 0 || attrib >= CU_DEVICE_ATTRIBUTE_MAX) return CUDA_ERROR_INVALID_VALUE;
  // Measured: supported whether or not the process has an IMEX channel.
  bool fabric = strcmp(gpu->link, "nvlink") == 0;
  const struct {
    CUdevice_attribute attribute;
    int value;
  } attributes[] = {
      {CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, gpu->multiprocessors},
      {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, gpu->capability_major},
      {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, gpu->capability_minor},
      {CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID, (int)gpu->pci_domain},
      {CU_DEVICE_ATTRIBUTE_PCI_BUS_ID, (int)gpu->pci_bus},
      {CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID, (int)gpu->pci_device},
      {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, 1024},
      {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X, 1024},
      {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y, 1024},
      {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z, 64},
      {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X, 0x7fffffff},
      {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y, 65535},
      {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z, 65535},
      {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK, 49152},
      {CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY, 65536},
      {CU_DEVICE_ATTRIBUTE_WARP_SIZE, 32},
      {CU_DEVICE_ATTRIBUTE_MAX_PITCH, 0x7fffffff},
      {CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK, 65536},
      {CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT, 512},
      {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR, 2048},
      {CU_DEVICE_ATTRIBUTE_COMPUTE_MODE, CU_COMPUTEMODE_DEFAULT},
      {CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING, 1},
      {CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY, 1},
      {CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY, 1},
      {CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS, 1},
      {CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, 1},
      {CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED, 1},
      {CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_FABRIC_SUPPORTED, fabric},
      {CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED, 1},
      {CU_DEVICE_ATTRIBUTE_MEMPOOL_SUPPORTED_HANDLE_TYPES,
       CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR | (fabric ? CU_MEM_HANDLE_TYPE_FABRIC : 0)},
  };
  *pi = 0;
  for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++)
    if (attributes[i].attribute == attrib) *pi = attributes[i].value;
  return CUDA_SUCCESS;
}
