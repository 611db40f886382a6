// The simulated nvidia-smi: what people look at first, and what the NVIDIA DRA driver calls.
//
//     nvidia-smi               the versions, and each GPU with its memory
//     nvidia-smi -L            one line a GPU
//     nvidia-smi --version     versions; what the NVIDIA DRA driver's init container runs
//     nvidia-smi compute-policy -l                       each GPU's time slices
//     nvidia-smi compute-policy -i GPU --set-timeslice N set them; what the NVIDIA DRA driver runs
//     nvidia-smi -i GPU -c MODE                          set the compute mode; likewise
//     nvidia-smi --query-gpu=compute_mode --format=csv,noheader     each GPU's compute mode
//
// What is set stands in the GPU's folder of the simulated machine, in the files `timeslice` and
// `compute-mode`, and changes nothing else. A GPU with the fault keeps-compute-mode does not go back
// to DEFAULT.
//
// Exit codes as in nvidia-smi(1), RETURN VALUE: 2 an argument is invalid, 4 the user may not do
// that, 6 a query to find an
// object was unsuccessful, 9 the driver is not loaded, 12 libnvidia-ml.so.1 could not be found or
// loaded.
#include <dlfcn.h>
#include <errno.h>
#include <nvml.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  EXIT_ARGUMENT = 2,
  EXIT_NO_PERMISSION = 4,
  EXIT_NOT_FOUND = 6,
  EXIT_NO_DRIVER = 9,
  EXIT_NO_LIBRARY = 12
};

// The library is looked up as the real program does: at run time, by its soname.
static void *library;
#define NVML(function, ...) ((__typeof__(&function))dlsym(library, #function))(__VA_ARGS__)

static char driver[80];
static int cuda;

static int show_versions(void) {
  char nvml[80] = "";
  NVML(nvmlSystemGetNVMLVersion, nvml, sizeof nvml);
  printf("NVIDIA-SMI version  : %s\n", driver);
  printf("NVML version        : %s\n", nvml);
  printf("DRIVER version      : %s\n", driver);
  printf("CUDA Version        : %d.%d\n", cuda / 1000, cuda % 1000 / 10);
  return 0;
}

static bool show_gpu(unsigned index, bool details) {
  nvmlDevice_t device;
  char name[NVML_DEVICE_NAME_V2_BUFFER_SIZE], uuid[NVML_DEVICE_UUID_V2_BUFFER_SIZE];
  nvmlPciInfo_t pci;
  nvmlMemory_t memory;
  if (NVML(nvmlDeviceGetHandleByIndex_v2, index, &device) != NVML_SUCCESS ||
      NVML(nvmlDeviceGetName, device, name, sizeof name) != NVML_SUCCESS ||
      NVML(nvmlDeviceGetUUID, device, uuid, sizeof uuid) != NVML_SUCCESS ||
      NVML(nvmlDeviceGetPciInfo_v3, device, &pci) != NVML_SUCCESS ||
      NVML(nvmlDeviceGetMemoryInfo, device, &memory) != NVML_SUCCESS)
    return false;
  printf("GPU %u: %s (UUID: %s)", index, name, uuid);
  if (details)
    printf(" | %s | %lluMiB / %lluMiB", pci.busId, memory.used >> 20, memory.total >> 20);
  putchar('\n');
  return true;
}

static int show_gpus(bool details) {
  unsigned count = 0;
  NVML(nvmlDeviceGetCount_v2, &count);
  if (details)
    printf("NVIDIA-SMI %s   Driver Version: %s   CUDA Version: %d.%d   (simulated GPU hardware)\n",
           driver, driver, cuda / 1000, cuda % 1000 / 10);
  if (!count) puts("No devices were found");
  for (unsigned i = 0; i < count; i++)
    if (!show_gpu(i, details)) {
      printf("Unable to determine the device handle for GPU %u\n", i);
      return EXIT_NOT_FOUND;
    }
  return count ? 0 : EXIT_NOT_FOUND;
}

// The file of a GPU's folder that keeps a setting.
static FILE *setting(nvmlDevice_t device, const char *name, const char *mode) {
  const char *chosen = getenv("SIMULATED_GPUS_ROOT");
  char path[512];
  unsigned minor;
  if (NVML(nvmlDeviceGetMinorNumber, device, &minor) != NVML_SUCCESS) return NULL;
  snprintf(path, sizeof path, "%s/gpu%u/%s", chosen ? chosen : "/run/simulated-gpus", minor, name);
  return fopen(path, mode);
}

// Whether the GPU has this fault, maybe among others; see machine.h.
static bool has_fault(nvmlDevice_t device, const char *fault) {
  FILE *info = setting(device, "info", "re");
  char line[256];
  bool found = false;
  while (info && fgets(line, sizeof line, info))
    found = found || (strncmp(line, "fault=", 6) == 0 && strstr(line, fault));
  if (info) fclose(info);
  return found;
}

