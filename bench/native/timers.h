/* Timers in a binary heap, the one that is due first on top. */
#ifndef BENCH_TIMERS_H
#define BENCH_TIMERS_H

#include <stddef.h>
#include <stdint.h>

struct timer {
    uint64_t due_ns;
    void *owner;
    size_t slot; /* place in the heap, from 1; 0 = not in it */
};

/* Returns its argument, or ends the process when that is NULL. */
void *must(void *memory);

struct timer *timer_first(void); /* NULL = none */
void timer_add(struct timer *timer);
void timer_postpone(struct timer *timer, uint64_t by_ns);
void timer_remove(struct timer *timer); /* does nothing when it is not in the heap */

#endif
