// The simulated nvidia-smi: what people and scripts look at first.
//
//     nvidia-smi                     a table of the GPUs
//     nvidia-smi -L                  one line a GPU
//     nvidia-smi --version           versions; what the NVIDIA DRA driver's init container runs
//     nvidia-smi --query-gpu=FIELD[,FIELD…] --format=csv[,noheader][,nounits]
//
// Exit codes as in nvidia-smi(1), RETURN VALUE: 2 an argument is invalid, 6 a query to find an
// object was unsuccessful, 9 the driver is not loaded, 12 libnvidia-ml.so.1 could not be found or
// loaded.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <nvml.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_ARGUMENT = 2, EXIT_NOT_FOUND = 6, EXIT_NO_DRIVER = 9, EXIT_NO_LIBRARY = 12 };

// The library is looked up as the real program does: at run time, by its soname.
static struct {
  nvmlReturn_t (*init)(unsigned);
  nvmlReturn_t (*driver_version)(char *, unsigned);
  nvmlReturn_t (*nvml_version)(char *, unsigned);
  nvmlReturn_t (*cuda_version)(int *);
  nvmlReturn_t (*device_count)(unsigned *);
  nvmlReturn_t (*handle)(unsigned, nvmlDevice_t *);
  nvmlReturn_t (*name)(nvmlDevice_t, char *, unsigned);
  nvmlReturn_t (*uuid)(nvmlDevice_t, char *, unsigned);
  nvmlReturn_t (*pci)(nvmlDevice_t, nvmlPciInfo_t *);
  nvmlReturn_t (*memory)(nvmlDevice_t, nvmlMemory_t *);
} nvml;

static bool load(void) {
  void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW);
  if (!library) return false;
  const struct {
    void *into;
    const char *name;
  } symbols[] = {
      {&nvml.init, "nvmlInitWithFlags"},
      {&nvml.driver_version, "nvmlSystemGetDriverVersion"},
      {&nvml.nvml_version, "nvmlSystemGetNVMLVersion"},
      {&nvml.cuda_version, "nvmlSystemGetCudaDriverVersion_v2"},
      {&nvml.device_count, "nvmlDeviceGetCount_v2"},
      {&nvml.handle, "nvmlDeviceGetHandleByIndex_v2"},
      {&nvml.name, "nvmlDeviceGetName"},
      {&nvml.uuid, "nvmlDeviceGetUUID"},
      {&nvml.pci, "nvmlDeviceGetPciInfo_v3"},
      {&nvml.memory, "nvmlDeviceGetMemoryInfo"},
  };
  for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
    void *symbol = dlsym(library, symbols[i].name);
    if (!symbol) return false;
    memcpy(symbols[i].into, &symbol, sizeof symbol);
  }
  return true;
}

// ---------------------------------------------------------------- what there is to show

struct versions {
  char driver[80], nvml[80];
  int cuda;
};

struct row {
  unsigned index;
  char name[NVML_DEVICE_NAME_V2_BUFFER_SIZE], uuid[NVML_DEVICE_UUID_V2_BUFFER_SIZE];
  nvmlPciInfo_t pci;
  nvmlMemory_t memory;
};

static void read_versions(struct versions *versions) {
  memset(versions, 0, sizeof *versions);
  nvml.driver_version(versions->driver, sizeof versions->driver);
  nvml.nvml_version(versions->nvml, sizeof versions->nvml);
  nvml.cuda_version(&versions->cuda);
}

static bool read_row(unsigned index, struct row *row) {
  nvmlDevice_t device;
  row->index = index;
  return nvml.handle(index, &device) == NVML_SUCCESS &&
         nvml.name(device, row->name, sizeof row->name) == NVML_SUCCESS &&
         nvml.uuid(device, row->uuid, sizeof row->uuid) == NVML_SUCCESS &&
         nvml.pci(device, &row->pci) == NVML_SUCCESS &&
         nvml.memory(device, &row->memory) == NVML_SUCCESS;
}

// Call `show` for each GPU. What the program exits with.
static int for_each_gpu(void (*show)(const struct row *, const void *), const void *argument) {
  unsigned count = 0;
  nvml.device_count(&count);
  if (!count) {
    puts("No devices were found");
    return EXIT_NOT_FOUND;
  }
  for (unsigned i = 0; i < count; i++) {
    struct row row;
    if (!read_row(i, &row)) {
      printf("Unable to determine the device handle for GPU %u\n", i);
      return EXIT_NOT_FOUND;
    }
    show(&row, argument);
  }
  return 0;
}

static unsigned long long mebibytes(unsigned long long bytes) { return bytes >> 20; }

// ---------------------------------------------------------------- the forms of output

static int show_versions(void) {
  struct versions versions;
  read_versions(&versions);
  printf("NVIDIA-SMI version  : %s\n", versions.driver);
  printf("NVML version        : %s\n", versions.nvml);
  printf("DRIVER version      : %s\n", versions.driver);
  printf("CUDA Version        : %d.%d\n", versions.cuda / 1000, versions.cuda % 1000 / 10);
  return 0;
}

static void list_line(const struct row *row, const void *unused) {
  (void)unused;
  printf("GPU %u: %s (UUID: %s)\n", row->index, row->name, row->uuid);
}

#define RULE "+--------------------------------+--------------------+--------------------------+\n"

static void table_line(const struct row *row, const void *unused) {
  (void)unused;
  printf("| %3u  %-25.25s | %18s | %8lluMiB / %7lluMiB |\n", row->index, row->name, row->pci.busId,
         mebibytes(row->memory.used), mebibytes(row->memory.total));
}

