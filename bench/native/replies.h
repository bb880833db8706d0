/* What the upstream answers, rendered once for each model name and then only copied. */
#ifndef BENCH_REPLIES_H
#define BENCH_REPLIES_H

#include <stddef.h>
#include <stdint.h>

struct piece {
    char *data;
    size_t size;
};

/* In which API's form a reply is: Gemini's own, or OpenAI's chat completions. */
enum dialect { GEMINI, OPENAI };

struct reply {
    char model[64];
    enum dialect dialect;
    uint64_t interval_ns;  /* between the events of a stream; 0 = all in one write */
    size_t event_count;
    struct piece unary;    /* a whole answer */
    struct piece head;     /* the status line and headers of a stream */
    struct piece *events;  /* HTTP chunks; the last one also ends the body */
    struct piece burst;    /* head and all events, for interval 0 */
};

/* The reply for a model name of this grammar, or NULL:
 *   bench-unary | bench-burst[xN] | bench-paced-MS[xN] | bench-slow[xN]
 * N is the number of events: 20 unless told, 60 for bench-slow (200 ms apart). A few of Gemini's
 * own names stand for some of these, for gateways that serve only models that they know. */
const struct reply *reply_for_model(const char *name, size_t size, enum dialect dialect);

struct piece reply_model_list(void);
struct piece reply_model(const char *name, size_t size);
struct piece reply_token_count(void);
struct piece reply_not_found(void);

#endif
