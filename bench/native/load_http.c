/* HTTP/1.1 with keep-alive: one connection for each open exchange, kept for the next. */
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum state { HEAD, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, LENGTH, LAST_LINE };
enum { LINE_ROOM = 16384, READ_SIZE = 65536 };

struct connection {
    struct source source; /* first: epoll's pointer is this one */
    struct exchange *exchange;
    struct connection *next_idle;
    enum state state;
    size_t left;       /* of the body or the chunk */
    size_t marked;     /* how many letters of MARK the body ended with */
    size_t line_size;
    int is_stream;
    char line[LINE_ROOM]; /* the head, or a chunk's size */
};

static const char MARK[] = "data:";
static char *request;
static size_t request_size;
static struct connection *idle;

static void http_prepare(void)
{
    int head = asprintf(&request,
                        "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"
                        "Authorization: Bearer bench\r\nx-goog-api-key: bench\r\n"
                        "Content-Length: %zu\r\n\r\n",
                        options.path, options.authority, options.body_size);
    request_size = (size_t)head + options.body_size;
    request = must(realloc(request, request_size));
    memcpy(request + head, options.body, options.body_size);
}

static void end(struct connection *connection, const char *error)
{
    struct exchange *exchange = connection->exchange;
    connection->exchange = NULL;
    if (error) {
        close(connection->source.fd); /* its memory is kept: events of this batch may name it */
        connection->source.fd = -1;
    } else {
        connection->next_idle = idle;
        idle = connection;
    }
    if (exchange)
        exchange_end(exchange, error);
}

static void read_body(struct connection *connection, const char *data, size_t size)
{
    if (!connection->is_stream) {
        if (connection->exchange->messages == 0 && size)
            exchange_message(connection->exchange, 1);
        return;
    }
    for (size_t i = 0; i < size; i++) {
        if (data[i] != MARK[connection->marked])
            connection->marked = data[i] == MARK[0];
        else if (++connection->marked == sizeof MARK - 1) {
            connection->marked = 0;
            exchange_message(connection->exchange, 1);
        }
    }
}

static const char *read_head(struct connection *connection)
{
    const char *head = connection->line;
    const char *length = strcasestr(head, "\r\ncontent-length:");
    if (strncmp(head, "HTTP/1.1 200", 12) != 0) {
        connection->line[strcspn(head, "\r")] = '\0';
        return head;
    }
    connection->is_stream = strcasestr(head, "text/event-stream") != NULL;
    connection->left = length ? strtoul(length + 17, NULL, 10) : 0;
    connection->state = length ? LENGTH : CHUNK_SIZE;
    if (!length && !strcasestr(head, "transfer-encoding: chunked"))
        return "an answer with neither a length nor chunks";
    return NULL;
}

/* Takes bytes up to the end of a line (a head ends with an empty one); 0 = it goes on. */
static int take_line(struct connection *connection, const char **data, const char *stop)
{
    const char *ending = connection->state == HEAD ? "\r\n\r\n" : "\r\n";
    size_t needed = strlen(ending);
    while (*data < stop && connection->line_size + 1 < LINE_ROOM) {
        connection->line[connection->line_size++] = *(*data)++;
        connection->line[connection->line_size] = '\0';
        if (connection->line_size >= needed &&
            memcmp(connection->line + connection->line_size - needed, ending, needed) == 0) {
            connection->line_size = 0;
            return 1;
        }
    }
    return 0;
}

static void take_data(struct connection *connection, const char **data, const char *stop)
{
    size_t size = (size_t)(stop - *data) < connection->left ? (size_t)(stop - *data)
                                                            : connection->left;
    read_body(connection, *data, size);
    *data += size;
    connection->left -= size;
}

static void parse(struct connection *connection, const char *data, const char *stop)
{
    while (data < stop && connection->exchange) {
        const char *error = NULL;
        if (connection->state == LENGTH || connection->state == CHUNK_DATA) {
            take_data(connection, &data, stop);
            if (connection->left == 0 && connection->state == LENGTH)
                end(connection, NULL);
            else if (connection->left == 0)
                connection->state = CHUNK_END;
            continue;
        }
        if (!take_line(connection, &data, stop))
            return;
        if (connection->state == HEAD) {
            error = read_head(connection);
        } else if (connection->state == CHUNK_SIZE) {
            connection->left = strtoul(connection->line, NULL, 16);
            connection->state = connection->left ? CHUNK_DATA : LAST_LINE;
        } else if (connection->state == CHUNK_END) {
            connection->state = CHUNK_SIZE;
        } else {
            end(connection, NULL);
        }
        if (error)
            end(connection, error);
    }
}

static void http_handle(struct source *source, uint32_t events)
{
    static char buffer[READ_SIZE];
    struct connection *connection = (struct connection *)source;
    (void)events;
    if (source->fd < 0)
        return;
    ssize_t got = recv(source->fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got > 0 && connection->exchange) {
        bytes_received += (uint64_t)got;
        parse(connection, buffer, buffer + got);
        return;
    }
    for (struct connection **link = &idle; *link; link = &(*link)->next_idle)
        if (*link == connection) {
            *link = connection->next_idle;
            break;
        }
    end(connection, "the connection was closed in mid-answer");
}

static void http_start(struct exchange *exchange)
{
    struct connection *connection = idle;
    if (connection) {
        idle = connection->next_idle;
    } else {
        connection = must(calloc(1, sizeof *connection));
        connection->source.handle = http_handle;
        if (open_connection(&connection->source)) {
            exchange_end(exchange, "could not connect");
            return;
        }
    }
    connection->exchange = exchange;
    connection->state = HEAD;
    connection->marked = 0;
    /* A request is far smaller than a fresh socket buffer, so it leaves whole or not at all. */
    if (send(connection->source.fd, request, request_size, MSG_NOSIGNAL) != (ssize_t)request_size)
        end(connection, "could not send the request");
}

const struct protocol http_protocol = {http_prepare, http_start};
