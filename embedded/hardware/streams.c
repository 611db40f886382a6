// Streams and events (cuda.h, "Stream Management", "Event Management").
//
// Every call has done its work when it returns, so an event is complete as soon as it is recorded.
// A program that forgets to synchronise works here and not on a GPU. A stream is busy only while it
// waits for a value in memory; what is launched behind that does not wait.
#include "driver.h"

#include <time.h>

struct stream {
  struct object object;
  CUdeviceptr awaited;  // where it waits for a value; 0: it does not
  cuuint32_t value;
  unsigned flags;
};

static struct stream *stream_of(CUstream stream) {
  return object_is(OBJECT_STREAM, stream) ? (struct stream *)stream : NULL;
}

bool stream_valid(CUstream stream) {
  return stream == NULL || stream == CU_STREAM_LEGACY || stream == CU_STREAM_PER_THREAD ||
         object_is(OBJECT_STREAM, stream);
}

CUresult CUDAAPI cuStreamCreate(CUstream *phStream, unsigned int Flags) {
  REQUIRE_CONTEXT(context);
  if (!phStream || Flags > CU_STREAM_NON_BLOCKING) return CUDA_ERROR_INVALID_VALUE;
  struct stream *stream = object_create(OBJECT_STREAM, sizeof *stream);
  if (!stream) return CUDA_ERROR_OUT_OF_MEMORY;
  *phStream = (CUstream)stream;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuStreamDestroy_v2(CUstream hStream) {
  REQUIRE_DRIVER();
  return object_destroy(OBJECT_STREAM, hStream) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

// ---------------------------------------------------------------- values in memory

// The 32 bits of device memory at an address, NULL where there are none.
static cuuint32_t *value_at(CUdeviceptr address) {
  struct memory *memory = address % sizeof(cuuint32_t) ? NULL : memory_at(address);
  return memory && memory->device && !memory->denied ? (cuuint32_t *)address : NULL;
}

// cuda.h, CUstreamWaitValue_flags. What is gone meanwhile holds nothing up.
static bool still_waits(struct stream *stream) {
  if (!stream || !stream->awaited) return false;
  memory_lock();
  const cuuint32_t *at = value_at(stream->awaited);
  cuuint32_t found = at ? __atomic_load_n(at, __ATOMIC_ACQUIRE) : stream->value;
  memory_unlock();
  bool came = stream->flags == CU_STREAM_WAIT_VALUE_EQ    ? found == stream->value
              : stream->flags == CU_STREAM_WAIT_VALUE_AND ? found & stream->value
                                                          : (int32_t)(found - stream->value) >= 0;
  if (came || !at) stream->awaited = 0;
  return stream->awaited;
}

// Default streams, and a second wait in a row, are not simulated.
CUresult CUDAAPI cuStreamWaitValue32_v2(CUstream stream, CUdeviceptr addr, cuuint32_t value,
                                        unsigned int flags) {
  REQUIRE_CONTEXT(context);
  if (!stream_valid(stream)) return CUDA_ERROR_INVALID_HANDLE;
  struct stream *waiting = stream_of(stream);
  if (!waiting || flags > CU_STREAM_WAIT_VALUE_AND || still_waits(waiting))
    return CUDA_ERROR_NOT_SUPPORTED;
  memory_lock();
  bool there = value_at(addr);
  memory_unlock();
  if (!there) return CUDA_ERROR_INVALID_VALUE;
  waiting->awaited = addr;
  waiting->value = value;
  waiting->flags = flags;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuStreamWriteValue32_v2(CUstream stream, CUdeviceptr addr, cuuint32_t value,
                                         unsigned int flags) {
  REQUIRE_CONTEXT(context);
  if (!stream_valid(stream)) return CUDA_ERROR_INVALID_HANDLE;
  if (flags > CU_STREAM_WRITE_VALUE_NO_MEMORY_BARRIER) return CUDA_ERROR_INVALID_VALUE;
  if (still_waits(stream_of(stream))) return CUDA_ERROR_NOT_SUPPORTED;
  memory_lock();
  cuuint32_t *at = value_at(addr);
  // Measured: not to memory of a pool, its exporter's own neither.
  if (at && (memory_at(addr)->kind == MEMORY_POOLED || memory_at(addr)->kind == MEMORY_BORROWED))
    at = NULL;
  if (at && !machine_fault(&memory_at(addr)->device->gpu, "loses-signals"))
    __atomic_store_n(at, value, __ATOMIC_RELEASE);
  memory_unlock();
  return at ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult CUDAAPI cuStreamQuery(CUstream hStream) {
  REQUIRE_CONTEXT(context);
  if (!stream_valid(hStream)) return CUDA_ERROR_INVALID_HANDLE;
  return still_waits(stream_of(hStream)) ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS;
}

CUresult CUDAAPI cuStreamSynchronize(CUstream hStream) {
  CUresult result;
  while ((result = cuStreamQuery(hStream)) == CUDA_ERROR_NOT_READY) {
    struct timespec pause = {.tv_nsec = 1000000};
    nanosleep(&pause, NULL);
  }
  return result;
}

CUresult CUDAAPI cuStreamWaitEvent(CUstream hStream, CUevent hEvent, unsigned int Flags) {
  REQUIRE_CONTEXT(context);
  if (Flags > CU_EVENT_WAIT_EXTERNAL) return CUDA_ERROR_INVALID_VALUE;
  bool valid = stream_valid(hStream) && object_is(OBJECT_EVENT, hEvent);
  return valid ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

// Managed memory is always everybody's here.
CUresult CUDAAPI cuStreamAttachMemAsync(CUstream hStream, CUdeviceptr dptr, size_t length,
                                        unsigned int flags) {
  REQUIRE_CONTEXT(context);
  (void)length;
  (void)flags;
  if (!stream_valid(hStream)) return CUDA_ERROR_INVALID_HANDLE;
  struct memory *memory = memory_at(dptr);
  return memory && memory->kind == MEMORY_MANAGED ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

// ---------------------------------------------------------------- events

struct event *event_of(CUevent handle) {
  return object_is(OBJECT_EVENT, handle) ? (struct event *)handle : NULL;
}

struct event *event_make(struct device *device, unsigned flags) {
  struct event *event = object_create(OBJECT_EVENT, sizeof *event);
  if (!event) return NULL;
  event->flags = flags;
  event->device = device;
  return event;
}

void event_record(struct event *event) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  event->recorded = (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

CUresult CUDAAPI cuEventCreate(CUevent *phEvent, unsigned int Flags) {
  REQUIRE_CONTEXT(context);
  bool interprocess = Flags & CU_EVENT_INTERPROCESS;
  if (!phEvent || (interprocess && !(Flags & CU_EVENT_DISABLE_TIMING)))
    return CUDA_ERROR_INVALID_VALUE;
  struct event *event = event_make(context->device, Flags);
  if (!event) return CUDA_ERROR_OUT_OF_MEMORY;
  *phEvent = (CUevent)event;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuEventDestroy_v2(CUevent hEvent) {
  REQUIRE_DRIVER();
  struct event *event = event_of(hEvent);
  if (event && event->id.number) allocation_remove(&event->device->gpu, event->id);
  return object_destroy(OBJECT_EVENT, hEvent) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult CUDAAPI cuEventRecord(CUevent hEvent, CUstream hStream) {
  REQUIRE_CONTEXT(context);
  struct event *event = event_of(hEvent);
  if (!event || !stream_valid(hStream)) return CUDA_ERROR_INVALID_HANDLE;
  event_record(event);
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuEventQuery(CUevent hEvent) {
  REQUIRE_CONTEXT(context);
  return event_of(hEvent) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

SAME(cuEventSynchronize, cuEventQuery);

// cuda.h: CUDA_ERROR_INVALID_HANDLE if one of the two was never recorded or has no timing.
CUresult CUDAAPI cuEventElapsedTime_v2(float *pMilliseconds, CUevent hStart, CUevent hEnd) {
  REQUIRE_CONTEXT(context);
  struct event *start = event_of(hStart), *end = event_of(hEnd);
  if (!pMilliseconds) return CUDA_ERROR_INVALID_VALUE;
  if (!start || !end || start->recorded == 0 || end->recorded == 0 ||
      ((start->flags | end->flags) & CU_EVENT_DISABLE_TIMING))
    return CUDA_ERROR_INVALID_HANDLE;
  *pMilliseconds = (float)(end->recorded - start->recorded);
  return CUDA_SUCCESS;
}

SAME(cuEventElapsedTime, cuEventElapsedTime_v2);
