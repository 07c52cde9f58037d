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
#include "common.h"

#define EVENTS 512
#define READ_BYTES (256 * 1024)
#define OPENING 64      // handshakes at a time
#define WINDOW 64       // publishers at most
#define SILENCE_S 10.0  // so long without anything: something is lost
#define SETTLE_S 0.03   // so long it listens after a run for what shouldn't come
#define HANDSHAKE (-1)
#define IDLE (-1)
#define TAG_INPUT UINT64_MAX
#define TAG_PUBLISHER (1ULL << 32)

struct connection {
    int fd;
    int seen;    // frames of this run; HANDSHAKE: not open yet
    int length;  // of the beginning of a frame that isn't all there
    char *rest;
};

struct publisher {
    int fd;
    int broadcast;  // what it is at, or IDLE
    bool answered;
    int length;
    char answer[4096];
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
static char input[READ_BYTES];

static int total, sent, finished, placed, window, body_bytes;  // of the run; total 0: there is none
static int first_number;                                       // its broadcasts are numbered from here
static struct broadcast *broadcasts;
static struct place *places;
static uint32_t *latencies;  // microseconds, of every single delivery
static long deliveries;
static double last_event;

static int connect_to_server(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address)) fail("connect: %s", strerror(errno));
    set_nonblocking(fd);
    return fd;
}

static void send_all(int fd, const char *data, int length) {
    if (send(fd, data, length, MSG_NOSIGNAL) != length) fail("the server doesn't take a request: %s", strerror(errno));
}

static void open_more(void) {
    while (opened < connection_count && opening < OPENING) {
        char request[512];
        int length = snprintf(request, sizeof request,
                              "GET /notifications?user=u%d&topics=news HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
                              "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                              "Sec-WebSocket-Key: " KEY "\r\n\r\n",
                              opened, port);
        struct connection *connection = &connections[opened];
        connection->fd = connect_to_server();
        connection->seen = HANDSHAKE;
        watch(poll_fd, connection->fd, opened++);
        opening++;
        send_all(connection->fd, request, length);
    }
}

static void open_publisher(struct publisher *publisher) {
    if (publisher->fd) return;
    publisher->fd = connect_to_server();
    publisher->broadcast = IDLE;
    watch(poll_fd, publisher->fd, TAG_PUBLISHER + (publisher - publishers));
}

