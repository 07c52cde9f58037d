// What a load client reads out of the frames and answers of a hub, and what it says of what it measured.
#ifndef BENCH_FIELDS_H
#define BENCH_FIELDS_H
#include "common.h"

#define TOLD_BYTES 128

// Copies the string behind `name`; fails if there is none.
static inline int copy_field(const char *text, int length, const char *name, char *to, int room) {
    const char *value = memmem(text, length, name, strlen(name));
    const char *end = value ? memchr(value + strlen(name), '"', text + length - value - strlen(name)) : NULL;
    if (!end) fail("without %s: %.*s", name, length, text);
    int size = end - value - strlen(name);
    if (size >= room) fail("an endless %s: %.*s", name, length, text);
    memcpy(to, value + strlen(name), size);
    to[size] = 0;
    return size;
}

// The number in the cursor: the place in the hub's one sequence.
static inline long sequence_of(const char *text, int length) {
    char cursor[TOLD_BYTES];
    copy_field(text, length, "\"cursor\":\"", cursor, sizeof cursor);
    const char *dash = strrchr(cursor, '-');
    return dash ? atol(dash + 1) : 0;
}

static inline int ascending(const void *one, const void *other) {
    uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
    return (a > b) - (a < b);
}

// As a member of a JSON object; sorts them.
static inline void say_parts(const char *name, uint32_t *values, int count) {
    if (!count) return;
    qsort(values, count, sizeof *values, ascending);
    printf("\"%s\":{\"p50\":%u,\"p99\":%u,\"max\":%u},", name, values[(int)((count - 1) * 0.5)],
           values[(int)((count - 1) * 0.99)], values[count - 1]);
}

#endif
