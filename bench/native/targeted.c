// The load client for notifications to single users amid broadcasts: many WebSocket connections, each of a user of its
// own, one publisher of broadcasts, and a pool of connections for targeted publishes. One thread, epoll.
//
//   targeted PORT API_KEY TOKENS_FILE CONNECTIONS CHANNEL QUERY
//
// Line k of TOKENS_FILE is the token of user uk, counted from 0. Opens the connections (QUERY stands behind the path),
// says {"connected":...}, and then takes commands on standard input, one a line:
//
//   run BROADCASTS TARGETED RATE BODY_BYTES
//
// publishes broadcasts to CHANNEL, each when the last frame of the one before has been received, and TARGETED
// notifications to one user each, RATE of them a second. Those go by schedule, whatever became of the ones before (open
// loop), and their latency counts from the moment at which they were due: so waiting isn't left out where it is
// longest. It ends when all of both have been received; with BROADCASTS -1, broadcasts go on until the targeted ones
// are through.
//
// Every frame is checked. A broadcast is the same on all connections, comes to each of them once and in order, with
// what was published; a targeted one comes to its user alone, once, with what was published and the id and cursor that
// the publisher was told; and on each connection cursors rise, over both kinds. Whatever is wrong ends the process with
// status 1 and a line on standard error.
#include "fields.h"
#include "http.h"

#include <sys/timerfd.h>

#define EVENTS 64          // few, so that between them what is due isn't late
#define OPENING 64         // handshakes at a time
#define TARGETERS 128      // connections for targeted publishes
#define BODY_MOST 60000
#define SILENCE_S 10.0     // so long without anything: something is lost
#define SETTLE_S 0.03      // so long it listens after a run for what shouldn't come
#define UNTIL_TARGETED (-1)
#define IDLE (-1)
#define TARGETED "\"title\":\"targeted "
#define TAG_INPUT UINT64_MAX
#define TAG_TIMER (UINT64_MAX - 1)
#define TAG_BROADCASTER (UINT64_MAX - 2)
#define TAG_TARGETER (1ULL << 32)

struct connection {
    struct websocket socket;  // the first: a pointer to it is one to the connection
    int seen;                 // broadcasts of this run
    long sequence;            // the number in its last frame's cursor
};

struct targeter {
    struct http http;
    int number;  // what it publishes, or IDLE
};

struct targeted {
    double due;
    uint32_t late_us, latency_us;
    bool answered, received;
    char told[TOLD_BYTES];  // id and cursor, as the first of frame and answer has them
};

static int poll_fd, timer_fd, port, connection_count, opened, opening;
static const char *channel, *query;
static char api_header[512], **tokens;
static struct connection *connections;

static int total_broadcasts, total_targeted, body_bytes;  // of the run
static double rate, start, last_event, complete_at;
static bool running;

static struct http broadcaster;
static int begun, complete;  // broadcasts of this run
static int next_broadcast;   // all that were ever begun are numbered through, so that nothing old passes for new
static double broadcast_at;
static bool broadcast_answered;
static int reached, frame_length;  // of the broadcast under way; 0: no frame of it has come yet
static long frame_sequence;
static char frame[BODY_MOST + 1024];
static uint32_t *last_us;
static int last_room;

static struct targeter targeters[TARGETERS];
static int idle[TARGETERS], idle_count;
static struct targeted *targeted;
static int due, through;    // targeted ones that have been sent, and received and answered
static int settled;         // all before this one are through
static int first_targeted;  // numbered through, too

static void open_more(void) {
    while (opened < connection_count && opening < OPENING) {
        char path[512], header[4096];
        snprintf(path, sizeof path, "/notifications%s", query);
        snprintf(header, sizeof header, "Authorization: Bearer %s\r\n", tokens[opened]);
        websocket_connect(&connections[opened].socket, port, path, header);
        watch(poll_fd, connections[opened].socket.fd, opened);
        opened++;
        opening++;
    }
}

static int user_of(int number) {  // far from each other, and all of them in turn
    return (int)((number * 7919LL + number / connection_count) % connection_count);
}

