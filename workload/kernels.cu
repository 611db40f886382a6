// The kernels of the workload: one source for GPUs (NVRTC, build time) and for the simulated
// libcuda (included by embedded/hardware, compiled for the CPU). No #include, no shared memory.
//
// KERNEL and u64 are defined by whoever includes this file for the CPU; NVRTC takes these:
#ifndef KERNEL
#define KERNEL extern "C" __global__
typedef unsigned long long u64;
#endif

// A thread owns WORDS_PER_THREAD consecutive words: coalesced enough on a GPU, cache-friendly on a
// CPU. Launch with gridDim.x = ceil(n / (blockDim.x * WORDS_PER_THREAD)).
#define WORDS_PER_THREAD 8
// Results are spread over SLOTS words so that blocks rarely meet on one atomic; the host adds them up.
#define SLOTS 1024

// The pattern: word i of a buffer filled with `seed` (splitmix64's finaliser of seed + i).
__device__ static inline u64 pattern(u64 seed, u64 i) {
  u64 z = seed + i + 0x9E3779B97F4A7C15ull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

// Words [first, first + n) of the buffer at `words` become pattern(seed, index in the buffer).
KERNEL void fill(u64 *words, u64 first, u64 n, u64 seed) {
  u64 begin = ((u64)blockIdx.x * blockDim.x + threadIdx.x) * WORDS_PER_THREAD;
  u64 end = begin + WORDS_PER_THREAD < n ? begin + WORDS_PER_THREAD : n;
  for (u64 i = begin; i < end; i++) words[first + i] = pattern(seed, first + i);
}

// wrong[0 .. SLOTS): how many of the words [first, first + n) differ from the pattern (to be summed).
// wrong[SLOTS]: the lowest differing index; the caller presets it to ~0.
// wrong[SLOTS + 1 .. 2 * SLOTS + 1): the checksum, sum of word * (2 * index + 1) modulo 2^64 (to be summed).
KERNEL void verify(const u64 *words, u64 first, u64 n, u64 seed, u64 *wrong) {
  u64 begin = ((u64)blockIdx.x * blockDim.x + threadIdx.x) * WORDS_PER_THREAD;
  u64 end = begin + WORDS_PER_THREAD < n ? begin + WORDS_PER_THREAD : n;
  if (begin >= end) return;
  u64 differing = 0, sum = 0;
  for (u64 i = begin; i < end; i++) {
    u64 word = words[first + i];
    sum += word * (2 * (first + i) + 1);
    if (word != pattern(seed, first + i)) {
      differing++;
      atomicMin(wrong + SLOTS, first + i);
    }
  }
  if (differing) atomicAdd(wrong + blockIdx.x % SLOTS, differing);
  atomicAdd(wrong + SLOTS + 1 + blockIdx.x % SLOTS, sum);
}
