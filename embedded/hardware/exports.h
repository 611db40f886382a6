// Entry points that the headers declare only to NVIDIA's own build: older versions of a function.
#pragma once

#define EXPORT __attribute__((visibility("default")))

// `name` does what `other`, which this file defines, does. The headers rename many an older name
// to the current one, hence the symbol's name in quotes.
#define SAME(name, other) \
  extern EXPORT __typeof__(other) same_##name __asm__(#name) __attribute__((alias(#other)))
