// Beside the load client, a process that asks the hub every few hundredths of a second how it is, and takes the time:
// how late the hub's loop is, seen from outside (an answer takes it some turns). It has no part in broadcasts, behind
// whose frames an answer would have to wait, and is a process of its own so that the client's work doesn't count.
#ifndef BENCH_SOAK_PROBE_H
#define BENCH_SOAK_PROBE_H
#include "http.h"
#include "soak_check.h"

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define PAUSE_LEAST_S 0.02
#define PAUSE_MORE_S 0.04  // at random, so that it doesn't go in step with anything
#define PRIORITY (-10)     // where that may be had: it shouldn't wait for the client

static struct times *probe_times;  // shared by both processes; only the probe writes
static pid_t probe_id;
static double probe_asked, probe_next;  // asked 0: nothing is to be answered

static void ask(struct http *http, const char *request) {
    probe_asked = now();
    http->length = 0;
    send_all(http->fd, request, strlen(request));
}

static void take_answer(struct http *http) {
    const char *body;
    int status = http_readable(http, &body);
    double at = now();
    if (!status) return;
    if (status != 200) fail("the probe was answered with %d", status);
    note_time(probe_times, at - probe_asked);
    probe_asked = 0;
    probe_next = at + PAUSE_LEAST_S + PAUSE_MORE_S * drand48();
}

static void run_probe(int port) {
    static struct http http;
    char request[128];
    snprintf(request, sizeof request, "GET /health/live HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n", port);
    http.fd = connect_to(port);
    probe_next = now() + 1;
    for (;;) {
        double wait = probe_next - now();
        if (!probe_asked && wait <= 0) ask(&http, request);
        struct pollfd readable = {.fd = http.fd, .events = POLLIN};
        if (poll(&readable, 1, probe_asked ? 1000 : (int)(wait * 1e3) + 1) > 0) take_answer(&http);
    }
}

static void start_probe(int port) {
    probe_times = mmap(NULL, sizeof *probe_times, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (probe_times == MAP_FAILED) fail("mmap: %s", strerror(errno));
    probe_id = fork();
    if (probe_id < 0) fail("fork: %s", strerror(errno));
    if (probe_id) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpriority(PRIO_PROCESS, 0, PRIORITY);
    run_probe(port);
}

static void check_probe(void) {
    if (waitpid(probe_id, NULL, WNOHANG)) fail("the probe has ended");
}

// What has come since it was last asked for.
static void take_probe_times(struct times *since, struct times *until_now) {
    for (int i = 0; i < CLASSES; i++) {
        uint32_t count = probe_times->counts[i];
        since->counts[i] = count - until_now->counts[i];
        until_now->counts[i] = count;
    }
}

#endif
