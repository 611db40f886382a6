// The simulated libnvidia-ml.so.1 (nvml.h 12.9): what the NVIDIA DRA driver, nvidia-smi and
// nvidia-ml-py ask for. All other functions of nvml.h exist and return NVML_ERROR_NOT_SUPPORTED.
//
// Like the real one it shows the GPUs whose device node this container may open, whatever
// CUDA_VISIBLE_DEVICES says.
#define _GNU_SOURCE
#pragma GCC visibility push(default)
#include <nvml.h>
#pragma GCC visibility pop

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "exports.h"
#include "machine.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int initialised;  // nvmlInit calls without their nvmlShutdown
static struct driver driver;
static struct gpu gpus[MACHINE_MAX_GPUS];
static unsigned count;

#define REQUIRE_INIT() \
  if (!initialised) return NVML_ERROR_UNINITIALIZED

// A handle is the address of a GPU in our table.
static const struct gpu *gpu_of(nvmlDevice_t handle) {
  const struct gpu *gpu = (const struct gpu *)(void *)handle;
  for (unsigned i = 0; i < count; i++)
    if (gpu == &gpus[i]) return gpu;
  return NULL;
}
#define REQUIRE_GPU(name, handle, output)  \
  REQUIRE_INIT();                          \
  const struct gpu *name = gpu_of(handle); \
  if (!name || !(output)) return NVML_ERROR_INVALID_ARGUMENT

// A query of a GPU that stores one value.
#define QUERY(name, type, value)                              \
  nvmlReturn_t DECLDIR name(nvmlDevice_t device, type *out) { \
    REQUIRE_GPU(gpu, device, out);                            \
    *out = value;                                             \
    return NVML_SUCCESS;                                      \
  }

static nvmlReturn_t give_handle(unsigned index, nvmlDevice_t *device) {
  *device = (nvmlDevice_t)(void *)&gpus[index];
  return NVML_SUCCESS;
}

static nvmlReturn_t give_text(const char *text, char *buffer, unsigned length) {
  if (!buffer) return NVML_ERROR_INVALID_ARGUMENT;
  if (strlen(text) >= length) return NVML_ERROR_INSUFFICIENT_SIZE;
  strcpy(buffer, text);
  return NVML_SUCCESS;
}

// Of a versioned structure's `version` (NVML_STRUCT_VERSION) the low 24 bits are its size.
static bool fits(unsigned version, size_t size) { return (version & 0xffffff) == size; }

// ---------------------------------------------------------------- Initialization and Cleanup

// NVML_ERROR_DRIVER_NOT_LOADED: no driver, or a container that has none of its device nodes. A
// driver without any GPU is a success with a count of 0.
nvmlReturn_t DECLDIR nvmlInitWithFlags(unsigned int flags) {
  (void)flags;
  nvmlReturn_t result = NVML_SUCCESS;
  pthread_mutex_lock(&lock);
  if (!initialised) {
    bool loaded = machine_driver(&driver);
    count = loaded ? (unsigned)machine_gpus(gpus) : 0;
    if (!loaded || (!count && !machine_device_opens("nvidiactl")))
      result = NVML_ERROR_DRIVER_NOT_LOADED;
  }
  if (result == NVML_SUCCESS) initialised++;
  pthread_mutex_unlock(&lock);
  return result;
}

nvmlReturn_t DECLDIR nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

SAME(nvmlInit, nvmlInit_v2);

nvmlReturn_t DECLDIR nvmlShutdown(void) {
  pthread_mutex_lock(&lock);
  bool was = initialised > 0;
  if (was) initialised--;
  pthread_mutex_unlock(&lock);
  return was ? NVML_SUCCESS : NVML_ERROR_UNINITIALIZED;
}

const DECLDIR char *nvmlErrorString(nvmlReturn_t result) {
  static const struct {
    nvmlReturn_t code;
    const char *text;
  } texts[] = {
      {NVML_SUCCESS, "Success"},
      {NVML_ERROR_UNINITIALIZED, "Uninitialized"},
      {NVML_ERROR_INVALID_ARGUMENT, "Invalid Argument"},
      {NVML_ERROR_NOT_SUPPORTED, "Not Supported"},
      {NVML_ERROR_NO_PERMISSION, "Insufficient Permissions"},
      {NVML_ERROR_NOT_FOUND, "Not Found"},
      {NVML_ERROR_INSUFFICIENT_SIZE, "Insufficient Size"},
      {NVML_ERROR_DRIVER_NOT_LOADED, "Driver Not Loaded"},
      {NVML_ERROR_TIMEOUT, "Timeout"},
      {NVML_ERROR_ARGUMENT_VERSION_MISMATCH, "Argument Version Mismatch"},
  };
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    if (texts[i].code == result) return texts[i].text;
  return "Unknown Error";
}

