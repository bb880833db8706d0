/* The load client's parts: load.c plans the exchanges, load_http.c and load_grpc.c speak. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

struct options {
    struct sockaddr_in address;
    const char *authority;
    const char *path;
    const char *body;
    size_t body_size;
    size_t total;        /* exchanges to make */
    size_t concurrency;  /* closed loop: as many at a time */
    double rate;         /* open loop, a second; 0 = closed loop */
    size_t connections;  /* gRPC only; HTTP/1.1 takes one for each open exchange */
    size_t min_messages; /* fewer in an answer is an error */
    unsigned first_field; /* gRPC: the field whose presence makes a message "first"; 0 = any */
    double timeout;      /* seconds for the whole run */
};

/* One request and its answer. */
struct exchange {
    uint64_t planned_ns; /* when it was due to start, so that a late start counts as waiting */
    uint64_t first_ns;   /* when its first message had come; 0 = none yet */
    size_t messages;
};

/* Whatever epoll watches; `handle` is given the events that came. */
struct source {
    void (*handle)(struct source *source, uint32_t events);
    int fd;
};

struct protocol {
    void (*prepare)(void);                  /* once, before the first exchange */
    void (*start)(struct exchange *exchange);
};

extern struct options options;
extern uint64_t bytes_received;
extern const struct protocol http_protocol, grpc_protocol;

uint64_t now_ns(void);
void *must(void *memory);
int open_connection(struct source *source);
void watch(struct source *source, int wants_write);
void exchange_message(struct exchange *exchange, int counts_as_first);
void exchange_end(struct exchange *exchange, const char *error);

#endif