static int show_table(void) {
  struct versions versions;
  read_versions(&versions);
  printf("NVIDIA-SMI %s   Driver Version: %s   CUDA Version: %d.%d   (simulated GPU hardware)\n",
         versions.driver, versions.driver, versions.cuda / 1000, versions.cuda % 1000 / 10);
  printf(RULE "| %-30s | %-18s | %24s |\n" RULE, "GPU  Name", "Bus-Id", "Memory-Usage");
  int result = for_each_gpu(table_line, NULL);
  printf(RULE);
  return result;
}

// ---------------------------------------------------------------- --query-gpu

static void print_index(const struct row *row) { printf("%u", row->index); }
static void print_uuid(const struct row *row) { printf("%s", row->uuid); }
static void print_name(const struct row *row) { printf("%s", row->name); }
static void print_pci(const struct row *row) { printf("%s", row->pci.busId); }
static void print_total(const struct row *row) { printf("%llu", mebibytes(row->memory.total)); }
static void print_used(const struct row *row) { printf("%llu", mebibytes(row->memory.used)); }
static void print_free(const struct row *row) { printf("%llu", mebibytes(row->memory.free)); }
static void print_driver(const struct row *row) {
  (void)row;
  struct versions versions;
  read_versions(&versions);
  printf("%s", versions.driver);
}

static const struct field {
  const char *name, *unit;
  void (*print)(const struct row *);
} fields[] = {
    {"index", NULL, print_index},          {"uuid", NULL, print_uuid},
    {"name", NULL, print_name},            {"pci.bus_id", NULL, print_pci},
    {"memory.total", "MiB", print_total},  {"memory.used", "MiB", print_used},
    {"memory.free", "MiB", print_free},    {"driver_version", NULL, print_driver},
};
#define FIELDS (sizeof fields / sizeof *fields)
#define MAX_QUERIED 32

struct query {
  const struct field *fields[MAX_QUERIED];
  size_t count;
  bool header, units;
};

static bool parse_fields(const char *list, struct query *query) {
  char *copy = strdup(list), *rest = copy, *name;
  bool good = true;
  while (good && (name = strsep(&rest, ","))) {
    size_t i = 0;
    while (i < FIELDS && strcmp(fields[i].name, name) != 0) i++;
    good = i < FIELDS && query->count < MAX_QUERIED;
    if (good) {
      query->fields[query->count++] = &fields[i];
    } else {
      printf("Field \"%s\" is not a valid field to query. Simulated fields:", name);
      for (i = 0; i < FIELDS; i++) printf(" %s", fields[i].name);
      putchar('\n');
    }
  }
  free(copy);
  return good;
}

static bool parse_format(const char *list, struct query *query) {
  char *copy = strdup(list), *rest = copy, *word;
  bool csv = false, good = true;
  while (good && (word = strsep(&rest, ","))) {
    if (strcmp(word, "csv") == 0)
      csv = true;
    else if (strcmp(word, "noheader") == 0)
      query->header = false;
    else if (strcmp(word, "nounits") == 0)
      query->units = false;
    else
      good = false;
  }
  free(copy);
  if (!csv || !good)
    printf("\"--format=%s\" is not valid: csv, optionally with noheader and nounits.\n", list);
  return csv && good;
}

static void query_line(const struct row *row, const void *argument) {
  const struct query *query = argument;
  for (size_t i = 0; i < query->count; i++) {
    if (i) printf(", ");
    query->fields[i]->print(row);
    if (query->units && query->fields[i]->unit) printf(" %s", query->fields[i]->unit);
  }
  putchar('\n');
}

static int show_query(const struct query *query) {
  for (size_t i = 0; query->header && i < query->count; i++) {
    printf("%s%s", i ? ", " : "", query->fields[i]->name);
    if (query->units && query->fields[i]->unit) printf(" [%s]", query->fields[i]->unit);
    if (i + 1 == query->count) putchar('\n');
  }
  return for_each_gpu(query_line, query);
}

// ---------------------------------------------------------------- main

static int usage(const char *argument) {
  printf("Invalid combination of input arguments: '%s'.\n", argument);
  puts("Simulated: nvidia-smi [-L | --list-gpus | --version | --query-gpu=FIELDS --format=csv…]");
  return EXIT_ARGUMENT;
}

int main(int argc, char **argv) {
  struct query query = {.header = true, .units = true};
  bool list = false, version = false, format = false;
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "-L") == 0 || strcmp(argv[i], "--list-gpus") == 0) {
      list = true;
    } else if (strcmp(argv[i], "--version") == 0) {
      version = true;
    } else if (strncmp(argv[i], "--query-gpu=", 12) == 0) {
      if (!parse_fields(argv[i] + 12, &query)) return EXIT_ARGUMENT;
    } else if (strncmp(argv[i], "--format=", 9) == 0) {
      if (!parse_format(argv[i] + 9, &query)) return EXIT_ARGUMENT;
      format = true;
    } else {
      return usage(argv[i]);
    }
  }
  if (query.count && !format) return usage("--query-gpu without --format=csv");
  if (list + version + (query.count > 0) > 1 || (format && !query.count)) return usage(argv[1]);

  if (!load()) {
    puts("NVIDIA-SMI couldn't find libnvidia-ml.so library in your system. Please make sure that "
         "the NVIDIA Display Driver is properly installed and present in your system.");
    return EXIT_NO_LIBRARY;
  }
  if (nvml.init(version ? NVML_INIT_FLAG_NO_GPUS : 0) != NVML_SUCCESS) {
    puts("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure "
         "that the latest NVIDIA driver is installed and running.");
    return EXIT_NO_DRIVER;
  }
  if (version) return show_versions();
  if (list) return for_each_gpu(list_line, NULL);
  return query.count ? show_query(&query) : show_table();
}