// ---------------------------------------------------------------- System Queries

nvmlReturn_t DECLDIR nvmlSystemGetDriverVersion(char *version, unsigned int length) {
  REQUIRE_INIT();
  return give_text(driver.version, version, length);
}

// "<NVML API version>.<driver version>"
nvmlReturn_t DECLDIR nvmlSystemGetNVMLVersion(char *version, unsigned int length) {
  REQUIRE_INIT();
  char text[48];
  snprintf(text, sizeof text, "%d.%s", driver.cuda_version / 1000, driver.version);
  return give_text(text, version, length);
}

// nvml.h: needs no initialisation.
nvmlReturn_t DECLDIR nvmlSystemGetCudaDriverVersion_v2(int *cudaDriverVersion) {
  struct driver now;
  if (!cudaDriverVersion) return NVML_ERROR_INVALID_ARGUMENT;
  if (!machine_driver(&now)) return NVML_ERROR_LIBRARY_NOT_FOUND;
  *cudaDriverVersion = now.cuda_version;
  return NVML_SUCCESS;
}

// What go-nvml calls.
SAME(nvmlSystemGetCudaDriverVersion, nvmlSystemGetCudaDriverVersion_v2);

// ---------------------------------------------------------------- Device Queries: handles

nvmlReturn_t DECLDIR nvmlDeviceGetCount_v2(unsigned int *deviceCount) {
  REQUIRE_INIT();
  if (!deviceCount) return NVML_ERROR_INVALID_ARGUMENT;
  *deviceCount = count;
  return NVML_SUCCESS;
}

SAME(nvmlDeviceGetCount, nvmlDeviceGetCount_v2);

nvmlReturn_t DECLDIR nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device) {
  REQUIRE_INIT();
  if (!device || index >= count) return NVML_ERROR_INVALID_ARGUMENT;
  return give_handle(index, device);
}

SAME(nvmlDeviceGetHandleByIndex, nvmlDeviceGetHandleByIndex_v2);

nvmlReturn_t DECLDIR nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device) {
  REQUIRE_INIT();
  if (!uuid || !device) return NVML_ERROR_INVALID_ARGUMENT;
  for (unsigned i = 0; i < count; i++)
    if (strcasecmp(gpus[i].uuid, uuid) == 0) return give_handle(i, device);
  return NVML_ERROR_NOT_FOUND;
}

// nvml.h: "domain:bus:device.function", also with a domain of four digits or none.
nvmlReturn_t DECLDIR nvmlDeviceGetHandleByPciBusId_v2(const char *pciBusId, nvmlDevice_t *device) {
  REQUIRE_INIT();
  if (!pciBusId || !device) return NVML_ERROR_INVALID_ARGUMENT;
  unsigned domain = 0, bus, slot;
  if (sscanf(pciBusId, "%x:%x:%x", &domain, &bus, &slot) != 3) {
    domain = 0;
    if (sscanf(pciBusId, "%x:%x", &bus, &slot) != 2) return NVML_ERROR_INVALID_ARGUMENT;
  }
  for (unsigned i = 0; i < count; i++)
    if (gpus[i].pci_domain == domain && gpus[i].pci_bus == bus && gpus[i].pci_device == slot)
      return give_handle(i, device);
  return NVML_ERROR_NOT_FOUND;
}

SAME(nvmlDeviceGetHandleByPciBusId, nvmlDeviceGetHandleByPciBusId_v2);

// ---------------------------------------------------------------- Device Queries: identity

nvmlReturn_t DECLDIR nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned int length) {
  REQUIRE_GPU(gpu, device, name);
  return give_text(gpu->name, name, length);
}

nvmlReturn_t DECLDIR nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned int length) {
  REQUIRE_GPU(gpu, device, uuid);
  return give_text(gpu->uuid, uuid, length);
}

QUERY(nvmlDeviceGetIndex, unsigned, (unsigned)(gpu - gpus))
QUERY(nvmlDeviceGetMinorNumber, unsigned, (unsigned)gpu->minor)

nvmlReturn_t DECLDIR nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *pci) {
  REQUIRE_GPU(gpu, device, pci);
  memset(pci, 0, sizeof *pci);
  pci->domain = gpu->pci_domain;
  pci->bus = gpu->pci_bus;
  pci->device = gpu->pci_device;
  pci->pciDeviceId = gpu->pci_device_id;
  pci->pciSubSystemId = gpu->pci_subsystem_id;
  snprintf(pci->busIdLegacy, sizeof pci->busIdLegacy, NVML_DEVICE_PCI_BUS_ID_LEGACY_FMT,
           pci->domain & 0xffff, pci->bus & 0xff, pci->device & 0xff);
  snprintf(pci->busId, sizeof pci->busId, NVML_DEVICE_PCI_BUS_ID_FMT, pci->domain, pci->bus & 0xff,
           pci->device & 0xff);
  return NVML_SUCCESS;
}

