/* A load client far cheaper than what it measures: one thread, epoll, HTTP/1.1 or gRPC.
 * Holds N exchanges open (closed loop) or starts R of them a second (open loop, at random
 * moments from a fixed seed), checks every answer, and prints one line of JSON at the end. */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 256, LINGER_SECONDS = 2 };

struct options options = {.concurrency = 1, .connections = 1, .timeout = 60};
uint64_t bytes_received;

static int epoll_fd, timer_fd;
static const struct protocol *protocol;
static struct exchange *exchanges;
static size_t started, ended, failed, messages, peak_open;
static uint64_t next_start_ns;
static char first_error[256];

uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000UL + (uint64_t)now.tv_nsec;
}

void *must(void *memory)
{
    if (!memory) {
        perror("load");
        exit(1);
    }
    return memory;
}

/* Connects over loopback, where a blocking connect returns at once. Returns -1 on failure. */
int open_connection(struct source *source)
{
    int on = 1;
    source->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(source->fd, (struct sockaddr *)&options.address, sizeof options.address))
        return -1;
    setsockopt(source->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = source};
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, source->fd, &event);
}

void watch(struct source *source, int wants_write)
{
    struct epoll_event event = {.events = EPOLLIN | (wants_write ? EPOLLOUT : 0U),
                                .data.ptr = source};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, source->fd, &event);
}

void exchange_message(struct exchange *exchange, int counts_as_first)
{
    exchange->messages++;
    messages++;
    if (counts_as_first && !exchange->first_ns)
        exchange->first_ns = now_ns();
}

void exchange_end(struct exchange *exchange, const char *error)
{
    ended++;
    if (!error && exchange->messages < options.min_messages)
        error = "fewer messages than expected";
    if (!error && !exchange->first_ns)
        error = "no message with the awaited field";
    if (!error)
        return;
    failed++;
    if (!*first_error)
        for (size_t i = 0; i + 1 < sizeof first_error && error[i]; i++)
            first_error[i] = strchr("\"\\\r\n\t", error[i]) ? ' ' : error[i];
}

/* The time to the next start: exponential, so that streams do not fall into step. */
static uint64_t draw_gap_ns(void)
{
    static uint64_t state = 0x9e3779b97f4a7c15UL;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    double uniform = ((double)(state >> 11) + 1) / 9007199254740993.0;
    return (uint64_t)(-log(uniform) / options.rate * 1e9);
}

static void start_one(uint64_t planned_ns)
{
    struct exchange *exchange = &exchanges[started++];
    exchange->planned_ns = planned_ns;
    if (started - ended > peak_open)
        peak_open = started - ended;
    protocol->start(exchange);
}

static void start_what_is_due(void)
{
    if (options.rate > 0) {
        while (started < options.total && next_start_ns <= now_ns()) {
            uint64_t planned_ns = next_start_ns;
            next_start_ns += draw_gap_ns();
            start_one(planned_ns);
        }
        return;
    }
    while (started < options.total && started - ended < options.concurrency)
        start_one(now_ns());
}

static void arm_timer(uint64_t deadline_ns)
{
    static uint64_t armed_ns;
    uint64_t due = deadline_ns;
    if (options.rate > 0 && started < options.total && next_start_ns < due)
        due = next_start_ns;
    if (due == armed_ns)
        return;
    struct itimerspec at = {.it_value = {(time_t)(due / 1000000000UL), (long)(due % 1000000000UL)}};
    timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
    armed_ns = due;
}

static void clear_timer(struct source *source, uint32_t events)
{
    uint64_t expirations;
    (void)events;
    if (read(source->fd, &expirations, sizeof expirations) < 0 && errno != EAGAIN)
        exit(1);
}

