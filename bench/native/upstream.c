/* A fake Gemini for measuring gateways: HTTP/1.1 with keep-alive, one thread, epoll. For those that
 * cannot be pointed at another Gemini it answers as OpenAI's chat completions, too.
 * What a reply looks like, and when its events leave, is told by the model's name (replies.h).
 * Prints its port and serves until it is killed. Usage: upstream [PORT] */
#include "replies.h"
#include "timers.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { MAX_REQUEST = 1 << 20, MAX_PENDING = 1 << 18, BATCH = 256, BACKLOG = 4096 };

struct connection {
    int fd;
    int wants_write;
    char *in;
    size_t in_size, in_room;
    char *out;
    size_t out_size, out_room;
    const struct reply *stream; /* the stream being sent, or NULL */
    size_t next_event;
    struct timer timer; /* when the next event is due */
    struct connection *next_dead;
};

static int epoll_fd, timer_fd, listen_fd;
static struct connection *dead; /* freed only after the batch of events that may name them */

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000UL + (uint64_t)now.tv_nsec;
}

static void close_connection(struct connection *connection)
{
    if (connection->fd < 0)
        return;
    timer_remove(&connection->timer);
    close(connection->fd);
    connection->fd = -1;
    connection->stream = NULL;
    connection->next_dead = dead;
    dead = connection;
}

static void bury_the_dead(void)
{
    while (dead) {
        struct connection *next = dead->next_dead;
        free(dead->in);
        free(dead->out);
        free(dead);
        dead = next;
    }
}

static void watch(struct connection *connection, int wants_write)
{
    struct epoll_event event = {.events = EPOLLIN | (wants_write ? EPOLLOUT : 0U),
                                .data.ptr = connection};
    connection->wants_write = wants_write;
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, connection->fd, &event);
}

static void flush(struct connection *connection)
{
    ssize_t sent = send(connection->fd, connection->out, connection->out_size, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        close_connection(connection);
        return;
    }
    if (sent > 0) {
        connection->out_size -= (size_t)sent;
        memmove(connection->out, connection->out + sent, connection->out_size);
    }
    if (connection->wants_write != (connection->out_size > 0))
        watch(connection, connection->out_size > 0);
}

static void append(struct connection *connection, struct piece piece)
{
    if (connection->out_size + piece.size > connection->out_room) {
        connection->out_room = connection->out_size + piece.size;
        connection->out = must(realloc(connection->out, connection->out_room));
    }
    memcpy(connection->out + connection->out_size, piece.data, piece.size);
    connection->out_size += piece.size;
}

static void send_piece(struct connection *connection, struct piece piece)
{
    ssize_t sent = 0;
    if (connection->out_size == 0) {
        sent = send(connection->fd, piece.data, piece.size, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) {
            close_connection(connection);
            return;
        }
        sent = sent < 0 ? 0 : sent;
        if ((size_t)sent == piece.size)
            return;
    }
    append(connection, (struct piece){piece.data + sent, piece.size - (size_t)sent});
    if (!connection->wants_write)
        watch(connection, 1);
}

static void send_once(struct connection *connection, struct piece piece)
{
    send_piece(connection, piece);
    free(piece.data);
}

static void start_stream(struct connection *connection, const struct reply *reply)
{
    if (reply->interval_ns == 0) {
        send_piece(connection, reply->burst);
        return;
    }
    struct piece first = {must(malloc(reply->head.size + reply->events[0].size)),
                          reply->head.size + reply->events[0].size};
    memcpy(first.data, reply->head.data, reply->head.size);
    memcpy(first.data + reply->head.size, reply->events[0].data, reply->events[0].size);
    send_once(connection, first);
    if (connection->fd < 0 || reply->event_count == 1)
        return;
    connection->stream = reply;
    connection->next_event = 1;
    connection->timer = (struct timer){.due_ns = now_ns() + reply->interval_ns,
                                       .owner = connection};
    timer_add(&connection->timer);
}

static int starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Answers OpenAI's chat completions: the model and whether to stream are in the body. */
static void answer_chat(struct connection *connection, struct piece body)
{
    static const char model[] = "\"model\":\"", streaming[] = "\"stream\":true";
    const char *name = memmem(body.data, body.size, model, sizeof model - 1);
    const char *end = body.data + body.size;
    size_t size = 0;
    if (name)
        for (name += sizeof model - 1; name + size < end && name[size] != '"';)
            size++;
    const struct reply *reply = name ? reply_for_model(name, size, OPENAI) : NULL;
    if (!reply)
        send_once(connection, reply_not_found());
    else if (memmem(body.data, body.size, streaming, sizeof streaming - 1))
        start_stream(connection, reply);
    else
        send_piece(connection, reply->unary);
}

