// A WebSocket of a load client: the handshake (RFC 6455 section 4.1) and cutting what arrives into frames.
#ifndef BENCH_WEBSOCKET_H
#define BENCH_WEBSOCKET_H
#include "common.h"

#define INPUT_BYTES (256 * 1024)

enum opcode { TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

struct websocket {
    int fd;
    bool open;   // the handshake was answered
    int length;  // of the beginning of a frame that isn't all there
    char *rest;
};

// What to do with each frame; `payload` is good until it returns. `at`: when it was read (now()).
typedef void (*on_frame)(struct websocket *, unsigned opcode, const char *payload, int length, double at);

// `source`: one's own address, such as INADDR_LOOPBACK + 1; INADDR_ANY leaves that to the system.
static inline int connect_from(in_addr_t source, int port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(source)};
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0) fail("socket: %s", strerror(errno));
    if (source != INADDR_ANY) {
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        if (bind(fd, (struct sockaddr *)&own, sizeof own)) fail("bind: %s", strerror(errno));
    }
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) fail("connect: %s", strerror(errno));
    set_nonblocking(fd);
    return fd;
}

static inline int connect_to(int port) {
    return connect_from(INADDR_ANY, port);
}

static inline void send_all(int fd, const char *data, int length) {
    if (send(fd, data, length, MSG_NOSIGNAL) != length) fail("the server doesn't take what it is sent: %s", strerror(errno));
}

// `headers`: more lines of the request, each with its CRLF. `source`: as for connect_from.
static inline void websocket_connect_from(struct websocket *socket, in_addr_t source, int port, const char *path,
                                          const char *headers) {
    char request[4096];
    int length = snprintf(request, sizeof request,
                          "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " KEY "\r\n%s\r\n",
                          path, port, headers);
    if (length >= (int)sizeof request) fail("a request of %d bytes", length);
    *socket = (struct websocket){.fd = connect_from(source, port)};
    send_all(socket->fd, request, length);
}

static inline void websocket_connect(struct websocket *socket, int port, const char *path, const char *headers) {
    websocket_connect_from(socket, INADDR_ANY, port, path, headers);
}

// Masked with zeros, which is a mask, and costs nothing.
static inline void websocket_send(struct websocket *socket, unsigned opcode, const char *payload, int length) {
    char frame[8 + 65536];
    int head = write_head((unsigned char *)frame, opcode, length);
    frame[1] |= 0x80;
    memset(frame + head, 0, 4);
    memcpy(frame + head + 4, payload, length);
    send_all(socket->fd, frame, head + 4 + length);
}

static inline int websocket_take_answer(struct websocket *socket, const char *data, int length) {
    const char *end = memmem(data, length, "\r\n\r\n", 4);
    if (!end) return 0;
    if (strncmp(data, "HTTP/1.1 101 ", 13) || !memmem(data, length, ACCEPT, strlen(ACCEPT)))
        fail("the handshake was answered with: %.*s", length, data);
    socket->open = true;
    return end + 4 - data;
}

// Takes one frame; gives how many bytes it has, 0 when it isn't all there.
static inline int websocket_take_frame(struct websocket *socket, const char *data, int length, on_frame take, double at) {
    const unsigned char *head = (const unsigned char *)data;
    if (length < 2) return 0;
    int head_bytes = 2, size = head[1];
    if (size == 126) {
        if (length < 4) return 0;
        head_bytes = 4;
        size = head[2] << 8 | head[3];
    } else if (size > 126) fail("a frame that is masked, or over 64 KiB");
    if (length < head_bytes + size) return 0;
    if (!(head[0] & 0x80)) fail("a frame in fragments");
    if ((head[0] & 0x0f) == PING) websocket_send(socket, PONG, data + head_bytes, size);
    else take(socket, head[0] & 0x0f, data + head_bytes, size, at);
    return head_bytes + size;
}

// Reads once and hands over every whole frame; false when the server has ended the connection.
static inline bool websocket_readable(struct websocket *socket, on_frame take) {
    static char input[INPUT_BYTES];
    int length = socket->length;
    if (length) memcpy(input, socket->rest, length);
    ssize_t got = recv(socket->fd, input + length, INPUT_BYTES - length, 0);
    if (got <= 0) return got < 0 && (errno == EAGAIN || errno == EINTR);
    length += got;
    double at = now();
    int position = 0;
    if (!socket->open) position = websocket_take_answer(socket, input, length);
    if (socket->open)
        for (int size; (size = websocket_take_frame(socket, input + position, length - position, take, at)); position += size)
            ;
    int left = length - position;
    if (left) {
        socket->rest = realloc(socket->rest, left);
        if (!socket->rest) fail("out of memory");
        memcpy(socket->rest, input + position, left);
    }
    socket->length = left;
    return true;
}

static inline void websocket_end(struct websocket *socket) {
    close(socket->fd);
    free(socket->rest);
    *socket = (struct websocket){.fd = -1};
}

#endif
