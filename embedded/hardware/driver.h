// What the parts of the simulated libcuda share. Nothing here is seen from outside.
//
// The parts stand here in the order of their calls: each calls only those above it. Files that are
// not listed (allocate.c, copies.c, ipc.c, …) define only what cuda.h declares.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Only what cuda.h declares is exported; the build hides the rest.
#pragma GCC visibility push(default)
#define CUDA_ENABLE_DEPRECATED
#include <cuda.h>
#pragma GCC visibility pop

#include "exports.h"
#include "machine.h"

// ---------------------------------------------------------------- devices.c

struct device {
  struct gpu gpu;
  int process_lock;  // see allocation_create(); -1: this process has no memory on it yet
};

// Success once cuInit succeeded in this very process, else CUDA_ERROR_NOT_INITIALIZED.
CUresult driver_ready(void);
#define REQUIRE_DRIVER()                               \
  do {                                                 \
    CUresult not_ready_ = driver_ready();              \
    if (not_ready_ != CUDA_SUCCESS) return not_ready_; \
  } while (0)

// The device of an ordinal (after CUDA_VISIBLE_DEVICES), or NULL.
struct device *device_of(CUdevice ordinal);
#define REQUIRE_DEVICE(name, ordinal)       \
  REQUIRE_DRIVER();                         \
  struct device *name = device_of(ordinal); \
  if (!name) return CUDA_ERROR_INVALID_DEVICE

// The device with this UUID if it is injected, visible or not, or NULL.
struct device *device_by_uuid(const unsigned char uuid[16]);
// The ordinal of a device, -1 where CUDA_VISIBLE_DEVICES hides it.
int device_ordinal(const struct device *device);
// All injected devices, visible or not.
struct device *injected_devices(int *count);

// ---------------------------------------------------------------- memory.c

enum memory_kind {
  MEMORY_DEVICE,      // cuMemAlloc
  MEMORY_MANAGED,     // cuMemAllocManaged
  MEMORY_HOST,        // cuMemHostAlloc
  MEMORY_REGISTERED,  // cuMemHostRegister
  MEMORY_IMPORTED,    // cuIpcOpenMemHandle
  MEMORY_VIRTUAL,     // cuMemMap
  MEMORY_POOLED,      // cuMemAllocFromPoolAsync
  MEMORY_BORROWED,    // cuMemPoolImportPointer
};

// A range of addresses that the driver knows.
struct memory {
  enum memory_kind kind;
  char *base;
  size_t size;
  struct context *context;  // the one it was made or opened in; NULL: it needs none
  struct device *device;    // whose memory it is; NULL for host memory
  struct allocation_id id;  // of MEMORY_DEVICE, _IMPORTED, _POOLED and _BORROWED
  int references;           // opens of MEMORY_IMPORTED
  struct object *owner;     // what MEMORY_VIRTUAL shows; the pool of _POOLED and _BORROWED
  bool denied;              // MEMORY_VIRTUAL without access
};

// Guards the table of memory. Recursive.
void memory_lock(void);
void memory_unlock(void);
// The known range that holds the address, or NULL.
struct memory *memory_at(CUdeviceptr address);
// The same, or the next one behind the address.
struct memory *memory_from(CUdeviceptr address);
// The range that some context of device `importer` has opened of this allocation on `device`.
struct memory *memory_imported(struct allocation_id id, const struct device *device,
                               const struct device *importer);
// Enter a range that is mapped already into the table. NULL: no memory.
struct memory *memory_enter(struct memory what);
// Map an allocation's file, or new memory of the process's own (-1), and enter it into the table.
// Closes the file. NULL: no address space.
struct memory *memory_map(struct memory what, int file);
// Unmap a range and forget it; an own allocation is freed.
void memory_drop(struct memory *memory);
// Drop what was made or opened in a context that is being destroyed.
void memory_drop_all_of(const struct context *context);
// A new name for an allocation or an exported event of this process.
struct allocation_id memory_new_id(void);

// ---------------------------------------------------------------- contexts.c

struct context {
  struct context *next;
  struct device *device;
  int references;  // of cuCtxAttach, or of cuDevicePrimaryCtxRetain
  bool primary;
  bool destroyed;
  CUresult sticky;  // a fault of a kernel: every later call in the context returns it
  uint64_t peers;   // bit <minor>: peer access enabled
  size_t limits[CU_LIMIT_MAX];
};

// The calling thread's current context, if it can be used.
CUresult context_current(struct context **context);
#define REQUIRE_CONTEXT(name)                            \
  struct context *name;                                  \
  do {                                                   \
    CUresult no_context_ = context_current(&name);       \
    if (no_context_ != CUDA_SUCCESS) return no_context_; \
  } while (0)

// ---------------------------------------------------------------- objects.c

// Streams, events, modules, functions, physical memory and pools start with this, so that a handle of the caller's can be
// told from garbage without touching what it points to.
struct object {
  struct object *next;
  enum object_kind {
    OBJECT_STREAM,
    OBJECT_EVENT,
    OBJECT_MODULE,
    OBJECT_FUNCTION,
    OBJECT_PHYSICAL,
    OBJECT_POOL,
  } kind;
};

// A zeroed object of this kind and size (which includes the header); NULL: no memory.
void *object_create(enum object_kind kind, size_t size);
// Whether the handle is a live object of this kind.
bool object_is(enum object_kind kind, const void *handle);
// Free it. False: it was none of this kind.
bool object_destroy(enum object_kind kind, void *handle);

// ---------------------------------------------------------------- streams.c

struct event {
  struct object object;
  unsigned flags;
  double recorded;          // ms; 0: never
  struct device *device;    // of the context that it was made in
  struct allocation_id id;  // once it is exported; number 0: it is not
};

// A live event with these flags on the current context's device, or NULL.
struct event *event_make(struct device *device, unsigned flags);
// The event behind a caller's handle, or NULL.
struct event *event_of(CUevent handle);
// Let it be recorded now.
void event_record(struct event *event);

// A stream that the caller may name: its own or one of the default streams' special handles.
bool stream_valid(CUstream stream);

// ---------------------------------------------------------------- shareable.c

// What is shared with other processes: an allocation and its open file.
struct shared {
  struct device *device;
  struct allocation_id id;
  size_t size;
  int file;
};

// What a caller is told of an allocation that it cannot make or open.
CUresult shareable_refusal(enum allocation_state state);
// Whether a GPU can use what lies on the device.
bool shareable_reaches(const struct device *importer, const struct device *device);
// Success if this process may share memory of the device by handles of these types.
CUresult shareable_types(unsigned types, const struct device *device);
// Success if the GPUs may have the access to memory of the device that is wanted for them.
CUresult shareable_access(const struct device *device, const CUmemAccessDesc *wanted, size_t count);
// Write a handle of this type: a descriptor, or the bytes of a fabric handle.
CUresult shareable_export(void *handle, CUmemAllocationHandleType type, const struct shared *what);
// Open what such a handle is of; the file is the caller's to close.
CUresult shareable_import(const void *handle, CUmemAllocationHandleType type, struct shared *what);
// Do to memory that was mapped from another process's file what the device's fault does.
void shareable_spoil(const struct device *device, void *base, size_t size, int protection,
                     int file);
