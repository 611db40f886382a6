// See machine.h.
#define _GNU_SOURCE
#include "machine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define PAGE 4096ull
#define MAX_CHANNELS 8  // a ComputeDomain gives its pods one, channel 0 by default

static const char *root_directory(void) {
  const char *chosen = getenv("SIMULATED_GPUS_ROOT");
  return chosen && *chosen ? chosen : "/run/simulated-gpus";
}

static const char *device_directory(void) {
  const char *chosen = getenv("SIMULATED_GPUS_DEV");
  return chosen && *chosen ? chosen : "/dev";
}

// ---------------------------------------------------------------- key=value files

// The text of a small file. False: it could not be opened.
static bool read_text(const char *path, char *text, size_t size) {
  FILE *file = fopen(path, "re");
  if (!file) return false;
  text[fread(text, 1, size - 1, file)] = '\0';
  fclose(file);
  return true;
}

// Read the value of a key, in the words of scanf(3); without the key nothing is stored.
__attribute__((format(scanf, 3, 4))) static void read_value(const char *text, const char *key,
                                                            const char *format, ...) {
  size_t length = strlen(key);
  for (const char *line = text; line; line = strchr(line, '\n')) {
    if (*line == '\n') line++;
    if (strncmp(line, key, length) != 0 || line[length] != '=') continue;
    va_list into;
    va_start(into, format);
    vsscanf(line + length + 1, format, into);
    va_end(into);
  }
}

bool machine_driver(struct driver *driver) {
  char path[512], text[512];
  memset(driver, 0, sizeof *driver);
  snprintf(path, sizeof path, "%s/driver", root_directory());
  if (!read_text(path, text, sizeof text)) return false;
  read_value(text, "driver_version", "%31[^\n]", driver->version);
  read_value(text, "cuda_version", "%d", &driver->cuda_version);
  return true;
}

// ---------------------------------------------------------------- which GPUs there are

// "GPU-" and 32 hexadecimal digits with dashes between them, to 16 bytes.
static bool parse_uuid(const char *text, unsigned char bytes[16]) {
  if (strncmp(text, "GPU-", 4) != 0) return false;
  int digits = 0;
  for (text += 4; *text; text++) {
    unsigned digit;
    if (*text == '-') continue;
    if (digits == 32 || sscanf(text, "%1x", &digit) != 1) return false;
    bytes[digits / 2] = (unsigned char)(bytes[digits / 2] << 4 | digit);
    digits++;
  }
  return digits == 32;
}

// The kernel driver behind real nodes answers open(); no driver is behind simulated ones, so that
// an open that the device cgroup and the file mode permit ends with ENXIO.
bool machine_device_opens(const char *node) {
  char path[512];
  snprintf(path, sizeof path, "%s/%s", device_directory(), node);
  int file = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (file < 0) return errno == ENXIO || errno == ENODEV;
  struct stat status;
  bool character = fstat(file, &status) == 0 && S_ISCHR(status.st_mode);
  close(file);
  return character;
}

// A GPU is injected into this container if its device node is here, is the node of this minor
// number, and may be opened.
static bool injected(const struct gpu *gpu) {
  char node[32], path[512];
  snprintf(node, sizeof node, "nvidia%d", gpu->minor);
  snprintf(path, sizeof path, "%s/%s", device_directory(), node);
  struct stat status;
  if (stat(path, &status) != 0 || !S_ISCHR(status.st_mode)) return false;
  return (int)minor(status.st_rdev) == gpu->minor && machine_device_opens(node);
}

static bool read_gpu(const char *entry, struct gpu *gpu) {
  char path[512], text[2048];
  memset(gpu, 0, sizeof *gpu);
  gpu->minor = -1;
  snprintf(gpu->directory, sizeof gpu->directory, "%.200s/%.40s", root_directory(), entry);
  snprintf(path, sizeof path, "%s/info", gpu->directory);
  if (!read_text(path, text, sizeof text)) return false;
  read_value(text, "name", "%95[^\n]", gpu->name);
  read_value(text, "uuid", "%47[^\n]", gpu->uuid);
  read_value(text, "pci", "%x:%x:%x", &gpu->pci_domain, &gpu->pci_bus, &gpu->pci_device);
  read_value(text, "pci_device_id", "%x", &gpu->pci_device_id);
  read_value(text, "pci_subsystem_id", "%x", &gpu->pci_subsystem_id);
  read_value(text, "minor", "%d", &gpu->minor);
  read_value(text, "memory", "%" SCNu64, &gpu->memory);
  read_value(text, "sms", "%d", &gpu->multiprocessors);
  read_value(text, "compute_capability", "%d.%d", &gpu->capability_major, &gpu->capability_minor);
  read_value(text, "peer_group", "%63[^\n]", gpu->peer_group);
  read_value(text, "link", "%15[^\n]", gpu->link);
  read_value(text, "pcie_root", "%d", &gpu->pcie_root);
  read_value(text, "numa_node", "%d", &gpu->numa_node);
  read_value(text, "architecture", "%31[^\n]", gpu->architecture);
  read_value(text, "brand", "%31[^\n]", gpu->brand);
  read_value(text, "addressing_mode", "%7[^\n]", gpu->addressing_mode);
  read_value(text, "fault", "%127[^\n]", gpu->fault);
  if (gpu->minor >= 0 && gpu->memory && parse_uuid(gpu->uuid, gpu->uuid_bytes)) return true;
  fprintf(stderr, "simulated GPU hardware: %s: minor, memory or uuid is missing or wrong\n", path);
  return false;
}

