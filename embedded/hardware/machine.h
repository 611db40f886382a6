// What the machine has: the GPUs of this container, the driver's version and the memory in use.
// Shared by libcuda and libnvidia-ml, so that both always tell the same.
//
// A machine is a directory (by default /run/simulated-gpus, written by machine.py):
//   driver              driver_version=580.159.04, cuda_version=13000
//   gpu<minor>/info     key=value lines, see `struct gpu`
//   gpu<minor>/lock     taken (flock) while allocations are counted, made or removed
//   gpu<minor>/process-<key>     one per process with memory on this GPU; holds an open file
//                                description lock as long as that process lives
//   gpu<minor>/mem-<key><number> one allocation of process <key>, or, of no bytes, an event that it
//                                exported
//   gpu<minor>/left-<key><number> what an allocation left, on a GPU with the fault keeps-memory
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MACHINE_MAX_GPUS 64

struct gpu {
  int minor;            // N of /dev/nvidiaN
  char directory[256];  // .../gpu<minor>
  char name[96];        // "NVIDIA H100 80GB HBM3"
  char uuid[48];        // "GPU-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"
  unsigned char uuid_bytes[16];
  unsigned pci_domain, pci_bus, pci_device;
  unsigned pci_device_id;     // device << 16 | vendor
  unsigned pci_subsystem_id;  // the same of the board
  uint64_t memory;            // bytes
  int multiprocessors;
  int capability_major, capability_minor;  // compute capability
  char peer_group[64];  // GPUs of one group access each other's memory; empty: none does
  char link[16];        // "nvlink" or "pcie"
  int pcie_root;        // which of the machine's PCIe roots it is at
  int numa_node;        // at which CPU that is
  char architecture[32];
  char brand[32];
  char addressing_mode[8];  // "HMM", "ATS", "None"; empty: the platform has none
  char fault[128];          // what is wrong with it: words of docs/simulated-hardware.md
};

struct driver {
  char version[32];  // "580.159.04"
  int cuda_version;  // 13000
};

// The GPUs whose /dev/nvidia<minor> this process may open, by minor. Returns their number.
int machine_gpus(struct gpu gpus[MACHINE_MAX_GPUS]);

// The driver's versions; false where no simulated machine is mounted.
bool machine_driver(struct driver *driver);

// Whether /dev/<node> is a character device that the device cgroup lets this process open.
bool machine_device_opens(const char *node);

// Whether the GPU has this fault, maybe among others.
bool machine_fault(const struct gpu *gpu, const char *fault);

// The smallest number of an IMEX channel that this process may open, -1 where there is none.
int machine_channel(void);

// Bytes that live processes have allocated on the GPU; allocations of dead ones are removed.
// -1: the machine's directory is not usable (errno says why).
int64_t machine_used_memory(const struct gpu *gpu);

// Whether the two are the machine's first two GPUs, and have this fault, which is of those alone.
bool machine_faulty_pair(const struct gpu *one, const struct gpu *other, const char *fault);

// Whether the two GPUs can access each other's memory. No GPU is its own peer.
bool machine_peers(const struct gpu *one, const struct gpu *other);

// --- allocations (libcuda only) ---

// Names an allocation on its GPU: the process that made it and a number of that process.
struct allocation_id {
  uint64_t process;
  uint64_t number;
};

enum allocation_state {
  ALLOCATION_LIVE,
  ALLOCATION_FREED,       // its process lives, the allocation is gone
  ALLOCATION_OWNER_GONE,  // its process exited or was killed
  ALLOCATION_NO_ROOM,     // it would exceed the GPU's memory
  ALLOCATION_FAILED,      // the machine's directory is not usable (errno says why)
};

// Make an allocation of this process and open its file. The GPU's memory is the limit, over all
// processes. `*process_lock` (-1 before the first call for this GPU) receives the descriptor that
// tells others that this process lives; it must stay open.
enum allocation_state allocation_create(const struct gpu *gpu, struct allocation_id id, size_t size,
                                        int *process_lock, int *file);

// Open an allocation of another process and tell its size.
enum allocation_state allocation_open(const struct gpu *gpu, struct allocation_id id, size_t *size,
                                      int *file);

// What the file of an allocation (also of one that is gone) tells of itself. False: it is no such
// file.
bool allocation_of_file(int file, int *minor, struct allocation_id *id, size_t *size);

// Free an allocation of this process.
void allocation_remove(const struct gpu *gpu, struct allocation_id id);

// This process ends: to others it must look gone before its allocations do.
void allocation_process_ends(const struct gpu *gpu, uint64_t process);
