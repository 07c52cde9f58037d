// The load client: many WebSocket connections, and the publishers that drive broadcasts to them. One thread, epoll.
//
//   client PORT API_KEY CONNECTIONS
//
// Opens the connections (user u0, u1, ... and one topic each), says {"connected":...}, and then takes commands on
// standard input, one a line:
//
//   run BROADCASTS WINDOW BODY_BYTES
//
// publishes so many notifications to everybody, WINDOW of them outstanding at any time (each on its own keep-alive
// connection; outstanding until the last of its frames has been received), and answers with one line of JSON.
//
// Every frame is checked: on each connection the same ones in the same order, none lost, none twice, each with what was
// published. Whatever is wrong ends the process with status 1 and a line on standard error.
#include "http.h"

#define EVENTS 512
#define OPENING 64      // handshakes at a time
#define WINDOW 64       // publishers at most
#define SILENCE_S 10.0  // so long without anything: something is lost
#define SETTLE_S 0.03   // so long it listens after a run for what shouldn't come
#define IDLE (-1)
#define TAG_INPUT UINT64_MAX
#define TAG_PUBLISHER (1ULL << 32)

struct connection {
    struct websocket socket;  // the first: a pointer to it is one to the connection
    int seen;                 // frames of this run
};

struct publisher {
    struct http http;
    int broadcast;  // what it is at, or IDLE
    bool answered;
};

struct broadcast {
    double sent, last;
    int delivered;
    bool placed;
};

struct place {  // the k-th frame of the run, as the first connection got it: all others must get the same
    int broadcast, length;
    char *frame;
};

static int poll_fd, port, connection_count, opened, opening;
static const char *api_key;
static struct connection *connections;
static struct publisher publishers[WINDOW];

static int total, sent, finished, placed, window, body_bytes;  // of the run; total 0: there is none
static int first_number;                                       // its broadcasts are numbered from here
static struct broadcast *broadcasts;
static struct place *places;
static uint32_t *latencies;  // microseconds, of every single delivery
static long deliveries;
static double last_event;

static void open_more(void) {
    while (opened < connection_count && opening < OPENING) {
        char path[64];
        snprintf(path, sizeof path, "/notifications?user=u%d&topics=news", opened);
        websocket_connect(&connections[opened].socket, port, path, "");
        watch(poll_fd, connections[opened].socket.fd, opened);
        opened++;
        opening++;
    }
}

static void open_publisher(struct publisher *publisher) {
    if (publisher->http.fd) return;
    publisher->http.fd = connect_to(port);
    publisher->broadcast = IDLE;
    watch(poll_fd, publisher->http.fd, TAG_PUBLISHER + (publisher - publishers));
}

static void publish(struct publisher *publisher) {
    static char body[INPUT_BYTES], headers[256];
    int number = first_number + sent;
    int size = snprintf(body, sizeof body,
                        "{\"to\":\"notifications\",\"notification\":{\"type\":\"bench\"," TITLE "%0*d" BODY, TITLE_DIGITS,
                        number);
    for (int i = 0; i < body_bytes; i++) body[size++] = 'a' + (number + i) % 26;
    size += sprintf(body + size, "\"}}");
    snprintf(headers, sizeof headers, "Authorization: Bearer %s\r\n", api_key);
    publisher->broadcast = sent;
    publisher->answered = false;
    broadcasts[sent].sent = now();
    sent++;
    http_post(&publisher->http, port, "/api/notifications", headers, body, size);
}

static void go_on(struct publisher *publisher) {
    if (!publisher->answered || broadcasts[publisher->broadcast].delivered < connection_count) return;
    publisher->broadcast = IDLE;
    finished++;
    if (sent < total) publish(publisher);
}

static void delivered(int number, double at) {
    struct broadcast *broadcast = &broadcasts[number];
    latencies[deliveries++] = (at - broadcast->sent) * 1e6;
    if (++broadcast->delivered < connection_count) return;
    broadcast->last = at;
    for (int i = 0; i < window; i++)
        if (publishers[i].broadcast == number) go_on(&publishers[i]);
}

// The first frame at its place in the order: reads which broadcast it is, and checks all of it.
static void place(const char *frame, int length) {
    const char *title = memmem(frame, length, TITLE, strlen(TITLE));
    if (!title) fail("not a broadcast: %.*s", length, frame);
    const char *digits = title + strlen(TITLE);
    const char *body = digits + TITLE_DIGITS;
    int number = atoi(digits);
    bool good = body + strlen(BODY) + body_bytes < frame + length && !memcmp(body, BODY, strlen(BODY));
    for (int i = 0; good && i < body_bytes; i++) good = body[strlen(BODY) + i] == 'a' + (number + i) % 26;
    if (!good || body[strlen(BODY) + body_bytes] != '"') fail("not what was published: %.*s", length, frame);
    number -= first_number;
    if (number < 0 || number >= sent) fail("broadcast %d was not published in this run", number + first_number);
    if (broadcasts[number].placed) fail("broadcast %d came twice", number + first_number);
    broadcasts[number].placed = true;
    struct place *new = &places[placed++];
    new->broadcast = number;
    new->length = length;
    new->frame = room_for(length, 1);
    memcpy(new->frame, frame, length);
}

