#include "replies.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_REPLIES = 64,
    MAX_EVENTS = 100000,
    PROMPT_TOKENS = 12,
    ANSWER_TOKENS = 64,
    THOUGHT_TOKENS = 21
};

static const char JSON_HEAD[] =
    "HTTP/1.1 %d %s\r\n"
    "Content-Type: application/json; charset=UTF-8\r\n"
    "Vary: Origin, X-Origin, Referer\r\n"
    "Server-Timing: gfet4t7; dur=1\r\n"
    "Transfer-Encoding: chunked\r\n\r\n"
    "%zx\r\n%s\r\n0\r\n\r\n";

static const char STREAM_HEAD[] =
    "HTTP/1.1 200 OK\r\n"
    "Content-Type: text/event-stream\r\n"
    "Content-Disposition: attachment\r\n"
    "Vary: Origin, X-Origin, Referer\r\n"
    "Server-Timing: gfet4t7; dur=1\r\n"
    "Transfer-Encoding: chunked\r\n\r\n";

static const char EVENT[] =
    "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"%s\"}],\"role\": \"model\"},"
    "%s\"index\": 0}],\"usageMetadata\": {\"promptTokenCount\": %d,\"candidatesTokenCount\": %zu,"
    "\"totalTokenCount\": %zu,\"promptTokensDetails\": [{\"modality\": \"TEXT\",\"tokenCount\": %d}],"
    "\"thoughtsTokenCount\": %d},\"modelVersion\": \"%s\",\"responseId\": \"benchResponse0001\"}\r\n\r\n";

static const char UNARY[] =
    "{\n  \"candidates\": [\n    {\n      \"content\": {\n        \"parts\": [\n          {\n"
    "            \"text\": \"%s\"\n          }\n        ],\n        \"role\": \"model\"\n      },\n"
    "      \"finishReason\": \"STOP\",\n      \"index\": 0\n    }\n  ],\n"
    "  \"usageMetadata\": {\n    \"promptTokenCount\": %d,\n    \"candidatesTokenCount\": %d,\n"
    "    \"totalTokenCount\": %d,\n    \"promptTokensDetails\": [\n      {\n"
    "        \"modality\": \"TEXT\",\n        \"tokenCount\": %d\n      }\n    ],\n"
    "    \"thoughtsTokenCount\": %d\n  },\n  \"modelVersion\": \"%s\",\n"
    "  \"responseId\": \"benchResponse0001\"\n}\n";

static const char OPENAI_EVENT[] =
    "data: {\"id\":\"chatcmpl-benchResponse0001\",\"object\":\"chat.completion.chunk\","
    "\"created\":1767225600,\"model\":\"%s\",\"system_fingerprint\":\"fp_bench\",\"choices\":"
    "[{\"index\":0,\"delta\":{\"content\":\"%s\"},\"logprobs\":null,\"finish_reason\":%s}],"
    "\"usage\":null}\n\n";

static const char OPENAI_END[] =
    "data: {\"id\":\"chatcmpl-benchResponse0001\",\"object\":\"chat.completion.chunk\","
    "\"created\":1767225600,\"model\":\"%s\",\"system_fingerprint\":\"fp_bench\",\"choices\":[],"
    "\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":%zu,\"total_tokens\":%zu,"
    "\"completion_tokens_details\":{\"reasoning_tokens\":%d}}}\n\n"
    "data: [DONE]\n\n";

static const char OPENAI_UNARY[] =
    "{\n  \"id\": \"chatcmpl-benchResponse0001\",\n  \"object\": \"chat.completion\",\n"
    "  \"created\": 1767225600,\n  \"model\": \"%s\",\n  \"choices\": [\n    {\n"
    "      \"index\": 0,\n      \"message\": {\n        \"role\": \"assistant\",\n"
    "        \"content\": \"%s\"\n      },\n      \"logprobs\": null,\n"
    "      \"finish_reason\": \"stop\"\n    }\n  ],\n  \"usage\": {\n"
    "    \"prompt_tokens\": %d,\n    \"completion_tokens\": %d,\n    \"total_tokens\": %d,\n"
    "    \"completion_tokens_details\": {\n      \"reasoning_tokens\": %d\n    }\n  },\n"
    "  \"system_fingerprint\": \"fp_bench\"\n}\n";

