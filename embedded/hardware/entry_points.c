// Looking up functions by name (cuda.h, "Driver Entry Point Access").
#include <string.h>

#include "driver.h"

struct entry_point {
  const char *name;  // as the caller asks: without the version
  int since;         // CUDA version from which on the symbol is meant; 0: there is one only
  void (*function)(void);
};

// Generated from cudaTypedefs.h: every name with each of its versions. The symbols get names of
// their own here, because cuda.h renames many.
#define ENTRY_POINT(name, since, symbol) extern EXPORT void entry_##symbol(void) __asm__(#symbol);
#include "entry_points.inc"
#undef ENTRY_POINT

static const struct entry_point entry_points[] = {
#define ENTRY_POINT(name, since, symbol) {#name, since, entry_##symbol},
#include "entry_points.inc"
#undef ENTRY_POINT
};

// cuda.h: success with a NULL pointer if there is no such function or none for this CUDA version.
// The variants for per-thread default streams are no others: all work is done when a call returns.
CUresult CUDAAPI cuGetProcAddress_v2(const char *symbol, void **pfn, int cudaVersion,
                                     cuuint64_t flags,
                                     CUdriverProcAddressQueryResult *symbolStatus) {
  (void)flags;
  if (!symbol || !pfn) return CUDA_ERROR_INVALID_VALUE;
  const struct entry_point *best = NULL;
  bool known = false;
  for (size_t i = 0; i < sizeof entry_points / sizeof *entry_points; i++) {
    const struct entry_point *candidate = &entry_points[i];
    if (strcmp(candidate->name, symbol) != 0) continue;
    known = true;
    if (candidate->since <= cudaVersion && (!best || candidate->since > best->since))
      best = candidate;
  }
  *pfn = best ? (void *)best->function : NULL;
  if (symbolStatus)
    *symbolStatus = best    ? CU_GET_PROC_ADDRESS_SUCCESS
                    : known ? CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT
                            : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
  return CUDA_SUCCESS;
}
