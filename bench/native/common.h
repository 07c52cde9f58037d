// What the load client and the limit share.
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H
#define _GNU_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

// The example of RFC 6455 section 1.3: one key for all, so that nobody here needs SHA-1.
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

#define TITLE "\"title\":\"broadcast "
#define TITLE_DIGITS 8
// Behind the digits comes the end of that string, and the body.
#define BODY "\",\"body\":\""

static inline void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "FAILED: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    exit(1);
}

static inline double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static inline void *room_for(size_t count, size_t size) {
    void *room = calloc(count ? count : 1, size);
    if (!room) fail("out of memory");
    return room;
}

static inline void watch(int poll, int fd, uint64_t tag) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = tag};
    if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event)) fail("epoll_ctl: %s", strerror(errno));
}

static inline void set_nonblocking(int fd) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (fcntl(fd, F_SETFL, O_NONBLOCK)) fail("fcntl: %s", strerror(errno));
}

static inline void raise_open_files(void) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

// The head of a frame without a mask (RFC 6455 section 5.2); gives how many bytes it has.
static inline int write_head(unsigned char *head, unsigned opcode, size_t length) {
    head[0] = 0x80 | opcode;
    if (length < 126) {
        head[1] = length;
        return 2;
    }
    if (length > 0xffff) fail("frames of over 64 KiB are not made here");
    head[1] = 126;
    head[2] = length >> 8;
    head[3] = length & 0xff;
    return 4;
}

#endif