static int set(const char *gpu, const char *name, const char *value) {
  nvmlDevice_t device;
  bool is_index = *gpu && strspn(gpu, "0123456789") == strlen(gpu);
  nvmlReturn_t found =
      is_index ? NVML(nvmlDeviceGetHandleByIndex_v2, (unsigned)strtoul(gpu, NULL, 10), &device)
               : NVML(nvmlDeviceGetHandleByUUID, gpu, &device);
  if (found != NVML_SUCCESS) {
    printf("Unable to determine the device handle for GPU %s\n", gpu);
    return EXIT_NOT_FOUND;
  }
  if (strcmp(value, "DEFAULT") == 0 && has_fault(device, "keeps-compute-mode")) return 0;
  FILE *file = setting(device, name, "we");
  if (!file || fprintf(file, "%s\n", value) < 0 || fclose(file) != 0) {
    printf("Unable to set the %s for GPU %s: %s\n", name, gpu, strerror(errno));
    return EXIT_NO_PERMISSION;
  }
  printf("Set %s of GPU %s to %s\n", name, gpu, value);
  return 0;
}

static int list_policies(void) {
  static const char *const names[] = {"Default", "Short", "Medium", "Long"};
  unsigned count = 0;
  NVML(nvmlDeviceGetCount_v2, &count);
  puts("+-------------------------------------+");
  puts("| GPU compute policies:               |");
  puts("| GPU     Name           Value        |");
  puts("|=====================================|");
  for (unsigned i = 0; i < count; i++) {
    nvmlDevice_t device;
    unsigned slice = 0;
    if (NVML(nvmlDeviceGetHandleByIndex_v2, i, &device) != NVML_SUCCESS) return EXIT_NOT_FOUND;
    FILE *file = setting(device, "timeslice", "re");
    if (file) {
      if (fscanf(file, "%u", &slice) != 1 || slice > 3) slice = 0;
      fclose(file);
    }
    printf("| %3u   Timeslice       %-13s |\n", i, names[slice]);
  }
  puts("+-------------------------------------+");
  return 0;
}

static int list_modes(void) {
  unsigned count = 0;
  NVML(nvmlDeviceGetCount_v2, &count);
  for (unsigned i = 0; i < count; i++) {
    nvmlDevice_t device;
    char mode[32] = "DEFAULT";
    if (NVML(nvmlDeviceGetHandleByIndex_v2, i, &device) != NVML_SUCCESS) return EXIT_NOT_FOUND;
    FILE *file = setting(device, "compute-mode", "re");
    if (file) {
      if (fscanf(file, "%31s", mode) != 1) strcpy(mode, "DEFAULT");
      fclose(file);
    }
    puts(strcmp(mode, "EXCLUSIVE_PROCESS") == 0 ? "Exclusive_Process"
         : strcmp(mode, "PROHIBITED") == 0      ? "Prohibited"
                                                : "Default");
  }
  return 0;
}

// What the arguments ask for beyond a single word; -1: nothing that is known.
static int change(int argc, char **argv) {
  bool policy = argc > 1 && strcmp(argv[1], "compute-policy") == 0;
  if (policy && argc == 3 && (!strcmp(argv[2], "-l") || !strcmp(argv[2], "--list")))
    return list_policies();
  if (policy && argc == 6 && !strcmp(argv[2], "-i") && !strcmp(argv[4], "--set-timeslice") &&
      strlen(argv[5]) == 1 && strchr("0123", argv[5][0]))
    return set(argv[3], "timeslice", argv[5]);
  if (argc == 3 && !strcmp(argv[1], "--query-gpu=compute_mode") &&
      !strcmp(argv[2], "--format=csv,noheader"))
    return list_modes();
  if (argc == 5 && !strcmp(argv[1], "-i") && !strcmp(argv[3], "-c"))
    return set(argv[2], "compute-mode", argv[4]);
  return -1;
}

int main(int argc, char **argv) {
  const char *verb = argc > 1 ? argv[1] : "";
  bool list = strcmp(verb, "-L") == 0 || strcmp(verb, "--list-gpus") == 0;
  bool version = strcmp(verb, "--version") == 0;
  library = dlopen("libnvidia-ml.so.1", RTLD_NOW);
  if (!library) {
    puts("NVIDIA-SMI couldn't find libnvidia-ml.so library in your system. Please make sure that "
         "the NVIDIA Display Driver is properly installed and present in your system.");
    return EXIT_NO_LIBRARY;
  }
  if (NVML(nvmlInitWithFlags, version ? NVML_INIT_FLAG_NO_GPUS : 0) != NVML_SUCCESS) {
    puts("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure "
         "that the latest NVIDIA driver is installed and running.");
    return EXIT_NO_DRIVER;
  }
  if (argc > 2 || (argc == 2 && !list && !version)) {
    int code = change(argc, argv);
    if (code >= 0) return code;
    printf("Invalid combination of input arguments: '%s'.\n", argv[argc - 1]);
    puts("Simulated: nvidia-smi [-L | --list-gpus | --version | compute-policy … | -i GPU -c …]");
    return EXIT_ARGUMENT;
  }
  NVML(nvmlSystemGetDriverVersion, driver, sizeof driver);
  NVML(nvmlSystemGetCudaDriverVersion_v2, &cuda);
  return version ? show_versions() : show_gpus(!list);
}
