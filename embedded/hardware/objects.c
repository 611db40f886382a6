// Handles of streams, events, modules and functions: see driver.h.
#include <pthread.h>
#include <stdlib.h>

#include "driver.h"

static pthread_mutex_t objects_lock = PTHREAD_MUTEX_INITIALIZER;
static struct object *objects;

void *object_create(enum object_kind kind, size_t size) {
  struct object *object = calloc(1, size);
  if (!object) return NULL;
  object->kind = kind;
  pthread_mutex_lock(&objects_lock);
  object->next = objects;
  objects = object;
  pthread_mutex_unlock(&objects_lock);
  return object;
}

// The link that points to the object, or NULL. The caller holds the lock.
static struct object **link_to(enum object_kind kind, const void *handle) {
  for (struct object **link = &objects; *link; link = &(*link)->next)
    if (*link == handle && (*link)->kind == kind) return link;
  return NULL;
}

bool object_is(enum object_kind kind, const void *handle) {
  pthread_mutex_lock(&objects_lock);
  bool found = handle && link_to(kind, handle);
  pthread_mutex_unlock(&objects_lock);
  return found;
}

bool object_destroy(enum object_kind kind, void *handle) {
  pthread_mutex_lock(&objects_lock);
  struct object **link = handle ? link_to(kind, handle) : NULL;
  if (link) *link = (*link)->next;
  pthread_mutex_unlock(&objects_lock);
  if (link) free(handle);
  return link != NULL;
}
