// Copying and setting memory (cuda.h, "Memory Management"). The forms with a stream are done when
// they return, so all is in order in every stream.
#include "driver.h"

#include <string.h>

// A device range that the caller names must lie in one allocation, as the driver demands.
static bool covers(CUdeviceptr pointer, size_t size) {
  struct memory *memory = memory_at(pointer);
  return memory && !memory->denied &&
         size <= memory->size - (size_t)((char *)pointer - memory->base);
}

#define REQUIRE_STREAM(stream) \
  if (!stream_valid(stream)) return CUDA_ERROR_INVALID_HANDLE

CUresult CUDAAPI cuMemcpyHtoDAsync_v2(CUdeviceptr dst, const void *src, size_t n, CUstream stream) {
  REQUIRE_STREAM(stream);
  REQUIRE_CONTEXT(context);
  if (!n) return CUDA_SUCCESS;
  if (!src || !covers(dst, n)) return CUDA_ERROR_INVALID_VALUE;
  memmove((void *)dst, src, n);
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemcpyDtoHAsync_v2(void *dst, CUdeviceptr src, size_t n, CUstream stream) {
  REQUIRE_STREAM(stream);
  REQUIRE_CONTEXT(context);
  if (!n) return CUDA_SUCCESS;
  if (!dst || !covers(src, n)) return CUDA_ERROR_INVALID_VALUE;
  memmove(dst, (const void *)src, n);
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemcpyDtoDAsync_v2(CUdeviceptr dst, CUdeviceptr src, size_t n, CUstream stream) {
  REQUIRE_STREAM(stream);
  REQUIRE_CONTEXT(context);
  if (!n) return CUDA_SUCCESS;
  if (!covers(dst, n) || !covers(src, n)) return CUDA_ERROR_INVALID_VALUE;
  memmove((void *)dst, (const void *)src, n);
  return CUDA_SUCCESS;
}

// cuda.h: copying between devices needs no peer access; without it the driver goes over the host.
CUresult CUDAAPI cuMemcpyPeerAsync(CUdeviceptr dst, CUcontext dstContext, CUdeviceptr src,
                                   CUcontext srcContext, size_t n, CUstream stream) {
  (void)dstContext;
  (void)srcContext;
  return cuMemcpyDtoDAsync_v2(dst, src, n, stream);
}

CUresult CUDAAPI cuMemcpyHtoD_v2(CUdeviceptr dst, const void *src, size_t n) {
  return cuMemcpyHtoDAsync_v2(dst, src, n, NULL);
}
CUresult CUDAAPI cuMemcpyDtoH_v2(void *dst, CUdeviceptr src, size_t n) {
  return cuMemcpyDtoHAsync_v2(dst, src, n, NULL);
}
CUresult CUDAAPI cuMemcpyDtoD_v2(CUdeviceptr dst, CUdeviceptr src, size_t n) {
  return cuMemcpyDtoDAsync_v2(dst, src, n, NULL);
}
CUresult CUDAAPI cuMemcpyPeer(CUdeviceptr dst, CUcontext dstContext, CUdeviceptr src,
                              CUcontext srcContext, size_t n) {
  return cuMemcpyPeerAsync(dst, dstContext, src, srcContext, n, NULL);
}

// Set `count` elements; the pointer must be aligned to an element, as cuda.h demands.
#define SET(type)                                                                                  \
  static CUresult set_##type(CUdeviceptr to, type value, size_t count, CUstream stream) {          \
    REQUIRE_STREAM(stream);                                                                        \
    REQUIRE_CONTEXT(context);                                                                      \
    if (!count) return CUDA_SUCCESS;                                                               \
    if (to % sizeof value || count > SIZE_MAX / sizeof value || !covers(to, count * sizeof value)) \
      return CUDA_ERROR_INVALID_VALUE;                                                             \
    for (type *next = (type *)to, *end = next + count; next < end; next++) *next = value;          \
    return CUDA_SUCCESS;                                                                           \
  }
SET(uint8_t)
SET(uint16_t)
SET(uint32_t)
#undef SET

CUresult CUDAAPI cuMemsetD8_v2(CUdeviceptr dst, unsigned char uc, size_t n) {
  return set_uint8_t(dst, uc, n, NULL);
}
CUresult CUDAAPI cuMemsetD16_v2(CUdeviceptr dst, unsigned short us, size_t n) {
  return set_uint16_t(dst, us, n, NULL);
}
CUresult CUDAAPI cuMemsetD32_v2(CUdeviceptr dst, unsigned int ui, size_t n) {
  return set_uint32_t(dst, ui, n, NULL);
}
CUresult CUDAAPI cuMemsetD8Async(CUdeviceptr dst, unsigned char uc, size_t n, CUstream stream) {
  return set_uint8_t(dst, uc, n, stream);
}
CUresult CUDAAPI cuMemsetD16Async(CUdeviceptr dst, unsigned short us, size_t n, CUstream stream) {
  return set_uint16_t(dst, us, n, stream);
}
CUresult CUDAAPI cuMemsetD32Async(CUdeviceptr dst, unsigned int ui, size_t n, CUstream stream) {
  return set_uint32_t(dst, ui, n, stream);
}