nvmlReturn_t DECLDIR nvmlDeviceGetBrand(nvmlDevice_t device, nvmlBrandType_t *type) {
  REQUIRE_GPU(gpu, device, type);
  *type = strcmp(gpu->brand, "Nvidia") == 0    ? NVML_BRAND_NVIDIA
          : strcmp(gpu->brand, "GeForce") == 0 ? NVML_BRAND_GEFORCE
          : strcmp(gpu->brand, "Tesla") == 0   ? NVML_BRAND_TESLA
                                               : NVML_BRAND_UNKNOWN;
  return NVML_SUCCESS;
}

nvmlReturn_t DECLDIR nvmlDeviceGetArchitecture(nvmlDevice_t device,
                                               nvmlDeviceArchitecture_t *arch) {
  REQUIRE_GPU(gpu, device, arch);
  static const struct {
    const char *name;
    nvmlDeviceArchitecture_t value;
  } architectures[] = {
      {"Turing", NVML_DEVICE_ARCH_TURING},       {"Ampere", NVML_DEVICE_ARCH_AMPERE},
      {"Ada Lovelace", NVML_DEVICE_ARCH_ADA},    {"Hopper", NVML_DEVICE_ARCH_HOPPER},
      {"Blackwell", NVML_DEVICE_ARCH_BLACKWELL},
  };
  *arch = NVML_DEVICE_ARCH_UNKNOWN;
  for (size_t i = 0; i < sizeof architectures / sizeof *architectures; i++)
    if (strcmp(architectures[i].name, gpu->architecture) == 0) *arch = architectures[i].value;
  return NVML_SUCCESS;
}

nvmlReturn_t DECLDIR nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int *major,
                                                        int *minor) {
  REQUIRE_GPU(gpu, device, major && minor);
  *major = gpu->capability_major;
  *minor = gpu->capability_minor;
  return NVML_SUCCESS;
}

// Newer than nvml.h 12.9: from the nvml.h that comes with go-nvml 0.13.4.
typedef struct {
  unsigned version;
  unsigned value;  // 0 none, 1 HMM, 2 ATS
} addressing_mode;

EXPORT nvmlReturn_t DECLDIR nvmlDeviceGetAddressingMode(nvmlDevice_t device,
                                                        addressing_mode *mode) {
  REQUIRE_GPU(gpu, device, mode);
  if (!fits(mode->version, sizeof *mode)) return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
  if (!gpu->addressing_mode[0]) return NVML_ERROR_NOT_SUPPORTED;
  mode->value = strcmp(gpu->addressing_mode, "HMM") == 0   ? 1
                : strcmp(gpu->addressing_mode, "ATS") == 0 ? 2
                                                           : 0;
  return NVML_SUCCESS;
}

// ---------------------------------------------------------------- Device Queries: state

nvmlReturn_t DECLDIR nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory) {
  REQUIRE_GPU(gpu, device, memory);
  int64_t used = machine_used_memory(gpu);
  if (used < 0) return NVML_ERROR_UNKNOWN;
  memory->total = gpu->memory;
  memory->used = (unsigned long long)used;
  memory->free = memory->total > memory->used ? memory->total - memory->used : 0;
  return NVML_SUCCESS;
}

nvmlReturn_t DECLDIR nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *memory) {
  REQUIRE_GPU(gpu, device, memory);
  if (!fits(memory->version, sizeof *memory)) return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
  nvmlMemory_t plain;
  nvmlReturn_t result = nvmlDeviceGetMemoryInfo(device, &plain);
  if (result != NVML_SUCCESS) return result;
  memory->total = plain.total;
  memory->used = plain.used;
  memory->free = plain.free;
  memory->reserved = 0;
  return NVML_SUCCESS;
}

QUERY(nvmlDeviceGetPersistenceMode, nvmlEnableState_t, NVML_FEATURE_ENABLED)

// ---------------------------------------------------------------- Multi Instance GPU: none

// Hopper can be partitioned and is not; the other simulated products cannot.
nvmlReturn_t DECLDIR nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned int *currentMode,
                                          unsigned int *pendingMode) {
  REQUIRE_GPU(gpu, device, currentMode && pendingMode);
  if (strcmp(gpu->architecture, "Hopper") != 0) return NVML_ERROR_NOT_SUPPORTED;
  *currentMode = *pendingMode = NVML_DEVICE_MIG_DISABLE;
  return NVML_SUCCESS;
}

