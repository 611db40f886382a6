// The ranges of addresses that the driver knows, and their mappings.
//
// An allocation is a file in the GPU's directory, mapped shared; its address in this process is the
// device pointer. Behind each mapping lies a page without access, so that a kernel that runs over
// the end faults as on a GPU.
#define _GNU_SOURCE
#include "driver.h"

#include <pthread.h>
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

static struct allocation_id last_id;  // process: the key by which files name this process

struct allocation_id memory_new_id(void) {
  memory_lock();
  while (!last_id.process)
    if (getrandom(&last_id.process, sizeof last_id.process, 0) != sizeof last_id.process)
      last_id.process = 0;
  last_id.number++;
  struct allocation_id id = last_id;
  memory_unlock();
  return id;
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

struct memory *memory_from(CUdeviceptr address) {
  memory_lock();
  size_t index = position((const char *)address);
  struct memory *memory = index < table_used ? table[index] : NULL;
  memory_unlock();
  return memory;
}

struct memory *memory_at(CUdeviceptr address) {
  memory_lock();
  struct memory *memory = memory_from(address);
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

struct memory *memory_enter(struct memory what) {
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
  char *base =
      mmap(NULL, pages(size) + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return base == MAP_FAILED ? NULL : base;
}

static struct memory *map(struct memory what, int file) {
  what.base = reserve(what.size);
  if (!what.base) return NULL;
  int flags = MAP_FIXED | (file < 0 ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE : MAP_SHARED);
  struct memory *memory = NULL;
  if (mmap(what.base, pages(what.size), PROT_READ | PROT_WRITE, flags, file, 0) != MAP_FAILED)
    memory = memory_enter(what);
  if (!memory) munmap(what.base, pages(what.size) + PAGE);
  return memory;
}

struct memory *memory_map(struct memory what, int file) {
  memory_lock();
  struct memory *memory = map(what, file);
  memory_unlock();
  if (file >= 0) close(file);  // the mapping keeps the memory, even after its process ended
  return memory;
}

void memory_drop(struct memory *memory) {
  memory_lock();
  bool own = memory->kind == MEMORY_DEVICE || memory->kind == MEMORY_POOLED;
  if (memory->kind == MEMORY_VIRTUAL)  // its addresses stay reserved
    mmap(memory->base, memory->size, PROT_NONE,
         MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  else if (memory->kind != MEMORY_REGISTERED)
    munmap(memory->base, pages(memory->size) + PAGE);
  if (own) allocation_remove(&memory->device->gpu, memory->id);
  leave(memory);
  memory_unlock();
}

void memory_drop_all_of(const struct context *context) {
  memory_lock();
  for (size_t i = table_used; i-- > 0;)
    if (table[i]->context == context) memory_drop(table[i]);
  memory_unlock();
}

// When the process exits by itself, others must find its memory gone at once. One that was killed
// drops its locks; who looks at the GPU next removes what it left.
__attribute__((destructor)) static void process_ends(void) {
  if (driver_ready() != CUDA_SUCCESS) return;
  int count;
  const struct device *devices = injected_devices(&count);
  for (int i = 0; i < count; i++) {
    if (devices[i].process_lock < 0) continue;
    allocation_process_ends(&devices[i].gpu, last_id.process);
    (void)machine_used_memory(&devices[i].gpu);
  }
}
