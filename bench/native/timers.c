#include "timers.h"

#include <stdio.h>
#include <stdlib.h>

static struct timer **heap; /* from 1 */
static size_t heap_size, heap_room;

void *must(void *memory)
{
    if (!memory) {
        perror("upstream");
        exit(1);
    }
    return memory;
}

static void put(size_t slot, struct timer *timer)
{
    heap[slot] = timer;
    timer->slot = slot;
}

static void settle(size_t slot)
{
    struct timer *moving = heap[slot];
    while (slot > 1 && heap[slot / 2]->due_ns > moving->due_ns) {
        put(slot, heap[slot / 2]);
        slot /= 2;
    }
    for (size_t child; (child = slot * 2) <= heap_size; slot = child) {
        if (child < heap_size && heap[child + 1]->due_ns < heap[child]->due_ns)
            child++;
        if (heap[child]->due_ns >= moving->due_ns)
            break;
        put(slot, heap[child]);
    }
    put(slot, moving);
}

struct timer *timer_first(void)
{
    return heap_size ? heap[1] : NULL;
}

void timer_add(struct timer *timer)
{
    if (heap_size + 2 > heap_room) {
        heap_room = heap_room ? heap_room * 2 : 1024;
        heap = must(realloc(heap, heap_room * sizeof *heap));
    }
    put(++heap_size, timer);
    settle(heap_size);
}

void timer_postpone(struct timer *timer, uint64_t by_ns)
{
    timer->due_ns += by_ns;
    settle(timer->slot);
}

void timer_remove(struct timer *timer)
{
    size_t slot = timer->slot;
    if (!slot)
        return;
    timer->slot = 0;
    struct timer *last = heap[heap_size--];
    if (last == timer)
        return;
    put(slot, last);
    settle(slot);
}