static void report(double seconds)
{
    struct timespec cpu;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    if (ended < options.total && !*first_error)
        strcpy(first_error, "still open when the time was up");
    printf("{\"total\": %zu, \"errors\": %zu, \"first_error\": \"%s\", \"messages\": %zu, "
           "\"bytes\": %lu, \"seconds\": %.6f, \"cpu_us\": %.1f, \"peak_open\": %zu, "
           "\"first_us\": [",
           options.total, failed + (options.total - ended), first_error, messages, bytes_received,
           seconds, (double)cpu.tv_sec * 1e6 + (double)cpu.tv_nsec / 1e3, peak_open);
    const char *comma = "";
    for (size_t i = 0; i < started; i++) {
        if (!exchanges[i].first_ns)
            continue;
        printf("%s%.1f", comma, (double)(exchanges[i].first_ns - exchanges[i].planned_ns) / 1e3);
        comma = ", ";
    }
    printf("]}\n");
}

static void run(void)
{
    struct source timer = {.handle = clear_timer};
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    timer_fd = timer.fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &timer};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, timer_fd, &event);
    protocol->prepare();
    uint64_t begin_ns = next_start_ns = now_ns();
    uint64_t deadline_ns = begin_ns + (uint64_t)(options.timeout * 1e9);
    while (ended < options.total && now_ns() < deadline_ns) {
        struct epoll_event events[BATCH];
        start_what_is_due();
        arm_timer(deadline_ns);
        int ready = epoll_wait(epoll_fd, events, BATCH, LINGER_SECONDS * 1000);
        for (int i = 0; i < ready; i++) {
            struct source *source = events[i].data.ptr;
            source->handle(source, events[i].events);
        }
    }
    report((double)(now_ns() - begin_ns) / 1e9);
}

static void read_body(const char *name)
{
    FILE *file = must(fopen(name, "rb"));
    char *body = must(malloc(1 << 20));
    options.body_size = fread(body, 1, 1 << 20, file);
    options.body = body;
    fclose(file);
}

static void read_address(const char *text)
{
    const char *colon = must(strchr(text, ':'));
    char host[64] = {0};
    memcpy(host, text, (size_t)(colon - text) < 63 ? (size_t)(colon - text) : 63);
    options.authority = text;
    options.address.sin_family = AF_INET;
    options.address.sin_port = htons((uint16_t)atoi(colon + 1));
    if (inet_pton(AF_INET, host, &options.address.sin_addr) != 1) {
        fprintf(stderr, "load: --connect takes an IPv4 address and a port, not %s\n", text);
        exit(2);
    }
}

static void read_options(int count, char **arguments)
{
    static const struct option names[] = {
        {"proto", 1, 0, 'p'},        {"connect", 1, 0, 'a'},     {"path", 1, 0, 'u'},
        {"body", 1, 0, 'b'},         {"total", 1, 0, 'n'},       {"concurrency", 1, 0, 'c'},
        {"rate", 1, 0, 'r'},         {"connections", 1, 0, 'k'}, {"min-messages", 1, 0, 'm'},
        {"first-field", 1, 0, 'f'},  {"timeout", 1, 0, 't'},     {0, 0, 0, 0}};
    for (int name; (name = getopt_long(count, arguments, "", names, NULL)) != -1;) {
        switch (name) {
        case 'p': protocol = strcmp(optarg, "grpc") ? &http_protocol : &grpc_protocol; break;
        case 'a': read_address(optarg); break;
        case 'u': options.path = optarg; break;
        case 'b': read_body(optarg); break;
        case 'n': options.total = strtoul(optarg, NULL, 10); break;
        case 'c': options.concurrency = strtoul(optarg, NULL, 10); break;
        case 'r': options.rate = strtod(optarg, NULL); break;
        case 'k': options.connections = strtoul(optarg, NULL, 10); break;
        case 'm': options.min_messages = strtoul(optarg, NULL, 10); break;
        case 'f': options.first_field = (unsigned)strtoul(optarg, NULL, 10); break;
        case 't': options.timeout = strtod(optarg, NULL); break;
        default: exit(2);
        }
    }
    if (!protocol || !options.authority || !options.path || !options.body || !options.total) {
        fprintf(stderr, "load: --proto, --connect, --path, --body and --total are needed\n");
        exit(2);
    }
}

int main(int count, char **arguments)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    read_options(count, arguments);
    exchanges = must(calloc(options.total, sizeof *exchanges));
    run();
    return 0;
}
