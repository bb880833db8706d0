/* gRPC over cleartext HTTP/2: a few connections, each with many streams. */
#include "load.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define NUMBER "0000000000" /* in a request: replaced by its number */

enum { READ_SIZE = 65536, FRAME_HEAD = 5, KEPT = 256, WINDOW = 16 << 20 };

struct connection {
    struct source source; /* first: epoll's pointer is this one */
    nghttp2_session *session;
    int wants_write, broken;
};

struct call {
    struct exchange *exchange;
    size_t sent;              /* of the request's frame */
    unsigned char head[FRAME_HEAD];
    size_t head_size;
    size_t left;              /* of the message that is coming in */
    unsigned char kept[KEPT]; /* how it begins: enough to see which fields it has */
    size_t kept_size;
    int ok_status;            /* :status was 200 */
    int code;                 /* grpc-status; -1 = none came */
    char note[96];            /* grpc-message */
};

static struct connection *connections;
static unsigned char *frame; /* the request with its five bytes in front */
static size_t frame_size;
static unsigned char *number; /* where NUMBER stands in it, if it does */

/* Reads a varint at *at; returns 0 when the bytes end first. */
static int take_varint(const unsigned char *bytes, size_t size, size_t *at, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; *at < size && shift < 64; shift += 7) {
        unsigned char byte = bytes[(*at)++];
        *value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128)
            return 1;
    }
    return 0;
}

/* Whether a protobuf message, of which the beginning is here, shows a field of that number. */
static int has_field(const unsigned char *bytes, size_t size, unsigned number)
{
    size_t at = 0;
    for (uint64_t tag, length; take_varint(bytes, size, &at, &tag);) {
        if (tag >> 3 == number)
            return 1;
        if ((tag & 7) == 0)
            take_varint(bytes, size, &at, &length);
        else if ((tag & 7) == 2 && take_varint(bytes, size, &at, &length))
            at += length;
        else
            return 0;
    }
    return 0;
}

static void end_message(struct call *call)
{
    call->head_size = 0;
    exchange_message(call->exchange, !options.first_field ||
                                         has_field(call->kept, call->kept_size, options.first_field));
    call->kept_size = 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data,
                   size_t size, void *user)
{
    struct call *call = nghttp2_session_get_stream_user_data(session, stream);
    (void)flags, (void)user;
    while (call && size) {
        if (call->head_size < FRAME_HEAD) {
            call->head[call->head_size++] = *data++;
            size--;
            if (call->head_size < FRAME_HEAD)
                continue;
            call->left = (size_t)call->head[1] << 24 | (size_t)call->head[2] << 16 |
                         (size_t)call->head[3] << 8 | call->head[4];
        }
        size_t here = size < call->left ? size : call->left;
        size_t keep = here < KEPT - call->kept_size ? here : KEPT - call->kept_size;
        memcpy(call->kept + call->kept_size, data, keep);
        call->kept_size += keep;
        call->left -= here;
        data += here;
        size -= here;
        if (call->left == 0)
            end_message(call);
    }
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *header, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *user)
{
    struct call *call = nghttp2_session_get_stream_user_data(session, header->hd.stream_id);
    (void)flags, (void)user;
    if (!call)
        return 0;
    if (name_size == 7 && memcmp(name, ":status", 7) == 0)
        call->ok_status = value_size == 3 && memcmp(value, "200", 3) == 0;
    else if (name_size == 11 && memcmp(name, "grpc-status", 11) == 0)
        call->code = atoi((const char *)value);
    else if (name_size == 12 && memcmp(name, "grpc-message", 12) == 0)
        memcpy(call->note, value, value_size < 95 ? value_size : 95);
    return 0;
}

static int on_close(nghttp2_session *session, int32_t stream, uint32_t error, void *user)
{
    struct call *call = nghttp2_session_get_stream_user_data(session, stream);
    char text[160];
    (void)user;
    if (!call)
        return 0;
    snprintf(text, sizeof text, "grpc-status %d, HTTP/2 error %u: %s", call->code, error, call->note);
    int good = call->ok_status && call->code == 0 && error == NGHTTP2_NO_ERROR;
    exchange_end(call->exchange, good ? NULL : text);
    free(call);
    return 0;
}

static ssize_t on_send(nghttp2_session *session, const uint8_t *data, size_t size, int flags,
                       void *user)
{
    struct connection *connection = user;
    (void)session, (void)flags;
    ssize_t sent = send(connection->source.fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0)
        return errno == EAGAIN ? NGHTTP2_ERR_WOULDBLOCK : NGHTTP2_ERR_CALLBACK_FAILURE;
    return sent;
}