static void publish(struct http *http, uint64_t tag, const char *to, const char *title, int number) {
    static char body[BODY_MOST + 1024];
    if (!http->fd) {
        http->fd = connect_to(port);
        watch(poll_fd, http->fd, tag);
    }
    int size = snprintf(body, sizeof body, "{\"to\":\"%s\",\"notification\":{\"type\":\"bench\",%s%0*d" BODY, to, title,
                        TITLE_DIGITS, number);
    for (int i = 0; i < body_bytes; i++) body[size++] = 'a' + (number + i) % 26;
    size += sprintf(body + size, "\"}}");
    http_post(http, port, "/api/notifications", api_header, body, size);
}

static void broadcast(void) {
    if (total_broadcasts == UNTIL_TARGETED ? through == total_targeted : begun == total_broadcasts) return;
    begun++;
    reached = frame_length = 0;
    broadcast_answered = false;
    broadcast_at = now();
    publish(&broadcaster, TAG_BROADCASTER, channel, TITLE, next_broadcast++);
}

// What a publisher was told has an earlier place than a broadcast that all have must have come before it.
static void find_lost(void) {
    while (settled < due && targeted[settled].answered && targeted[settled].received) settled++;
    for (int k = settled; k < due; k++) {
        const char *dash = strrchr(targeted[k].told, '-');
        if (targeted[k].answered && !targeted[k].received && atol(dash + 1) < frame_sequence)
            fail("targeted %d is lost: broadcast %d was published after it, and has come", first_targeted + k, begun);
    }
}

static void go_on(void) {
    if (!broadcast_answered || reached < connection_count) return;
    complete_at = now();
    find_lost();
    if (complete == last_room) {
        last_room = 2 * last_room + 1024;
        last_us = realloc(last_us, last_room * sizeof *last_us);
        if (!last_us) fail("out of memory");
    }
    last_us[complete++] = (complete_at - broadcast_at) * 1e6;
    broadcast();
}

static double due_at(int k) { return start + k / rate; }

// Publishes what is due, as far as there is a connection for it, and has the timer ring for the next one.
static void send_due(void) {
    double at = now();
    while (due < total_targeted && idle_count && due_at(due) <= at) {
        struct targeter *targeter = &targeters[idle[--idle_count]];
        char to[64];
        targeter->number = first_targeted + due;
        snprintf(to, sizeof to, "user:u%d", user_of(targeter->number));
        publish(&targeter->http, TAG_TARGETER + (targeter - targeters), to, TARGETED, targeter->number);
        at = now();
        targeted[due].due = due_at(due);
        targeted[due].late_us = (at - due_at(due)) * 1e6;
        due++;
    }
    if (due == total_targeted || !idle_count) return;
    double next = due_at(due);
    struct itimerspec ring = {.it_value = {(time_t)next, (long)((next - (time_t)next) * 1e9) + 1}};
    if (timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &ring, NULL)) fail("timerfd_settime: %s", strerror(errno));
}

// Which number a frame has; fails if it isn't, byte by byte, what was published under that number.
static int check_content(const char *text, int length, const char *title, const char *on_channel) {
    const char *place = memmem(text, length, title, strlen(title));
    if (!place) fail("nothing that was published: %.*s", length, text);
    const char *digits = place + strlen(title), *body = digits + TITLE_DIGITS;
    int number = atoi(digits);
    bool good = body + strlen(BODY) + body_bytes < text + length && !memcmp(body, BODY, strlen(BODY));
    for (int i = 0; good && i < body_bytes; i++) good = body[strlen(BODY) + i] == 'a' + (number + i) % 26;
    char found[TOLD_BYTES];
    copy_field(text, length, "\"channel\":\"", found, sizeof found);
    if (!good || body[strlen(BODY) + body_bytes] != '"' || strcmp(found, on_channel))
        fail("not what was published: %.*s", length, text);
    return number;
}

// The first frame of a broadcast is checked wholly; all others must be the same.
static void take_first(const char *text, int length) {
    int number = check_content(text, length, TITLE, channel);
    if (begun == 0 || number != next_broadcast - 1) fail("broadcast %d came when it wasn't its turn", number);
    if (length > (int)sizeof frame) fail("a frame of %d bytes", length);
    memcpy(frame, text, length);
    frame_length = length;
    frame_sequence = sequence_of(text, length);
}

static void take_broadcast(struct connection *connection, const char *text, int length) {
    if (!frame_length) take_first(text, length);
    if (length != frame_length || memcmp(text, frame, length) || ++connection->seen != begun)
        fail("connection %ld, broadcast %d: lost, doubled, reordered or changed: %.*s", connection - connections, begun,
             length, text);
    reached++;
    go_on();
}