static void answer(struct connection *connection, const char *line, struct piece body)
{
    static const char models[] = "/v1beta/models";
    const char *path = strchr(line, ' ');
    if (path && starts_with(path + 1, "/v1/chat/completions")) {
        answer_chat(connection, body);
        return;
    }
    if (!path || !starts_with(++path, models)) {
        send_once(connection, reply_not_found());
        return;
    }
    const char *name = path + sizeof models - 1;
    if (*name != '/') {
        send_once(connection, reply_model_list());
        return;
    }
    size_t size = strcspn(++name, ":? ");
    const char *method = name + size;
    const struct reply *reply = reply_for_model(name, size, GEMINI);
    if (!reply)
        send_once(connection, reply_not_found());
    else if (starts_with(method, ":streamGenerateContent"))
        start_stream(connection, reply);
    else if (starts_with(method, ":generateContent"))
        send_piece(connection, reply->unary);
    else if (starts_with(method, ":countTokens"))
        send_once(connection, reply_token_count());
    else
        send_once(connection, reply_model(name, size));
}

/* Answers every whole request that has come in, one after the other. */
static void serve(struct connection *connection)
{
    while (connection->fd >= 0 && !connection->stream && connection->in_size) {
        connection->in[connection->in_size] = '\0';
        char *end = strstr(connection->in, "\r\n\r\n");
        if (!end)
            return;
        *end = '\0';
        const char *length = strcasestr(connection->in, "\r\ncontent-length:");
        size_t head = (size_t)(end - connection->in) + 4;
        size_t whole = head + (length ? strtoul(length + 17, NULL, 10) : 0);
        if (whole > MAX_REQUEST || strcasestr(connection->in, "\r\ntransfer-encoding:")) {
            close_connection(connection);
            return;
        }
        if (whole > connection->in_size) {
            *end = '\r';
            return;
        }
        answer(connection, connection->in, (struct piece){connection->in + head, whole - head});
        connection->in_size -= whole;
        memmove(connection->in, connection->in + whole, connection->in_size);
    }
}

static void receive(struct connection *connection)
{
    if (connection->in_room - connection->in_size < 4097) {
        connection->in_room = connection->in_room ? connection->in_room * 2 : 16384;
        if (connection->in_room > 2 * MAX_REQUEST) {
            close_connection(connection);
            return;
        }
        connection->in = must(realloc(connection->in, connection->in_room));
    }
    ssize_t got = recv(connection->fd, connection->in + connection->in_size,
                       connection->in_room - connection->in_size - 1, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN)) {
        close_connection(connection);
        return;
    }
    connection->in_size += got > 0 ? (size_t)got : 0;
    serve(connection);
}

static void accept_all(void)
{
    for (int fd; (fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct connection *connection = must(calloc(1, sizeof *connection));
        connection->fd = fd;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
    }
}

static void send_due_events(void)
{
    uint64_t now = now_ns();
    for (struct timer *timer; (timer = timer_first()) && timer->due_ns <= now;) {
        struct connection *connection = timer->owner;
        const struct reply *reply = connection->stream;
        timer_postpone(timer, reply->interval_ns);
        if (connection->out_size > MAX_PENDING) /* the reader is behind: it gets it later */
            continue;
        send_piece(connection, reply->events[connection->next_event++]);
        if (connection->fd >= 0 && connection->next_event == reply->event_count) {
            timer_remove(timer);
            connection->stream = NULL;
            serve(connection);
        }
    }
}

static void arm_timer(void)
{
    static uint64_t armed_ns;
    uint64_t due = timer_first() ? timer_first()->due_ns : 0;
    if (due == armed_ns)
        return;
    struct itimerspec at = {.it_value = {(time_t)(due / 1000000000UL), (long)(due % 1000000000UL)}};
    timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
    armed_ns = due;
}

static void open_sockets(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int on = 1;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listen_fd, (struct sockaddr *)&address, size) || listen(listen_fd, BACKLOG) ||
        getsockname(listen_fd, (struct sockaddr *)&address, &size)) {
        perror("upstream: listen");
        exit(1);
    }
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listen_fd};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &event);
    event.data.ptr = &timer_fd;
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, timer_fd, &event);
    printf("ready upstream=127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
}

static void handle(struct epoll_event *event)
{
    if (event->data.ptr == &listen_fd) {
        accept_all();
    } else if (event->data.ptr == &timer_fd) {
        uint64_t expirations;
        if (read(timer_fd, &expirations, sizeof expirations) > 0)
            send_due_events();
    } else {
        struct connection *connection = event->data.ptr;
        if (connection->fd >= 0 && (event->events & EPOLLOUT))
            flush(connection);
        if (connection->fd >= 0 && (event->events & ~(uint32_t)EPOLLOUT))
            receive(connection);
    }
}

int main(int count, char **arguments)
{
    open_sockets(count > 1 ? atoi(arguments[1]) : 0);
    for (;;) {
        struct epoll_event events[BATCH];
        int ready = epoll_wait(epoll_fd, events, BATCH, -1);
        for (int i = 0; i < ready; i++)
            handle(&events[i]);
        bury_the_dead();
        arm_timer();
    }
}