/* Makes each request another one, so that the server does not answer several at once. */
static void write_number(uint8_t *digits)
{
    static unsigned long turn;
    unsigned long rest = ++turn;
    for (size_t i = sizeof NUMBER - 1; i-- > 0; rest /= 10)
        digits[i] = (uint8_t)('0' + rest % 10);
}

static ssize_t on_body(nghttp2_session *session, int32_t stream, uint8_t *buffer, size_t size,
                       uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct call *call = source->ptr;
    (void)session, (void)stream, (void)user;
    size_t left = frame_size - call->sent;
    size = size < left ? size : left;
    memcpy(buffer, frame + call->sent, size);
    if (number && !call->sent && size == frame_size)
        write_number(buffer + (number - frame));
    call->sent += size;
    if (call->sent == frame_size)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)size;
}

static void fail_connection(struct connection *connection, const char *error)
{
    fprintf(stderr, "load: %s\n", error); /* its open calls are counted when the time is up */
    connection->broken = 1;
    shutdown(connection->source.fd, SHUT_RDWR);
}

static void pump(struct connection *connection)
{
    if (nghttp2_session_send(connection->session)) {
        fail_connection(connection, "could not send");
        return;
    }
    int wants_write = nghttp2_session_want_write(connection->session);
    if (wants_write != connection->wants_write)
        watch(&connection->source, wants_write);
    connection->wants_write = wants_write;
}

static void grpc_handle(struct source *source, uint32_t events)
{
    static uint8_t buffer[READ_SIZE];
    struct connection *connection = (struct connection *)source;
    if (connection->broken)
        return;
    if (events & ~(uint32_t)EPOLLOUT) {
        ssize_t got = recv(source->fd, buffer, sizeof buffer, MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EAGAIN)) {
            fail_connection(connection, "the server closed a connection");
            return;
        }
        bytes_received += got > 0 ? (uint64_t)got : 0;
        if (got > 0 && nghttp2_session_mem_recv(connection->session, buffer, (size_t)got) < 0) {
            fail_connection(connection, "the server broke the HTTP/2 protocol");
            return;
        }
    }
    pump(connection);
}

static void open_session(struct connection *connection, nghttp2_session_callbacks *callbacks)
{
    static const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW}, {NGHTTP2_SETTINGS_ENABLE_PUSH, 0}};
    connection->source.handle = grpc_handle;
    if (open_connection(&connection->source)) {
        perror("load: connect");
        exit(1);
    }
    nghttp2_session_client_new(&connection->session, callbacks, connection);
    nghttp2_submit_settings(connection->session, NGHTTP2_FLAG_NONE, settings, 2);
    nghttp2_session_set_local_window_size(connection->session, NGHTTP2_FLAG_NONE, 0, WINDOW);
    pump(connection);
}

static void grpc_prepare(void)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_send_callback(callbacks, on_send);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    frame_size = FRAME_HEAD + options.body_size;
    frame = must(calloc(1, frame_size));
    for (size_t i = 0; i < 4; i++)
        frame[4 - i] = (unsigned char)(options.body_size >> (8 * i));
    memcpy(frame + FRAME_HEAD, options.body, options.body_size);
    number = memmem(frame, frame_size, NUMBER, sizeof NUMBER - 1);
    connections = must(calloc(options.connections, sizeof *connections));
    for (size_t i = 0; i < options.connections; i++)
        open_session(&connections[i], callbacks);
    nghttp2_session_callbacks_del(callbacks);
}

static nghttp2_nv header(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value),
                        NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

static void grpc_start(struct exchange *exchange)
{
    static size_t turn;
    struct connection *connection = &connections[turn++ % options.connections];
    struct call *call = must(calloc(1, sizeof *call));
    call->exchange = exchange;
    call->code = -1;
    nghttp2_nv headers[] = {header(":method", "POST"), header(":scheme", "http"),
                            header(":path", options.path), header(":authority", options.authority),
                            header("te", "trailers"), header("content-type", "application/grpc"),
                            header("user-agent", "grpc-c/bench")};
    nghttp2_data_provider body = {.source.ptr = call, .read_callback = on_body};
    if (connection->broken ||
        nghttp2_submit_request(connection->session, NULL, headers, sizeof headers / sizeof *headers,
                               &body, call) < 0) {
        exchange_end(exchange, "the connection is broken");
        free(call);
        return;
    }
    pump(connection);
}

const struct protocol grpc_protocol = {grpc_prepare, grpc_start};
