// Modules and functions (cuda.h, "Module Management", "Execution Control").
//
// A module must be a device image that a driver of this version takes, and must define a kernel for
// cuModuleGetFunction to find it. What then runs is the CPU build of the same source (kernels.cpp).
#define _GNU_SOURCE
#include "modules.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum image_kind { IMAGE_PTX, IMAGE_CUBIN, IMAGE_FATBIN };

struct module {
  struct object object;
  enum image_kind kind;
  char *image;
  size_t size;
};

#define LONGEST_PTX (64ul << 20)
#define ELF_MACHINE_CUDA 190
static const unsigned char fatbin_magic[4] = {0x50, 0xed, 0x55, 0xba};

// ---------------------------------------------------------------- images

static uint64_t little_endian(const char *bytes, int count) {
  uint64_t value = 0;
  memcpy(&value, bytes, (size_t)count);
  return value;
}

// The image's extent, from its own header: the caller passes no length.
static size_t elf_size(const char *image) {
  uint64_t programs = little_endian(image + 0x20, 8) +
                      little_endian(image + 0x36, 2) * little_endian(image + 0x38, 2);
  uint64_t sections = little_endian(image + 0x28, 8) +
                      little_endian(image + 0x3a, 2) * little_endian(image + 0x3c, 2);
  return programs > sections ? programs : sections;
}

static size_t fatbin_size(const char *image) {
  return little_endian(image + 6, 2) + little_endian(image + 8, 8);
}

// The newest PTX version (10 * major + minor) that a driver of this CUDA version compiles: PTX ISA,
// "Release Notes". From CUDA 12.9 and 13.0 on, versions follow CUDA's with the same distance.
static int newest_ptx(int cuda_version) {
  static const struct {
    int cuda, ptx;
  } table[] = {{13000, 90}, {12090, 88}, {12080, 87}, {12070, 86}, {12050, 85}, {12040, 84},
               {12030, 83}, {12020, 82}, {12010, 81}, {12000, 80}, {11080, 78}, {11000, 70}};
  if (cuda_version >= 13000) return 90 + (cuda_version - 13000) / 10;
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (cuda_version >= table[i].cuda) return table[i].ptx;
  return 60;
}

static CUresult check_ptx(const char *text, const struct gpu *gpu) {
  int major, minor, target;
  const char *version = strstr(text, ".version");
  if (!version || sscanf(version, ".version %d.%d", &major, &minor) != 2)
    return CUDA_ERROR_INVALID_IMAGE;
  int cuda_version;
  cuDriverGetVersion(&cuda_version);
  if (10 * major + minor > newest_ptx(cuda_version)) return CUDA_ERROR_UNSUPPORTED_PTX_VERSION;
  const char *wanted = strstr(version, ".target");
  if (!wanted || sscanf(wanted, ".target sm_%d", &target) != 1) return CUDA_ERROR_INVALID_PTX;
  // PTX for an older architecture runs on a newer one, never the other way round.
  if (target > 10 * gpu->capability_major + gpu->capability_minor) return CUDA_ERROR_INVALID_PTX;
  return CUDA_SUCCESS;
}

static CUresult examine(const char *image, const struct gpu *gpu, enum image_kind *kind,
                        size_t *size) {
  if (memcmp(image, "\177ELF", 4) == 0) {
    if (little_endian(image + 0x12, 2) != ELF_MACHINE_CUDA) return CUDA_ERROR_INVALID_IMAGE;
    *kind = IMAGE_CUBIN;
    *size = elf_size(image);
    return CUDA_SUCCESS;
  }
  if (memcmp(image, fatbin_magic, sizeof fatbin_magic) == 0) {
    *kind = IMAGE_FATBIN;
    *size = fatbin_size(image);
    return CUDA_SUCCESS;
  }
  *kind = IMAGE_PTX;
  *size = strnlen(image, LONGEST_PTX);
  return *size < LONGEST_PTX ? check_ptx(image, gpu) : CUDA_ERROR_INVALID_IMAGE;
}

