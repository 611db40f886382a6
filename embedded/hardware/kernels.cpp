// The workload's kernels for the CPU: the same source that NVRTC compiles for GPUs.
//
// The source is included into a class, so that threadIdx and its like are members of an object that
// the compiler keeps in registers. No C++ library is used: nothing of one is linked.
#include "kernels.h"

#include <string.h>

typedef unsigned long long u64;

#define KERNEL inline __attribute__((always_inline))
#define __device__
#define __forceinline__ inline
#define __restrict__ __restrict

namespace {

u64 atomicAdd(u64 *address, u64 value) {
  return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
}

u64 atomicMin(u64 *address, u64 value) {
  u64 old = __atomic_load_n(address, __ATOMIC_RELAXED);
  while (value < old && !__atomic_compare_exchange_n(address, &old, value, true, __ATOMIC_RELAXED,
                                                     __ATOMIC_RELAXED)) {
  }
  return old;
}

struct Thread {
  dim3 threadIdx, blockIdx, blockDim, gridDim;
#include "kernels.cu"
};

template <class Type>
Type read(const char *from) {
  Type value;
  memcpy(&value, from, sizeof value);
  return value;
}

template <class Index, Index...>
struct Indices {};

template <auto Kernel>
struct Launcher;

template <class... Arguments, void (Thread::*Kernel)(Arguments...)>
struct Launcher<Kernel> {
  static constexpr size_t count = sizeof...(Arguments);
  static constexpr size_t sizes[count] = {sizeof(Arguments)...};

  // CUDA C++ Programming Guide, driver API: each argument at the next multiple of its alignment.
  struct Layout {
    size_t offsets[count];
    size_t bytes;
  };
  static constexpr Layout layout() {
    const size_t alignments[] = {alignof(Arguments)...};
    Layout result{};
    for (size_t i = 0; i < count; i++) {
      result.offsets[i] = (result.bytes + alignments[i] - 1) / alignments[i] * alignments[i];
      result.bytes = result.offsets[i] + sizes[i];
    }
    return result;
  }
  static constexpr Layout placed = layout();

  static void run(const void *parameters, dim3 grid, dim3 block, uint64_t first, uint64_t end) {
    run_blocks(__make_integer_seq<Indices, size_t, count>(), static_cast<const char *>(parameters),
               grid, block, first, end);
  }

  template <size_t... I>
  static void run_blocks(Indices<size_t, I...>, const char *parameters, dim3 grid, dim3 block,
                         uint64_t first, uint64_t end) {
    for (uint64_t number = first; number < end; number++)
      run_block(grid, block, number, read<Arguments>(parameters + placed.offsets[I])...);
  }

  static void run_block(dim3 grid, dim3 block, uint64_t number, Arguments... arguments) {
    Thread thread;
    thread.gridDim = grid;
    thread.blockDim = block;
    thread.blockIdx = {unsigned(number % grid.x), unsigned(number / grid.x % grid.y),
                       unsigned(number / grid.x / grid.y)};
    for (unsigned z = 0; z < block.z; z++)
      for (unsigned y = 0; y < block.y; y++)
        for (unsigned x = 0; x < block.x; x++) {
          thread.threadIdx = {x, y, z};
          (thread.*Kernel)(arguments...);
        }
  }
};

}  // namespace

extern "C" const struct kernel kernels[] = {
#define ENTRY(name)                         \
  {#name,                                   \
   int(Launcher<&Thread::name>::count),     \
   Launcher<&Thread::name>::placed.offsets, \
   Launcher<&Thread::name>::sizes,          \
   Launcher<&Thread::name>::placed.bytes,   \
   &Launcher<&Thread::name>::run},
#include "kernel_names.inc"  // generated: ENTRY(fill) ENTRY(verify) …
#undef ENTRY
    {nullptr, 0, nullptr, nullptr, 0, nullptr}};
