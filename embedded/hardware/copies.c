// Copying and setting memory (cuda.h, "Memory Management"). The forms with a stream are done when
// they return, so all is in order in every stream.
#include "driver.h"

#include <string.h>

// A device range that the caller names must lie in one allocation, as the driver demands.
static bool covers(CUdeviceptr pointer, size_t size) {
  struct memory *memory = memory_at(pointer);
  return memory && size <= memory->size - (size_t)((char *)pointer - memory->base);
}

static CUresult copy(void *to, const void *from, size_t size) {
  memmove(to, from, size);
  return CUDA_SUCCESS;
}

static CUresult host_to_device(CUdeviceptr to, const void *from, size_t size) {
  REQUIRE_CONTEXT(context);
  if (!size) return CUDA_SUCCESS;
  if (!from || !covers(to, size)) return CUDA_ERROR_INVALID_VALUE;
  return copy((void *)to, from, size);
}

static CUresult device_to_host(void *to, CUdeviceptr from, size_t size) {
  REQUIRE_CONTEXT(context);
  if (!size) return CUDA_SUCCESS;
  if (!to || !covers(from, size)) return CUDA_ERROR_INVALID_VALUE;
  return copy(to, (const void *)from, size);
}

static CUresult device_to_device(CUdeviceptr to, CUdeviceptr from, size_t size) {
  REQUIRE_CONTEXT(context);
  if (!size) return CUDA_SUCCESS;
  if (!covers(to, size) || !covers(from, size)) return CUDA_ERROR_INVALID_VALUE;
  return copy((void *)to, (const void *)from, size);
}

// Unified addressing: each side may be a device's or the host's memory.
static CUresult any_to_any(CUdeviceptr to, CUdeviceptr from, size_t size) {
  REQUIRE_CONTEXT(context);
  if (!size) return CUDA_SUCCESS;
  if (!to || !from) return CUDA_ERROR_INVALID_VALUE;
  if (memory_at(to) && !covers(to, size)) return CUDA_ERROR_INVALID_VALUE;
  if (memory_at(from) && !covers(from, size)) return CUDA_ERROR_INVALID_VALUE;
  return copy((void *)to, (const void *)from, size);
}

CUresult CUDAAPI cuMemcpyHtoD_v2(CUdeviceptr dst, const void *src, size_t n) {
  return host_to_device(dst, src, n);
}
CUresult CUDAAPI cuMemcpyDtoH_v2(void *dst, CUdeviceptr src, size_t n) {
  return device_to_host(dst, src, n);
}
CUresult CUDAAPI cuMemcpyDtoD_v2(CUdeviceptr dst, CUdeviceptr src, size_t n) {
  return device_to_device(dst, src, n);
}
CUresult CUDAAPI cuMemcpy(CUdeviceptr dst, CUdeviceptr src, size_t n) {
  return any_to_any(dst, src, n);
}

// cuda.h: copying between devices needs no peer access; without it the driver goes over the host.
CUresult CUDAAPI cuMemcpyPeer(CUdeviceptr dst, CUcontext dstContext, CUdeviceptr src,
                              CUcontext srcContext, size_t n) {
  (void)dstContext;
  (void)srcContext;
  return device_to_device(dst, src, n);
}

#define REQUIRE_STREAM(stream) \
  if (!stream_valid(stream)) return CUDA_ERROR_INVALID_HANDLE

CUresult CUDAAPI cuMemcpyHtoDAsync_v2(CUdeviceptr dst, const void *src, size_t n, CUstream stream) {
  REQUIRE_STREAM(stream);
  return host_to_device(dst, src, n);
}
CUresult CUDAAPI cuMemcpyDtoHAsync_v2(void *dst, CUdeviceptr src, size_t n, CUstream stream) {
  REQUIRE_STREAM(stream);
  return device_to_host(dst, src, n);
}
CUresult CUDAAPI cuMemcpyDtoDAsync_v2(CUdeviceptr dst, CUdeviceptr src, size_t n, CUstream stream) {
  REQUIRE_STREAM(stream);
  return device_to_device(dst, src, n);
}
CUresult CUDAAPI cuMemcpyAsync(CUdeviceptr dst, CUdeviceptr src, size_t n, CUstream stream) {
  REQUIRE_STREAM(stream);
  return any_to_any(dst, src, n);
}
CUresult CUDAAPI cuMemcpyPeerAsync(CUdeviceptr dst, CUcontext dstContext, CUdeviceptr src,
                                   CUcontext srcContext, size_t n, CUstream stream) {
  REQUIRE_STREAM(stream);
  return cuMemcpyPeer(dst, dstContext, src, srcContext, n);
}

// Set `count` elements; the pointer must be aligned to an element, as cuda.h demands.
#define SET(type)                                                                                  \
  static CUresult set_##type(CUdeviceptr to, type value, size_t count) {                           \
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
  return set_uint8_t(dst, uc, n);
}
CUresult CUDAAPI cuMemsetD16_v2(CUdeviceptr dst, unsigned short us, size_t n) {
  return set_uint16_t(dst, us, n);
}
CUresult CUDAAPI cuMemsetD32_v2(CUdeviceptr dst, unsigned int ui, size_t n) {
  return set_uint32_t(dst, ui, n);
}
CUresult CUDAAPI cuMemsetD8Async(CUdeviceptr dst, unsigned char uc, size_t n, CUstream stream) {
  REQUIRE_STREAM(stream);
  return set_uint8_t(dst, uc, n);
}
CUresult CUDAAPI cuMemsetD16Async(CUdeviceptr dst, unsigned short us, size_t n, CUstream stream) {
  REQUIRE_STREAM(stream);
  return set_uint16_t(dst, us, n);
}
CUresult CUDAAPI cuMemsetD32Async(CUdeviceptr dst, unsigned int ui, size_t n, CUstream stream) {
  REQUIRE_STREAM(stream);
  return set_uint32_t(dst, ui, n);
}