static int by_minor(const void *one, const void *other) {
  return ((const struct gpu *)one)->minor - ((const struct gpu *)other)->minor;
}

int machine_gpus(struct gpu gpus[MACHINE_MAX_GPUS]) {
  DIR *root = opendir(root_directory());
  if (!root) return 0;
  int count = 0;
  const struct dirent *entry;
  while (count < MACHINE_MAX_GPUS && (entry = readdir(root))) {
    if (strncmp(entry->d_name, "gpu", 3) != 0) continue;
    if (read_gpu(entry->d_name, &gpus[count]) && injected(&gpus[count])) count++;
  }
  closedir(root);
  qsort(gpus, (size_t)count, sizeof *gpus, by_minor);
  return count;
}

bool machine_fault(const struct gpu *gpu, const char *fault) {
  size_t length = strlen(fault);
  for (const char *word = gpu->fault; word; word = strchr(word, ',')) {
    if (*word == ',') word++;
    if (strncmp(word, fault, length) == 0 && (!word[length] || word[length] == ',')) return true;
  }
  return false;
}

bool machine_faulty_pair(const struct gpu *one, const struct gpu *other, const char *fault) {
  return one->minor + other->minor == 1 && machine_fault(one, fault);
}

int machine_channel(void) {
  for (int number = 0; number < MAX_CHANNELS; number++) {
    char node[64];
    snprintf(node, sizeof node, "nvidia-caps-imex-channels/channel%d", number);
    if (machine_device_opens(node)) return number;
  }
  return -1;
}

bool machine_peers(const struct gpu *one, const struct gpu *other) {
  return one->minor != other->minor && one->peer_group[0] &&
         strcmp(one->peer_group, other->peer_group) == 0;
}

// ---------------------------------------------------------------- allocations

struct path {
  char text[512];
};

static struct path process_path(const struct gpu *gpu, uint64_t process) {
  struct path path;
  snprintf(path.text, sizeof path.text, "%s/process-%016" PRIx64, gpu->directory, process);
  return path;
}

static struct path allocation_path(const struct gpu *gpu, struct allocation_id id) {
  struct path path;
  snprintf(path.text, sizeof path.text, "%s/mem-%016" PRIx64 "%016" PRIx64, gpu->directory,
           id.process, id.number);
  return path;
}

// Serialise all changes to the GPU's allocations; ends with close(). -1 with errno on failure.
static int lock_gpu(const struct gpu *gpu) {
  char path[512];
  snprintf(path, sizeof path, "%s/lock", gpu->directory);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return -1;
  while (flock(file, LOCK_EX) != 0)
    if (errno != EINTR) {
      close(file);
      return -1;
    }
  return file;
}

// The lock by which a process shows that it lives. It belongs to the open file description: the
// kernel drops it when the process ends however it ends, and whoever asks need not share a PID
// namespace with it.
static struct flock life_lock(void) {
  return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
}

