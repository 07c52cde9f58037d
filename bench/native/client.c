// The load client: many WebSocket connections, and the publishers that drive broadcasts to them. One thread, epoll.
//
//   client PROTOCOL PORT PUBLISH_PORT CONNECTIONS [API_KEY TOKENS]
//
// PROTOCOL is one of protocols.h. TOKENS is a file with a line for each connection: its user's token. Opens the
// connections, one topic each, says {"connected":...}, and then takes commands on standard input, one a line:
//
//   run BROADCASTS WINDOW BODY_BYTES
//
// publishes so many messages to everybody, WINDOW of them outstanding at any time (until the last delivery has been
// received; by HTTP each on its own keep-alive connection), and answers with one line of JSON.
//
// Every message is checked: on each connection the same ones in the same order, none lost, none twice, each with what
// was published. Whatever is wrong ends the process with status 1 and a line on standard error.
#include "protocols.h"

#define EVENTS 512
#define OPENING 64      // handshakes at a time
#define WINDOW 64       // publishers at most
#ifndef SILENCE_S
#define SILENCE_S 10.0  // so long without anything: something is lost
#endif
#define SETTLE_S 0.03   // so long it listens after a run for what shouldn't come
#define IDLE (-1)
#define TAG_INPUT UINT64_MAX
#define TAG_FEED (UINT64_MAX - 1)
#define TAG_PUBLISHER (1ULL << 32)