static void take_frame(struct websocket *socket, unsigned opcode, const char *frame, int length, double at) {
    struct connection *connection = (struct connection *)socket;
    if (opcode != TEXT) fail("connection %ld: a frame of kind %x", connection - connections, opcode);
    int k = connection->seen++;
    if (k >= total) fail("connection %ld got a frame too many", connection - connections);
    if (k == placed) place(frame, length);
    if (length != places[k].length || memcmp(frame, places[k].frame, length))
        fail("connection %ld, frame %d: lost, doubled, reordered or changed: %.*s", connection - connections, k, length, frame);
    delivered(places[k].broadcast, at);
}

static void connection_readable(struct connection *connection) {
    bool was_open = connection->socket.open;
    if (!websocket_readable(&connection->socket, take_frame)) fail("connection %ld was lost", connection - connections);
    if (was_open || !connection->socket.open) return;
    opening--;
    open_more();
}

static void publisher_readable(struct publisher *publisher) {
    const char *body;
    int status = http_readable(&publisher->http, &body);
    if (status == 0) return;
    if (status < 0) {
        if (publisher->broadcast != IDLE) fail("a publisher was disconnected");
        close(publisher->http.fd);  // kept alive long enough; the next run opens another one
        publisher->http.fd = 0;
        return;
    }
    const char *live = strstr(body, "\"live\":");
    if (status != 202 || !live || atoi(live + 7) < connection_count)
        fail("a publish was answered with: %s", publisher->http.answer);
    publisher->answered = true;
    go_on(publisher);
}

static bool handle_events(int timeout_ms) {
    struct epoll_event events[EVENTS];
    bool commanded = false;
    int ready = epoll_wait(poll_fd, events, EVENTS, timeout_ms);
    for (int i = 0; i < ready; i++) {
        uint64_t tag = events[i].data.u64;
        if (tag == TAG_INPUT) commanded = true;
        else if (tag >= TAG_PUBLISHER) publisher_readable(&publishers[tag - TAG_PUBLISHER]);
        else connection_readable(&connections[tag]);
    }
    if (ready > 0) last_event = now();
    else if (now() - last_event > SILENCE_S && finished < total)
        fail("lost: nothing came for %.0f s, %d of %d broadcasts are complete", SILENCE_S, finished, total);
    return commanded;
}

static int ascending(const void *one, const void *other) {
    uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
    return (a > b) - (a < b);
}

static uint32_t part(const uint32_t *sorted, long count, double fraction) {
    return sorted[(long)((count - 1) * fraction)];
}

static double cpu_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void report(double seconds, double cpu) {
    uint32_t *lasts = room_for(total, sizeof *lasts);
    for (int i = 0; i < total; i++) lasts[i] = (broadcasts[i].last - broadcasts[i].sent) * 1e6;
    qsort(lasts, total, sizeof *lasts, ascending);
    qsort(latencies, deliveries, sizeof *latencies, ascending);
    printf("{\"broadcasts\":%d,\"deliveries\":%ld,\"payload_bytes\":%d,\"seconds\":%.6f,\"client_cpu_seconds\":%.3f,"
           "\"last_us\":{\"p50\":%u,\"p99\":%u,\"max\":%u},\"delivery_us\":{\"p50\":%u,\"p99\":%u}}\n",
           total, deliveries, places[0].length, seconds, cpu, part(lasts, total, 0.5), part(lasts, total, 0.99),
           lasts[total - 1], part(latencies, deliveries, 0.5), part(latencies, deliveries, 0.99));
    fflush(stdout);
    free(lasts);
}

static void run(void) {
    broadcasts = room_for(total, sizeof *broadcasts);
    places = room_for(total, sizeof *places);
    latencies = room_for((size_t)total * connection_count, sizeof *latencies);
    memset(latencies, 0xff, (size_t)total * connection_count * sizeof *latencies);  // no page faults on the way
    for (int i = 0; i < connection_count; i++) connections[i].seen = 0;
    for (int i = 0; i < window; i++) open_publisher(&publishers[i]);
    sent = finished = placed = 0;
    deliveries = 0;
    double cpu = cpu_seconds(), start = last_event = now();
    for (int i = 0; i < window && sent < total; i++) publish(&publishers[i]);
    while (finished < total) handle_events(1000);
    double seconds = now() - start;
    cpu = cpu_seconds() - cpu;
    for (double end = now() + SETTLE_S; now() < end;) handle_events(1);
    report(seconds, cpu);
    first_number += total;
    for (int i = 0; i < total; i++) free(places[i].frame);
    free(broadcasts);
    free(places);
    free(latencies);
    total = 0;
}

int main(int count, char **arguments) {
    if (count != 4) fail("usage: client PORT API_KEY CONNECTIONS");
    port = atoi(arguments[1]);
    api_key = arguments[2];
    connection_count = atoi(arguments[3]);
    connections = room_for(connection_count, sizeof *connections);
    raise_open_files();
    poll_fd = epoll_create1(0);
    for (open_more(); opening;) handle_events(1000);
    printf("{\"connected\":%d}\n", connection_count);
    fflush(stdout);
    watch(poll_fd, STDIN_FILENO, TAG_INPUT);
    for (;;) {
        if (!handle_events(-1)) continue;
        char line[256];
        if (!fgets(line, sizeof line, stdin)) return 0;
        if (sscanf(line, "run %d %d %d", &total, &window, &body_bytes) != 3 || total < 1 || window < 1 ||
            window > WINDOW || body_bytes < 0 || body_bytes > 60000)
            fail("not a command: %s", line);
        run();
    }
}
