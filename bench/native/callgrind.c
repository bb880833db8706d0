/* Callgrind's requests, for a Python program that runs under it to call by ctypes. */
#include <valgrind/callgrind.h>

void count_from_now(void)
{
    CALLGRIND_START_INSTRUMENTATION;
}

void count_zero(void)
{
    CALLGRIND_ZERO_STATS;
}

void count_dump(const char *label)
{
    CALLGRIND_DUMP_STATS_AT(label);
}