struct connection {
    struct websocket socket;  // the first: a pointer to it is one to the connection
    int seen;                 // messages of this run
    bool ready;
    int length;  // of the beginning of a unit whose rest comes in another frame
    char *rest;
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

struct place {  // the k-th message of the run, as the first connection got it: all others must get the same
    int broadcast, length;
    char *message;
};

static const struct protocol *protocol;
static int poll_fd, port, publish_port, connection_count, opened, opening;
static const char *api_key;
static char **tokens;  // NULL: nobody has one
static struct connection *connections;
static struct publisher publishers[WINDOW];
static struct connection feed;  // that all publishers share, where they don't come by HTTP

static int total, sent, finished, placed, window, body_bytes;  // of the run; total 0: there is none
static int first_number;                                       // its broadcasts are numbered from here
static struct broadcast *broadcasts;
static struct place *places;
static uint32_t *latencies;  // microseconds, of every single delivery
static long deliveries;
static double last_event;

static void open_more(void) {
    while (opened < connection_count && opening < OPENING) {
        char headers[2048];
        int length = snprintf(headers, sizeof headers, "%s", protocol->headers);
        if (tokens)
            length += snprintf(headers + length, sizeof headers - length, "Authorization: Bearer %s\r\n", tokens[opened]);
        if (length >= (int)sizeof headers) fail("a token that is too long");
        websocket_connect(&connections[opened].socket, port, protocol->path, headers);
        watch(poll_fd, connections[opened].socket.fd, opened);
        opened++;
        opening++;
    }
}

static void become_ready(struct connection *connection) {
    connection->ready = true;
    if (connection == &feed) return;
    opening--;
    open_more();
}

static void become_open(struct connection *connection) {
    char greeting[256];
    if (protocol->greet) websocket_send(&connection->socket, protocol->opcode, greeting, protocol->greet(greeting));
    if (!protocol->tells_ready) become_ready(connection);
}

static void open_publisher(struct publisher *publisher) {
    if (publisher->http.fd) return;
    publisher->http.fd = connect_to(publish_port);
    publisher->broadcast = IDLE;
    watch(poll_fd, publisher->http.fd, TAG_PUBLISHER + (publisher - publishers));
}

static void open_feed(void) {
    char greeting[256];
    if (protocol->way == BY_WEBSOCKET) {
        websocket_connect(&feed.socket, publish_port, protocol->publish_path, "");
    } else {
        feed.socket.fd = connect_to(publish_port);
        send_all(feed.socket.fd, greeting, protocol->greet_publisher(greeting));
        feed.ready = true;
    }
    watch(poll_fd, feed.socket.fd, TAG_FEED);
}

static void hand_in(struct publisher *publisher, const char *request, int size) {
    static char headers[256];
    if (protocol->way == BY_TCP) send_all(feed.socket.fd, request, size);
    else if (protocol->way == BY_WEBSOCKET) websocket_send(&feed.socket, protocol->opcode, request, size);
    else {
        if (api_key) snprintf(headers, sizeof headers, "Authorization: Bearer %s\r\n", api_key);
        http_post(&publisher->http, publish_port, protocol->publish_path, headers, request, size);
    }
}

static void publish(struct publisher *publisher) {
    static char content[INPUT_BYTES], request[INPUT_BYTES];
    int number = first_number + sent;
    int size = sprintf(content, "{\"type\":\"bench\"," TITLE "%0*d" BODY, TITLE_DIGITS, number);
    for (int i = 0; i < body_bytes; i++) content[size++] = 'a' + (number + i) % 26;
    size += sprintf(content + size, "\"}");
    publisher->broadcast = sent;
    publisher->answered = protocol->way != BY_HTTP;
    size = protocol->wrap(request, content, size);
    broadcasts[sent].sent = now();
    sent++;
    hand_in(publisher, request, size);
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

// The first message at its place in the order: reads which broadcast it is, and checks all of it.
static void place(const char *message, int length) {
    const char *title = memmem(message, length, TITLE, strlen(TITLE));
    if (!title) fail("not a broadcast: %.*s", length, message);
    const char *digits = title + strlen(TITLE);
    const char *body = digits + TITLE_DIGITS;
    int number = atoi(digits);
    bool good = body + strlen(BODY) + body_bytes < message + length && !memcmp(body, BODY, strlen(BODY));
    for (int i = 0; good && i < body_bytes; i++) good = body[strlen(BODY) + i] == 'a' + (number + i) % 26;
    if (!good || body[strlen(BODY) + body_bytes] != '"') fail("not what was published: %.*s", length, message);
    number -= first_number;
    if (number < 0 || number >= sent) fail("broadcast %d was not published in this run", number + first_number);
    if (broadcasts[number].placed) fail("broadcast %d came twice", number + first_number);
    broadcasts[number].placed = true;
    struct place *new = &places[placed++];
    new->broadcast = number;
    new->length = length;
    new->message = room_for(length, 1);
    memcpy(new->message, message, length);
}

static void take_message(struct connection *connection, const char *message, int length, double at) {
    if (connection == &feed || !connection->ready)
        fail("a message to somebody who isn't subscribed: %.*s", length, message);
    int k = connection->seen++;
    if (k >= total) fail("connection %ld got a message too many: %.*s", connection - connections, length, message);
    if (k == placed) place(message, length);
    if (length != places[k].length || memcmp(message, places[k].message, length))
        fail("connection %ld, message %d: lost, doubled, reordered or changed: %.*s", connection - connections, k,
             length, message);
    delivered(places[k].broadcast, at);
}

// Every whole unit in there; gives how many bytes these were.
static int take_units(struct connection *connection, const char *data, int length, double at) {
    int position = 0;
    while (position < length) {
        struct taken taken = {NOTHING, NULL};
        int size = protocol->take(data + position, length - position, &taken);
        if (!size) break;
        if (taken.meaning == MESSAGE) take_message(connection, data + position, size, at);
        else if (taken.meaning == READY) become_ready(connection);
        if (taken.answer && connection->socket.open)
            websocket_send(&connection->socket, protocol->opcode, taken.answer, strlen(taken.answer));
        else if (taken.answer) send_all(connection->socket.fd, taken.answer, strlen(taken.answer));
        position += size;
    }
    return position;
}

// A piece of a stream of units.
static void take_piece(struct connection *connection, const char *piece, int length, double at) {
    int before = connection->length, all = before + length;
    if (before) {
        connection->rest = realloc(connection->rest, all);
        if (!connection->rest) fail("out of memory");
        memcpy(connection->rest + before, piece, length);
        piece = connection->rest;
    }
    int taken = take_units(connection, piece, all, at), left = all - taken;
    char *rest = NULL;
    if (left) {
        rest = room_for(left, 1);
        memcpy(rest, piece + taken, left);
    }
    free(connection->rest);
    connection->rest = rest;
    connection->length = left;
}

static void take_frame(struct websocket *socket, unsigned opcode, const char *frame, int length, double at) {
    struct connection *connection = (struct connection *)socket;
    if (opcode != protocol->opcode) fail("connection %ld: a frame of kind %x", connection - connections, opcode);
    if (protocol->is_stream) take_piece(connection, frame, length, at);
    else take_units(connection, frame, length, at);
}

static void connection_readable(struct connection *connection) {
    bool was_open = connection->socket.open;
    if (!websocket_readable(&connection->socket, take_frame)) fail("connection %ld was lost", connection - connections);
    if (!was_open && connection->socket.open) become_open(connection);
}

static void feed_readable(void) {
    if (protocol->way == BY_WEBSOCKET) {
        if (!websocket_readable(&feed.socket, take_frame)) fail("the publisher was disconnected");
        feed.ready = feed.socket.open;
        return;
    }
    char piece[4096];
    ssize_t got = recv(feed.socket.fd, piece, sizeof piece, 0);
    if (got > 0) take_piece(&feed, piece, got, now());
    else if (got == 0 || (errno != EAGAIN && errno != EINTR)) fail("the publisher was disconnected");
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
    if (status != protocol->status || (live && atoi(live + 7) < connection_count))
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
        else if (tag == TAG_FEED) feed_readable();
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
    for (int i = 0; i < window && protocol->way == BY_HTTP; i++) open_publisher(&publishers[i]);
    sent = finished = placed = 0;
    deliveries = 0;
    double cpu = cpu_seconds(), start = last_event = now();
    for (int i = 0; i < window && sent < total; i++) publish(&publishers[i]);
    while (finished < total)
        if (handle_events(1000)) fail("a command, or the end of them, in the middle of a run");
    double seconds = now() - start;
    cpu = cpu_seconds() - cpu;
    for (double end = now() + SETTLE_S; now() < end;) handle_events(1);
    report(seconds, cpu);
    first_number += total;
    for (int i = 0; i < total; i++) free(places[i].message);
    free(broadcasts);
    free(places);
    free(latencies);
    total = 0;
}

static void read_tokens(const char *path) {
    FILE *file = fopen(path, "r");
    if (!file) fail("%s: %s", path, strerror(errno));
    tokens = room_for(connection_count, sizeof *tokens);
    for (int i = 0; i < connection_count; i++) {
        size_t room = 0;
        ssize_t length = getline(&tokens[i], &room, file);
        if (length < 2) fail("there are only %d tokens", i);
        tokens[i][length - 1] = 0;
    }
    fclose(file);
}

static void open_all(void) {
    for (open_more(); opening;) handle_events(1000);
    if (protocol->way != BY_HTTP) open_feed();
    while (protocol->way != BY_HTTP && !feed.ready) handle_events(1000);
    printf("{\"connected\":%d}\n", connection_count);
    fflush(stdout);
}

int main(int count, char **arguments) {
    if (count != 5 && count != 7) fail("usage: client PROTOCOL PORT PUBLISH_PORT CONNECTIONS [API_KEY TOKENS]");
    protocol = protocol_named(arguments[1]);
    port = atoi(arguments[2]);
    publish_port = atoi(arguments[3]);
    connection_count = atoi(arguments[4]);
    if (count == 7) {
        api_key = arguments[5];
        read_tokens(arguments[6]);
    }
    connections = room_for(connection_count, sizeof *connections);
    raise_open_files();
    poll_fd = epoll_create1(0);
    open_all();
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
