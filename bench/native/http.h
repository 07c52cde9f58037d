// Calls over a kept-alive HTTP connection of a load client, one at a time on each.
#ifndef BENCH_HTTP_H
#define BENCH_HTTP_H
#include "websocket.h"

struct http {
    int fd;  // 0: not connected
    int length;
    char answer[16384];
};

// `headers`: more lines of the request, each with its CRLF.
static inline void http_post(struct http *http, int port, const char *path, const char *headers, const char *body, int size) {
    static char request[INPUT_BYTES];
    int length = snprintf(request, sizeof request,
                          "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%sContent-Type: application/json\r\n"
                          "Content-Length: %d\r\n\r\n",
                          path, port, headers, size);
    if (length + size > INPUT_BYTES) fail("a request of %d bytes", length + size);
    memcpy(request + length, body, size);
    http->length = 0;
    send_all(http->fd, request, length + size);
}

// Reads once. Gives the status when the answer is all there and where its body is, 0 when there is more to come,
// -1 when the server has ended the connection.
static inline int http_readable(struct http *http, const char **body) {
    ssize_t got = recv(http->fd, http->answer + http->length, sizeof http->answer - 1 - http->length, 0);
    if (got <= 0) return got < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
    http->length += got;
    http->answer[http->length] = 0;
    char *end = strstr(http->answer, "\r\n\r\n");
    if (!end) return 0;
    const char *size = strcasestr(http->answer, "\r\nContent-Length:");
    if (size && end + 4 + atoi(size + 17) > http->answer + http->length) return 0;
    *body = end + 4;
    return atoi(http->answer + strlen("HTTP/1.1 "));
}

#endif