// Whether PTX text has `.entry name`.
static bool ptx_defines(const char *text, const char *name) {
  size_t length = strlen(name);
  while ((text = strstr(text, ".entry"))) {
    text += strlen(".entry");
    while (isspace((unsigned char)*text)) text++;
    if (strncmp(text, name, length) != 0) continue;
    char next = text[length];
    if (!isalnum((unsigned char)next) && next != '_' && next != '$') return true;
  }
  return false;
}

// A cubin has a section `.text.<name>` for a kernel. A fatbin may be compressed: its names are
// taken on trust.
static bool defines(const struct module *module, const char *name) {
  char section[256];
  switch (module->kind) {
    case IMAGE_PTX:
      return ptx_defines(module->image, name);
    case IMAGE_CUBIN:
      snprintf(section, sizeof section, ".text.%s", name);
      return memmem(module->image, module->size, section, strlen(section) + 1) != NULL;
    case IMAGE_FATBIN:
      return true;
  }
  return false;
}

// ---------------------------------------------------------------- modules

CUresult CUDAAPI cuModuleLoadData(CUmodule *out, const void *image) {
  REQUIRE_CONTEXT(context);
  if (!out || !image) return CUDA_ERROR_INVALID_VALUE;
  enum image_kind kind;
  size_t size;
  CUresult result = examine(image, &context->device->gpu, &kind, &size);
  if (result != CUDA_SUCCESS) return result;
  char *kept = malloc(size + 1);
  struct module *module = kept ? object_create(OBJECT_MODULE, sizeof *module) : NULL;
  if (!module) {
    free(kept);
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  memcpy(kept, image, size);
  kept[size] = '\0';
  module->kind = kind;
  module->image = kept;
  module->size = size;
  *out = (CUmodule)module;
  return CUDA_SUCCESS;
}

// cuda.h, CUjit_option: the driver writes logs into the caller's buffers and replaces the buffers'
// sizes by the lengths. Nothing is compiled here, so the logs are empty; other options tune only.
static void empty_logs(unsigned count, const CUjit_option *options, void **values) {
  for (unsigned i = 0; i < count; i++) {
    switch (options[i]) {
      case CU_JIT_INFO_LOG_BUFFER:
      case CU_JIT_ERROR_LOG_BUFFER:
        if (values[i]) *(char *)values[i] = '\0';
        break;
      case CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES:
      case CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES:
        values[i] = NULL;
        break;
      default:
        break;
    }
  }
}

CUresult CUDAAPI cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned int numOptions,
                                    CUjit_option *options, void **optionValues) {
  REQUIRE_CONTEXT(context);
  if (numOptions && (!options || !optionValues)) return CUDA_ERROR_INVALID_VALUE;
  empty_logs(numOptions, options, optionValues);
  return cuModuleLoadData(module, image);
}

CUresult CUDAAPI cuModuleLoad(CUmodule *module, const char *fname) {
  REQUIRE_CONTEXT(context);
  if (!module || !fname) return CUDA_ERROR_INVALID_VALUE;
  FILE *file = fopen(fname, "rbe");
  if (!file) return CUDA_ERROR_FILE_NOT_FOUND;
  long size = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
  rewind(file);
  char *image = size >= 0 ? calloc(1, (size_t)size + 64) : NULL;
  bool whole = image && fread(image, 1, (size_t)size, file) == (size_t)size;
  fclose(file);
  CUresult result = whole ? cuModuleLoadData(module, image) : CUDA_ERROR_INVALID_IMAGE;
  free(image);
  return result;
}

CUresult CUDAAPI cuModuleUnload(CUmodule hmod) {
  REQUIRE_DRIVER();
  if (!object_is(OBJECT_MODULE, hmod)) return CUDA_ERROR_INVALID_HANDLE;
  free(((struct module *)hmod)->image);
  object_destroy(OBJECT_MODULE, hmod);
  return CUDA_SUCCESS;
}