// The frame and the answer to the publisher name the same id and cursor.
static void compare_told(struct targeted *one, const char *text, int length, bool *done) {
    char told[TOLD_BYTES];
    int size = copy_field(text, length, "\"id\":\"", told, TOLD_BYTES / 2);
    told[size++] = ' ';
    copy_field(text, length, "\"cursor\":\"", told + size, TOLD_BYTES - size);
    if (!*one->told) strcpy(one->told, told);
    else if (strcmp(one->told, told)) fail("the publisher was told of another one than came: %.*s", length, text);
    *done = true;
    if (one->answered && one->received) through++;
}

static void take_targeted(struct connection *connection, const char *text, int length, double at) {
    char own[64];
    snprintf(own, sizeof own, "user:u%ld:notifications", connection - connections);
    int number = check_content(text, length, TARGETED, own), k = number - first_targeted;
    if (k < 0 || k >= due || user_of(number) != connection - connections)
        fail("connection %ld: targeted %d is not for it, or of another run", connection - connections, number);
    if (targeted[k].received) fail("connection %ld: targeted %d came twice", connection - connections, number);
    targeted[k].latency_us = (at - targeted[k].due) * 1e6;
    compare_told(&targeted[k], text, length, &targeted[k].received);
}

static void take_frame(struct websocket *socket, unsigned opcode, const char *text, int length, double at) {
    struct connection *connection = (struct connection *)socket;
    if (opcode != TEXT) fail("connection %ld: a frame of kind %x", connection - connections, opcode);
    if (!running) fail("connection %ld got a frame too many: %.*s", connection - connections, length, text);
    bool alike = length == frame_length && !memcmp(text, frame, length);
    bool is_targeted = !alike && memmem(text, length, TARGETED, strlen(TARGETED));
    if (is_targeted) take_targeted(connection, text, length, at);
    long sequence = alike ? frame_sequence : sequence_of(text, length);
    if (sequence <= connection->sequence)
        fail("connection %ld: doubled or reordered, %ld behind %ld: %.*s", connection - connections, sequence,
             connection->sequence, length, text);
    if (is_targeted && frame_length && sequence > frame_sequence && connection->seen < begun)
        fail("connection %ld: broadcast %d is lost or late: this came before it: %.*s", connection - connections, begun,
             length, text);
    connection->sequence = sequence;
    if (!is_targeted) take_broadcast(connection, text, length);
}

static void connection_readable(struct connection *connection) {
    bool was_open = connection->socket.open;
    if (!websocket_readable(&connection->socket, take_frame)) fail("connection %ld was lost", connection - connections);
    if (was_open || !connection->socket.open) return;
    opening--;
    open_more();
}

// Whether an answer has come, and is good: one publication, queued for so many connections.
static bool is_answered(struct http *http, bool waits, int live) {
    const char *body;
    int status = http_readable(http, &body);
    if (status == 0) return false;
    if (status < 0) {
        if (waits) fail("a publisher was disconnected");
        close(http->fd);  // kept alive long enough; the next publish opens another one
        http->fd = 0;
        return false;
    }
    const char *count = strstr(body, "\"live\":");
    if (!waits || status != 202 || !count || atoi(count + 7) != live)
        fail("a publish was answered with: %s", http->answer);
    return true;
}

static void broadcaster_readable(void) {
    if (!is_answered(&broadcaster, begun > complete && !broadcast_answered, connection_count)) return;
    broadcast_answered = true;
    go_on();
}

static void targeter_readable(struct targeter *targeter) {
    if (!is_answered(&targeter->http, targeter->number != IDLE, 1)) return;
    struct targeted *one = &targeted[targeter->number - first_targeted];
    compare_told(one, targeter->http.answer, targeter->http.length, &one->answered);
    targeter->number = IDLE;
    idle[idle_count++] = targeter - targeters;
}