/* What stands for what, and means the same to bench/peers/ferrogw.py. */
static const char *const ALIASES[][2] = {{"gemini-2.5-flash", "bench-unary"},
                                         {"gemini-2.5-flash-lite", "bench-burst"},
                                         {"gemini-2.5-pro", "bench-paced-10"},
                                         {"gemini-2.0-flash", "bench-paced-10x60"},
                                         {"gemini-2.0-flash-lite", "bench-paced-20"}};

static const char ANSWER[] =
    "A river begins as a thread of water under moss, and nobody would give it a name. It gathers "
    "rain, borrows the colour of the stones, and learns the shape of the valley by going round "
    "whatever it cannot carry away. By the time it meets the sea it has forgotten every spring. "
    "Those who live beside it measure their years by its floods and their days by its mist, and "
    "say of anything patient that it has learnt from the water.";

static const char *const WORDS[] = {" the river carries the light", " slowly under the bridge",
                                    " past the mill and the reeds,", " toward the open water"};

static struct reply replies[MAX_REPLIES];
static size_t reply_count;

static struct piece render(const char *format, ...)
{
    struct piece out = {0};
    va_list arguments;
    va_start(arguments, format);
    int size = vasprintf(&out.data, format, arguments);
    va_end(arguments);
    if (size < 0)
        abort();
    out.size = (size_t)size;
    return out;
}

static struct piece json_reply(int status, const char *reason, struct piece body)
{
    struct piece out = render(JSON_HEAD, status, reason, body.size, body.data);
    free(body.data);
    return out;
}

static struct piece gemini_event(const char *model, size_t index, int last)
{
    size_t tokens = 5 * (index + 1);
    return render(EVENT, WORDS[index % 4], last ? "\"finishReason\": \"STOP\"," : "", PROMPT_TOKENS,
                  tokens, tokens + PROMPT_TOKENS + THOUGHT_TOKENS, PROMPT_TOKENS, THOUGHT_TOKENS,
                  model);
}

/* The last one brings the usage and the end with it, in the same write. */
static struct piece openai_event(const char *model, size_t index, int last)
{
    struct piece event =
        render(OPENAI_EVENT, model, WORDS[index % 4], last ? "\"stop\"" : "null");
    if (!last)
        return event;
    size_t tokens = 5 * (index + 1) + THOUGHT_TOKENS;
    struct piece end = render(OPENAI_END, model, PROMPT_TOKENS, tokens, tokens + PROMPT_TOKENS,
                              THOUGHT_TOKENS);
    struct piece both = render("%s%s", event.data, end.data);
    free(event.data);
    free(end.data);
    return both;
}

static struct piece render_event(const struct reply *reply, size_t index)
{
    int last = index + 1 == reply->event_count;
    struct piece event = reply->dialect == OPENAI ? openai_event(reply->model, index, last)
                                                  : gemini_event(reply->model, index, last);
    struct piece out =
        render("%zx\r\n%s\r\n%s", event.size, event.data, last ? "0\r\n\r\n" : "");
    free(event.data);
    return out;
}

static struct piece render_unary(const struct reply *reply)
{
    int sum = PROMPT_TOKENS + ANSWER_TOKENS + THOUGHT_TOKENS;
    if (reply->dialect == OPENAI)
        return render(OPENAI_UNARY, reply->model, ANSWER, PROMPT_TOKENS, sum - PROMPT_TOKENS, sum,
                      THOUGHT_TOKENS);
    return render(UNARY, ANSWER, PROMPT_TOKENS, ANSWER_TOKENS, sum, PROMPT_TOKENS, THOUGHT_TOKENS,
                  reply->model);
}

static void render_burst(struct reply *reply)
{
    size_t size = reply->head.size;
    for (size_t i = 0; i < reply->event_count; i++)
        size += reply->events[i].size;
    reply->burst.data = malloc(size);
    if (!reply->burst.data)
        abort();
    memcpy(reply->burst.data, reply->head.data, reply->head.size);
    reply->burst.size = reply->head.size;
    for (size_t i = 0; i < reply->event_count; i++) {
        memcpy(reply->burst.data + reply->burst.size, reply->events[i].data, reply->events[i].size);
        reply->burst.size += reply->events[i].size;
    }
}