// The device image must define the kernel, and this library must have been built with it.
CUresult CUDAAPI cuModuleGetFunction(CUfunction *hfunc, CUmodule hmod, const char *name) {
  REQUIRE_CONTEXT(context);
  if (!hfunc || !name) return CUDA_ERROR_INVALID_VALUE;
  if (!object_is(OBJECT_MODULE, hmod)) return CUDA_ERROR_INVALID_HANDLE;
  if (!defines((struct module *)hmod, name)) return CUDA_ERROR_NOT_FOUND;
  for (const struct kernel *kernel = kernels; kernel->name; kernel++) {
    if (strcmp(kernel->name, name) != 0) continue;
    struct function *function = object_create(OBJECT_FUNCTION, sizeof *function);
    if (!function) return CUDA_ERROR_OUT_OF_MEMORY;
    function->kernel = kernel;
    *hfunc = (CUfunction)function;
    return CUDA_SUCCESS;
  }
  fprintf(stderr, "simulated GPU hardware: kernel '%s' has no CPU build in this libcuda\n", name);
  return CUDA_ERROR_NOT_FOUND;
}

// Module variables are not simulated: no kernel here has any.
CUresult CUDAAPI cuModuleGetGlobal_v2(CUdeviceptr *dptr, size_t *bytes, CUmodule hmod,
                                      const char *name) {
  REQUIRE_CONTEXT(context);
  (void)dptr;
  (void)bytes;
  if (!name) return CUDA_ERROR_INVALID_VALUE;
  return object_is(OBJECT_MODULE, hmod) ? CUDA_ERROR_NOT_FOUND : CUDA_ERROR_INVALID_HANDLE;
}

// ---------------------------------------------------------------- functions

CUresult CUDAAPI cuFuncGetAttribute(int *pi, CUfunction_attribute attrib, CUfunction hfunc) {
  REQUIRE_CONTEXT(context);
  if (!pi || (unsigned)attrib >= CU_FUNC_ATTRIBUTE_MAX) return CUDA_ERROR_INVALID_VALUE;
  if (!object_is(OBJECT_FUNCTION, hfunc)) return CUDA_ERROR_INVALID_HANDLE;
  const struct gpu *gpu = &context->device->gpu;
  switch (attrib) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
      *pi = MAX_THREADS_PER_BLOCK;
      break;
    case CU_FUNC_ATTRIBUTE_NUM_REGS:
      *pi = 32;
      break;
    case CU_FUNC_ATTRIBUTE_PTX_VERSION:
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION:
      *pi = 10 * gpu->capability_major + gpu->capability_minor;
      break;
    default:
      *pi = 0;  // no shared, constant or local memory
  }
  return CUDA_SUCCESS;
}

// The block shape of the launch calls before CUDA 4.0, which are not simulated. PyCUDA sets it
// before each cuLaunchKernel, which takes a shape of its own and (cuda.h) drops this one.
CUresult CUDAAPI cuFuncSetBlockShape(CUfunction hfunc, int x, int y, int z) {
  REQUIRE_CONTEXT(context);
  if (!object_is(OBJECT_FUNCTION, hfunc)) return CUDA_ERROR_INVALID_HANDLE;
  bool fits = x > 0 && y > 0 && z > 0 && (int64_t)x * y * z <= MAX_THREADS_PER_BLOCK;
  return fits ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

// Hints and limits that make no difference to a CPU.
CUresult CUDAAPI cuFuncSetAttribute(CUfunction hfunc, CUfunction_attribute attrib, int value) {
  REQUIRE_CONTEXT(context);
  (void)value;
  if ((unsigned)attrib >= CU_FUNC_ATTRIBUTE_MAX) return CUDA_ERROR_INVALID_VALUE;
  return object_is(OBJECT_FUNCTION, hfunc) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult CUDAAPI cuFuncSetCacheConfig(CUfunction hfunc, CUfunc_cache config) {
  REQUIRE_CONTEXT(context);
  (void)config;
  return object_is(OBJECT_FUNCTION, hfunc) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}