static bool process_lives(const struct gpu *gpu, uint64_t process) {
  int file = open(process_path(gpu, process).text, O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  struct flock lock = life_lock();
  bool lives = fcntl(file, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
  close(file);
  return lives;
}

// A new file that every user may open, whatever the umask.
static int create_file(const char *path) {
  int file = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0666);
  if (file >= 0) (void)fchmod(file, 0666);
  return file;
}

// An allocation is gone. With the fault keeps-memory its content stays for the next one, with the
// fault ends-with-exporter it goes from under those who have it mapped.
static void drop_allocation(const struct gpu *gpu, const char *name) {
  char path[512], left[512];
  snprintf(path, sizeof path, "%.250s/%.200s", gpu->directory, name);
  snprintf(left, sizeof left, "%.250s/left-%.200s", gpu->directory, name + strlen("mem-"));
  if (machine_fault(gpu, "ends-with-exporter")) (void)!truncate(path, 0);
  if (!machine_fault(gpu, "keeps-memory") || rename(path, left) != 0) unlink(path);
}

// Give a new allocation what an earlier one of the same size left, if anything.
static void inherit(const struct gpu *gpu, const char *path, size_t size) {
  DIR *directory = machine_fault(gpu, "keeps-memory") ? opendir(gpu->directory) : NULL;
  if (!directory) return;
  const struct dirent *entry;
  struct stat status;
  bool found = false;
  while (!found && (entry = readdir(directory)))
    found = strncmp(entry->d_name, "left-", strlen("left-")) == 0 &&
            fstatat(dirfd(directory), entry->d_name, &status, 0) == 0 &&
            (size_t)status.st_size == size &&
            renameat(dirfd(directory), entry->d_name, AT_FDCWD, path) == 0;
  closedir(directory);
}

// Sum up live allocations and remove what dead processes left. The GPU is locked by the caller.
static int64_t count_and_reap(const struct gpu *gpu) {
  DIR *directory = opendir(gpu->directory);
  if (!directory) return -1;
  uint64_t used = 0, asked = 0;
  bool asked_lives = false, asked_any = false;
  const struct dirent *entry;
  while ((entry = readdir(directory))) {
    uint64_t process;
    bool allocation = sscanf(entry->d_name, "mem-%16" SCNx64, &process) == 1;
    if (!allocation && sscanf(entry->d_name, "process-%16" SCNx64, &process) != 1) continue;
    if (!asked_any || asked != process) {  // a process's files mostly follow each other
      asked_lives = process_lives(gpu, process);
      asked = process;
      asked_any = true;
    }
    struct stat status;
    if (!asked_lives && allocation)
      drop_allocation(gpu, entry->d_name);
    else if (!asked_lives)
      unlinkat(dirfd(directory), entry->d_name, 0);
    else if (allocation && fstatat(dirfd(directory), entry->d_name, &status, 0) == 0)
      used += ((uint64_t)status.st_size + PAGE - 1) / PAGE * PAGE;
  }
  closedir(directory);
  return (int64_t)used;
}

int64_t machine_used_memory(const struct gpu *gpu) {
  int lock = lock_gpu(gpu);
  if (lock < 0) return -1;
  int64_t used = count_and_reap(gpu);
  close(lock);
  return used;
}

static bool show_life(const struct gpu *gpu, uint64_t process, int *process_lock) {
  int file = create_file(process_path(gpu, process).text);
  if (file < 0) return false;
  struct flock lock = life_lock();
  if (fcntl(file, F_OFD_SETLK, &lock) != 0) {
    close(file);
    return false;
  }
  *process_lock = file;
  return true;
}

enum allocation_state allocation_create(const struct gpu *gpu, struct allocation_id id, size_t size,
                                        int *process_lock, int *file) {
  if (size > gpu->memory) return ALLOCATION_NO_ROOM;
  int lock = lock_gpu(gpu);
  if (lock < 0) return ALLOCATION_FAILED;
  enum allocation_state state = ALLOCATION_FAILED;
  int64_t used = count_and_reap(gpu);
  if (used >= 0 && (uint64_t)used + size > gpu->memory) {
    state = ALLOCATION_NO_ROOM;
  } else if (used >= 0 && (*process_lock >= 0 || show_life(gpu, id.process, process_lock))) {
    struct path path = allocation_path(gpu, id);
    inherit(gpu, path.text, size);
    bool inherited = machine_fault(gpu, "keeps-memory");
    *file = inherited ? open(path.text, O_RDWR | O_CLOEXEC) : -1;
    if (*file < 0) *file = create_file(path.text);
    if (*file >= 0 && ftruncate(*file, (off_t)size) == 0) {
      state = ALLOCATION_LIVE;
    } else if (*file >= 0) {
      unlink(path.text);
      close(*file);
    }
  }
  int error = errno;
  close(lock);
  errno = error;
  return state;
}

enum allocation_state allocation_open(const struct gpu *gpu, struct allocation_id id, size_t *size,
                                      int *file) {
  int lock = lock_gpu(gpu);
  if (lock < 0) return ALLOCATION_FAILED;
  enum allocation_state state = ALLOCATION_OWNER_GONE;
  if (process_lives(gpu, id.process)) {
    struct stat status;
    *file = open(allocation_path(gpu, id).text, O_RDWR | O_CLOEXEC);
    if (*file < 0) {
      state = errno == ENOENT ? ALLOCATION_FREED : ALLOCATION_FAILED;
    } else if (fstat(*file, &status) != 0) {
      state = ALLOCATION_FAILED;
      close(*file);
    } else {
      *size = (size_t)status.st_size;
      state = ALLOCATION_LIVE;
    }
  }
  close(lock);
  return state;
}

// Its name tells: the file may be unlinked, and its directory be mounted elsewhere here.
bool allocation_of_file(int file, int *minor, struct allocation_id *id, size_t *size) {
  char link[64], path[512];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, path, sizeof path - 1);
  struct stat status;
  if (length < 0 || fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) return false;
  path[length] = '\0';
  const char *name = strrchr(path, '/');
  while (name && name > path && name[-1] != '/') name--;
  if (!name ||
      sscanf(name, "gpu%d/mem-%16" SCNx64 "%16" SCNx64, minor, &id->process, &id->number) != 3)
    return false;
  *size = (size_t)status.st_size;
  return true;
}

void allocation_remove(const struct gpu *gpu, struct allocation_id id) {
  if (machine_fault(gpu, "leaks-memory")) return;  // until the process ends
  struct path path = allocation_path(gpu, id);
  drop_allocation(gpu, strrchr(path.text, '/') + 1);
}

void allocation_process_ends(const struct gpu *gpu, uint64_t process) {
  unlink(process_path(gpu, process).text);
}