QUERY(nvmlDeviceIsMigDeviceHandle, unsigned, 0)
QUERY(nvmlDeviceGetMaxMigDeviceCount, unsigned, 0)

// ---------------------------------------------------------------- links between GPUs

nvmlReturn_t DECLDIR nvmlDeviceGetP2PStatus(nvmlDevice_t device1, nvmlDevice_t device2,
                                            nvmlGpuP2PCapsIndex_t p2pIndex,
                                            nvmlGpuP2PStatus_t *p2pStatus) {
  REQUIRE_GPU(one, device1, p2pStatus);
  const struct gpu *other = gpu_of(device2);
  if (!other) return NVML_ERROR_INVALID_ARGUMENT;
  bool nvlink = strcmp(one->link, "nvlink") == 0;
  bool able = machine_peers(one, other) && (p2pIndex != NVML_P2P_CAPS_INDEX_NVLINK || nvlink);
  *p2pStatus = able ? NVML_P2P_STATUS_OK : NVML_P2P_STATUS_NOT_SUPPORTED;
  return NVML_SUCCESS;
}

// Where two GPUs meet, by what /sys says of their PCIe roots and CPUs (machine.py).
nvmlReturn_t DECLDIR nvmlDeviceGetTopologyCommonAncestor(nvmlDevice_t device1, nvmlDevice_t device2,
                                                         nvmlGpuTopologyLevel_t *pathInfo) {
  REQUIRE_GPU(one, device1, pathInfo);
  const struct gpu *other = gpu_of(device2);
  if (!other) return NVML_ERROR_INVALID_ARGUMENT;
  *pathInfo = one == other                         ? NVML_TOPOLOGY_INTERNAL
              : one->pcie_root == other->pcie_root ? NVML_TOPOLOGY_HOSTBRIDGE
              : one->numa_node == other->numa_node ? NVML_TOPOLOGY_NODE
                                                   : NVML_TOPOLOGY_SYSTEM;
  return NVML_SUCCESS;
}

// As on an HGX board of H100: each GPU has all of its links to switches, which join every two.
#define NVLINKS 18

nvmlReturn_t DECLDIR nvmlDeviceGetNvLinkState(nvmlDevice_t device, unsigned int link,
                                              nvmlEnableState_t *isActive) {
  REQUIRE_GPU(gpu, device, isActive);
  if (strcmp(gpu->link, "nvlink") != 0) return NVML_ERROR_NOT_SUPPORTED;
  if (link >= NVLINKS) return NVML_ERROR_INVALID_ARGUMENT;
  *isActive = NVML_FEATURE_ENABLED;
  return NVML_SUCCESS;
}

nvmlReturn_t DECLDIR nvmlDeviceGetNvLinkRemoteDeviceType(nvmlDevice_t device, unsigned int link,
                                                         nvmlIntNvLinkDeviceType_t *type) {
  nvmlEnableState_t active;
  nvmlReturn_t result = nvmlDeviceGetNvLinkState(device, link, &active);
  if (result != NVML_SUCCESS) return result;
  if (!type) return NVML_ERROR_INVALID_ARGUMENT;
  *type = NVML_NVLINK_DEVICE_TYPE_SWITCH;
  return NVML_SUCCESS;
}

// ---------------------------------------------------------------- Event Handling: none ever comes

struct nvmlEventSet_st {
  int unused;
};

nvmlReturn_t DECLDIR nvmlEventSetCreate(nvmlEventSet_t *set) {
  REQUIRE_INIT();
  if (!set) return NVML_ERROR_INVALID_ARGUMENT;
  *set = calloc(1, sizeof **set);
  return *set ? NVML_SUCCESS : NVML_ERROR_MEMORY;
}

nvmlReturn_t DECLDIR nvmlEventSetFree(nvmlEventSet_t set) {
  REQUIRE_INIT();
  free(set);
  return NVML_SUCCESS;
}

QUERY(nvmlDeviceGetSupportedEventTypes, unsigned long long,
      nvmlEventTypeXidCriticalError | nvmlEventTypeDoubleBitEccError |
          nvmlEventTypeSingleBitEccError)

nvmlReturn_t DECLDIR nvmlDeviceRegisterEvents(nvmlDevice_t device, unsigned long long eventTypes,
                                              nvmlEventSet_t set) {
  REQUIRE_GPU(gpu, device, set);
  (void)eventTypes;
  return NVML_SUCCESS;
}

nvmlReturn_t DECLDIR nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *data,
                                         unsigned int timeoutms) {
  REQUIRE_INIT();
  if (!set || !data) return NVML_ERROR_INVALID_ARGUMENT;
  struct timespec timeout = {timeoutms / 1000, (long)(timeoutms % 1000) * 1000000};
  nanosleep(&timeout, NULL);
  return NVML_ERROR_TIMEOUT;
}