/* Reads "xN" at the end of a model name; no tail at all means the default. */
static int parse_tail(const char *tail, size_t fallback, size_t *count)
{
    char *end;
    *count = fallback;
    if (*tail == '\0')
        return 1;
    if (*tail != 'x')
        return 0;
    *count = strtoul(tail + 1, &end, 10);
    return *end == '\0' && *count > 0 && *count <= MAX_EVENTS;
}

static int parse_model(struct reply *reply)
{
    const char *name = reply->model;
    char *tail;
    for (size_t i = 0; i < sizeof ALIASES / sizeof *ALIASES; i++)
        if (strcmp(name, ALIASES[i][0]) == 0)
            name = ALIASES[i][1];
    if (strncmp(name, "bench-unary", 11) == 0 || strncmp(name, "bench-burst", 11) == 0)
        return parse_tail(name + 11, 20, &reply->event_count);
    if (strncmp(name, "bench-paced-", 12) == 0) {
        unsigned long interval = strtoul(name + 12, &tail, 10);
        reply->interval_ns = interval * 1000000UL;
        return interval > 0 && interval < 60000 && parse_tail(tail, 20, &reply->event_count);
    }
    if (strncmp(name, "bench-slow", 10) == 0) {
        reply->interval_ns = 200000000UL;
        return parse_tail(name + 10, 60, &reply->event_count);
    }
    return 0;
}

const struct reply *reply_for_model(const char *name, size_t size, enum dialect dialect)
{
    for (size_t i = 0; i < reply_count; i++)
        if (replies[i].dialect == dialect && strlen(replies[i].model) == size &&
            memcmp(replies[i].model, name, size) == 0)
            return &replies[i];
    if (reply_count == MAX_REPLIES || size >= sizeof replies[0].model)
        return NULL;
    struct reply *reply = &replies[reply_count];
    memset(reply, 0, sizeof *reply);
    memcpy(reply->model, name, size);
    reply->dialect = dialect;
    if (!parse_model(reply))
        return NULL;
    reply->unary = json_reply(200, "OK", render_unary(reply));
    reply->head = render("%s", STREAM_HEAD);
    reply->events = calloc(reply->event_count, sizeof *reply->events);
    if (!reply->events)
        abort();
    for (size_t i = 0; i < reply->event_count; i++)
        reply->events[i] = render_event(reply, i);
    if (reply->interval_ns == 0)
        render_burst(reply);
    reply_count++;
    return reply;
}

static struct piece render_model(const char *name, size_t size)
{
    return render("{\"name\": \"models/%.*s\", \"version\": \"001\", \"displayName\": \"%.*s\", "
                  "\"inputTokenLimit\": 1048576, \"outputTokenLimit\": 65536, "
                  "\"supportedGenerationMethods\": [\"generateContent\", \"countTokens\"], "
                  "\"temperature\": 1, \"topP\": 0.95, \"topK\": 64, \"maxTemperature\": 2}",
                  (int)size, name, (int)size, name);
}

struct piece reply_model(const char *name, size_t size)
{
    return json_reply(200, "OK", render_model(name, size));
}

struct piece reply_model_list(void)
{
    static const char *const names[] = {"bench-unary", "bench-burst", "bench-paced-10",
                                        "bench-paced-20", "bench-slow"};
    struct piece list = render("{\"models\": [");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct piece model = render_model(names[i], strlen(names[i]));
        struct piece longer = render("%s%s%s", list.data, i ? ", " : "", model.data);
        free(model.data);
        free(list.data);
        list = longer;
    }
    struct piece whole = render("%s]}", list.data);
    free(list.data);
    return json_reply(200, "OK", whole);
}

struct piece reply_token_count(void)
{
    return json_reply(200, "OK", render("{\"totalTokens\": %d}", PROMPT_TOKENS));
}

struct piece reply_not_found(void)
{
    return json_reply(404, "Not Found",
                      render("{\"error\": {\"code\": 404, \"message\": \"no such model or method\", "
                             "\"status\": \"NOT_FOUND\"}}"));
}
