// Names and texts of error codes (cuda.h, "Error Handling"). The texts are those that NVIDIA's own
// libcudart 12.9 gives for the same codes; programs show them to people, PyCUDA shows nothing else.
#include "driver.h"

static const struct {
  CUresult code;
  const char *name, *text;
} errors[] = {
#define ERROR(name, text) {name, #name, text},
#include "errors.inc"
#undef ERROR
};

CUresult CUDAAPI cuGetErrorName(CUresult error, const char **pStr) {
  if (!pStr) return CUDA_ERROR_INVALID_VALUE;
  *pStr = NULL;
  for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
    if (errors[i].code == error) *pStr = errors[i].name;
  return *pStr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult CUDAAPI cuGetErrorString(CUresult error, const char **pStr) {
  if (!pStr) return CUDA_ERROR_INVALID_VALUE;
  *pStr = NULL;
  for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
    if (errors[i].code == error) *pStr = errors[i].text;
  return *pStr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