static void publish(struct publisher *publisher) {
    static char body[READ_BYTES], request[READ_BYTES + 1024];
    int number = first_number + sent;
    int size = snprintf(body, sizeof body,
                        "{\"to\":\"notifications\",\"notification\":{\"type\":\"bench\"," TITLE "%0*d" BODY, TITLE_DIGITS,
                        number);
    for (int i = 0; i < body_bytes; i++) body[size++] = 'a' + (number + i) % 26;
    size += sprintf(body + size, "\"}}");
    int length = sprintf(request,
                         "POST /api/notifications HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAuthorization: Bearer %s\r\n"
                         "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n",
                         port, api_key, size);
    memcpy(request + length, body, size);
    publisher->broadcast = sent;
    publisher->answered = false;
    publisher->length = 0;
    broadcasts[sent].sent = now();
    sent++;
    send_all(publisher->fd, request, length + size);
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

static int head_bytes_of(const char *frame) {
    return frame[1] == 126 ? 4 : 2;
}

// The first frame at its place in the order: reads which broadcast it is, and checks all of it.
static void place(const char *frame, int length) {
    const char *title = memmem(frame, length, TITLE, strlen(TITLE));
    const char *text = frame + head_bytes_of(frame);
    int text_bytes = frame + length - text;
    if (!title) fail("not a broadcast: %.*s", text_bytes, text);
    const char *digits = title + strlen(TITLE);
    const char *body = digits + TITLE_DIGITS;
    int number = atoi(digits);
    bool good = body + strlen(BODY) + body_bytes < frame + length && !memcmp(body, BODY, strlen(BODY));
    for (int i = 0; good && i < body_bytes; i++) good = body[strlen(BODY) + i] == 'a' + (number + i) % 26;
    if (!good || body[strlen(BODY) + body_bytes] != '"') fail("not what was published: %.*s", text_bytes, text);
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

static void take_notification(struct connection *connection, const char *frame, int length, double at) {
    int k = connection->seen++;
    if (k >= total) fail("connection %ld got a frame too many", connection - connections);
    if (k == placed) place(frame, length);
    if (length != places[k].length || memcmp(frame, places[k].frame, length))
        fail("connection %ld, frame %d: lost, doubled, reordered or changed: %.*s", connection - connections, k,
             length - head_bytes_of(frame), frame + head_bytes_of(frame));
    delivered(places[k].broadcast, at);
}

static void send_pong(struct connection *connection, const char *payload, int length) {
    char pong[6 + 125] = {(char)0x8a, (char)(0x80 | length)};  // a mask of zeros is a mask
    memcpy(pong + 6, payload, length);
    send_all(connection->fd, pong, 6 + length);
}

// Takes one frame; gives how many bytes it has, 0 when it isn't all there.
static int take_frame(struct connection *connection, const char *data, int length, double at) {
    const unsigned char *head = (const unsigned char *)data;
    if (length < 2) return 0;
    int head_bytes = 2, size = head[1];
    if (size == 126) {
        if (length < 4) return 0;
        head_bytes = 4;
        size = head[2] << 8 | head[3];
    } else if (size > 126) fail("masked, or over 64 KiB");
    if (length < head_bytes + size) return 0;
    if (head[0] == 0x81) take_notification(connection, data, head_bytes + size, at);
    else if (head[0] == 0x89 && size <= 125) send_pong(connection, data + head_bytes, size);
    else fail("connection %ld: a frame of kind %x", connection - connections, head[0]);
    return head_bytes + size;
}

static int take_handshake(struct connection *connection, const char *data, int length) {
    const char *end = memmem(data, length, "\r\n\r\n", 4);
    if (!end) return 0;
    if (strncmp(data, "HTTP/1.1 101 ", 13) || !memmem(data, length, ACCEPT, strlen(ACCEPT)))
        fail("the handshake was answered with: %.*s", length, data);
    connection->seen = 0;
    opening--;
    open_more();
    return end + 4 - data;
}

static void connection_readable(struct connection *connection) {
    int length = connection->length;
    if (length) memcpy(input, connection->rest, length);
    ssize_t got = recv(connection->fd, input + length, READ_BYTES - length, 0);
    if (got <= 0) {
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
        fail("connection %ld was lost", connection - connections);
    }
    length += got;
    double at = now();
    int position = 0;
    if (connection->seen == HANDSHAKE) position = take_handshake(connection, input, length);
    if (connection->seen != HANDSHAKE)
        for (int size; (size = take_frame(connection, input + position, length - position, at)); position += size)
            ;
    int left = length - position;
    if (left) {
        connection->rest = realloc(connection->rest, left);
        memcpy(connection->rest, input + position, left);
    }
    connection->length = left;
}

static void publisher_readable(struct publisher *publisher) {
    ssize_t got = recv(publisher->fd, publisher->answer + publisher->length,
                       sizeof publisher->answer - 1 - publisher->length, 0);
    if (got <= 0) {
        if (publisher->broadcast != IDLE) fail("a publisher was disconnected");
        close(publisher->fd);  // kept alive long enough; the next run opens another one
        publisher->fd = 0;
        return;
    }
    publisher->length += got;
    publisher->answer[publisher->length] = 0;
    char *end = strstr(publisher->answer, "\r\n\r\n");
    const char *size = strcasestr(publisher->answer, "\r\nContent-Length:");
    if (!end || !size || end + 4 + atoi(size + 17) > publisher->answer + publisher->length) return;
    const char *live = strstr(end, "\"live\":");
    if (strncmp(publisher->answer, "HTTP/1.1 202 ", 13) || !live || atoi(live + 7) < connection_count)
        fail("a publish was answered with: %s", publisher->answer);
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
    printf("{\"broadcasts\":%d,\"deliveries\":%ld,\"frame_bytes\":%d,\"seconds\":%.6f,\"client_cpu_seconds\":%.3f,"
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