static bool handle_events(int timeout_ms) {
    struct epoll_event events[EVENTS];
    bool commanded = false;
    int ready = epoll_wait(poll_fd, events, EVENTS, timeout_ms);
    for (int i = 0; i < ready; i++) {
        uint64_t tag = events[i].data.u64, ignored;
        if (tag == TAG_INPUT) commanded = true;
        else if (tag == TAG_TIMER) (void)!read(timer_fd, &ignored, sizeof ignored);
        else if (tag == TAG_BROADCASTER) broadcaster_readable();
        else if (tag >= TAG_TARGETER) targeter_readable(&targeters[tag - TAG_TARGETER]);
        else connection_readable(&connections[tag]);
        if (due < total_targeted && due_at(due) <= now()) send_due();
    }
    if (ready > commanded) last_event = now();  // that standard input can be read, or has ended, is no sign of the hub
    else if (running && now() - last_event > SILENCE_S)
        fail("lost: nothing came for %.0f s, %d of %d connections have broadcast %d, %d of %d targeted are through",
             SILENCE_S, reached, connection_count, begun, through, due);
    return commanded;
}

static void report(double seconds, double cpu_seconds) {
    uint32_t *latencies = room_for(total_targeted, sizeof *latencies), *lates = room_for(total_targeted, sizeof *lates);
    for (int i = 0; i < total_targeted; i++) {
        latencies[i] = targeted[i].latency_us;
        lates[i] = targeted[i].late_us;
    }
    printf("{");
    say_parts("targeted_us", latencies, total_targeted);
    say_parts("late_us", lates, total_targeted);
    say_parts("last_us", last_us, complete);
    printf("\"broadcasts\":%d,\"targeted\":%d,\"payload_bytes\":%d,\"seconds\":%.6f,\"broadcast_seconds\":%.6f,"
           "\"client_cpu_seconds\":%.3f}\n",
           complete, total_targeted, frame_length, seconds, complete ? complete_at - start : 0.0, cpu_seconds);
    fflush(stdout);
    free(latencies);
    free(lates);
}

static void run(void) {
    targeted = room_for(total_targeted, sizeof *targeted);
    begun = complete = due = through = settled = 0;
    for (int i = 0; i < connection_count; i++) connections[i].seen = 0;
    running = true;
    clock_t cpu = clock();
    start = last_event = now();
    broadcast();
    send_due();
    while (begun > complete || through < total_targeted) handle_events(1000);
    double seconds = now() - start;
    double cpu_seconds = (double)(clock() - cpu) / CLOCKS_PER_SEC;
    for (double end = now() + SETTLE_S; now() < end;) handle_events(1);
    running = false;
    report(seconds, cpu_seconds);
    first_targeted += total_targeted;
    total_targeted = due = 0;
    free(targeted);
}

static void read_tokens(const char *path) {
    FILE *file = fopen(path, "r");
    char line[4096];
    tokens = room_for(connection_count, sizeof *tokens);
    for (int i = 0; i < connection_count; i++) {
        if (!file || !fgets(line, sizeof line, file)) fail("%s has no %d tokens", path, connection_count);
        line[strcspn(line, "\n")] = 0;
        tokens[i] = strdup(line);
    }
    fclose(file);
}

int main(int count, char **arguments) {
    if (count != 7) fail("usage: targeted PORT API_KEY TOKENS_FILE CONNECTIONS CHANNEL QUERY");
    port = atoi(arguments[1]);
    snprintf(api_header, sizeof api_header, "Authorization: Bearer %s\r\n", arguments[2]);
    connection_count = atoi(arguments[4]);
    channel = arguments[5];
    query = arguments[6];
    if (connection_count < 1) fail("there must be a connection");
    read_tokens(arguments[3]);
    connections = room_for(connection_count, sizeof *connections);
    for (int i = 0; i < TARGETERS; i++) {
        targeters[i].number = IDLE;
        idle[idle_count++] = i;
    }
    raise_open_files();
    poll_fd = epoll_create1(0);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    for (open_more(); opening;) handle_events(1000);
    printf("{\"connected\":%d}\n", connection_count);
    fflush(stdout);
    watch(poll_fd, timer_fd, TAG_TIMER);
    watch(poll_fd, STDIN_FILENO, TAG_INPUT);
    for (;;) {
        if (!handle_events(-1)) continue;
        char line[256];
        if (!fgets(line, sizeof line, stdin)) return 0;
        if (sscanf(line, "run %d %d %lf %d", &total_broadcasts, &total_targeted, &rate, &body_bytes) != 4 ||
            total_broadcasts < UNTIL_TARGETED || total_targeted < 0 || rate <= 0 || body_bytes < 0 ||
            body_bytes > BODY_MOST || (total_broadcasts < 1 && !total_targeted))
            fail("not a command: %s", line);
        run();
    }
}
