// The load client of what is asked by HTTP: publishers on keep-alive connections, each with one call under way, and
// WebSocket connections of the users who are published to. One thread, epoll.
//
//   requests PORT API_KEY PUBLISHERS TOKENS
//
// TOKENS is a file with a line for each user who is connected (u0, u1, ...): his token. Says {"connected":...}, and then
// takes commands on standard input, one a line:
//
//   publish CALLS BATCH USERS BODY_BYTES IDS   so many calls, to one user after the other; BATCH notifications in each
//                                              (0: one, by the call for one); IDS 1: with an id of the publisher's own
//   broadcast CALLS BODY_BYTES ACKS            one after the other to everybody; ACKS 1: each connection acks each one
//   ack CALLS IDS                              POST /api/acks, for one user after the other, with IDS of what he has got
//
// and answers each with a line of JSON. All of it is checked: each answer's status and body, and that each connection
// gets what was published to its user, with the content that was published, once, in the order of the cursors. Whatever
// is wrong ends the process with status 1 and a line on standard error.
#include "http.h"

#define EVENTS 256
#define OPENING 64      // handshakes at a time
#define MOST 256        // publishers
#define SILENCE_S 10.0  // so long without anything: something is lost
#define SETTLE_S 0.02   // so long it listens after a run for what shouldn't come
#define KEPT 128        // ids that each connection remembers, of what came last
#define ID_BYTES 40
#define TAG_INPUT UINT64_MAX
#define TAG_PUBLISHER (1ULL << 32)

struct connection {
    struct websocket socket;  // the first: a pointer to it is one to the connection
    long cursor;              // of the last frame
    long frames;              // so many came
    long acked;               // so many of them were acked, or never will be
    char *token;
    char (*ids)[ID_BYTES];
};

struct publisher {
    struct http http;
    bool busy;
    double sent;
    long first;  // number of the first notification of the call, or of the call
};

enum what { NOTHING, PUBLISH, BROADCAST, ACK };

static int poll_fd, port, publisher_count, connection_count, opened, opening;
static const char *api_key;
static struct connection *connections;
static struct publisher publishers[MOST];

static enum what what;                                       // the run
static long calls, batch, users, body_bytes, with_ids, acks; // what was asked for
static long begun, answered;                                 // calls
static long published, first_number, wanted, delivered, pongs;
static long answer_bytes;
static uint8_t *seen;       // by number within the run: whether it came
static uint32_t *latencies; // microseconds, of every answer
static double last_event;

// Connections

static void open_more(void) {
    while (opened < connection_count && opening < OPENING) {
        static char header[9000];
        snprintf(header, sizeof header, "Authorization: Bearer %s\r\n", connections[opened].token);
        websocket_connect(&connections[opened].socket, port, "/notifications", header);
        watch(poll_fd, connections[opened].socket.fd, opened);
        opened++;
        opening++;
    }
}

static const char *field(const char *frame, int length, const char *name) {
    const char *found = memmem(frame, length, name, strlen(name));
    if (!found) fail("a frame without %s: %.*s", name, length, frame);
    return found + strlen(name);
}

static void keep_id(struct connection *connection, const char *frame, int length) {
    const char *id = field(frame, length, "\"id\":\"");
    const char *end = memchr(id, '"', frame + length - id);
    if (!end || end - id >= ID_BYTES) fail("an odd id: %.*s", length, frame);
    char *place = connection->ids[connection->frames % KEPT];
    memcpy(place, id, end - id);
    place[end - id] = 0;
}

// What was published with this number, as the body of the notification ends.
static int write_text(char *text, long number) {
    int size = sprintf(text, TITLE "%0*ld" BODY, TITLE_DIGITS, number);
    for (int i = 0; i < body_bytes; i++) text[size++] = 'a' + (number + i) % 26;
    text[size++] = '"';
    return size;
}

static void check_frame(struct connection *connection, const char *frame, int length) {
    static char text[70000];
    long index = connection - connections;
    const char *title = memmem(frame, length, TITLE, strlen(TITLE));
    if (!title) fail("connection %ld: not what was published: %.*s", index, length, frame);
    long number = atol(title + strlen(TITLE));
    int size = write_text(text, number);
    if (title + size > frame + length || memcmp(title, text, size))
        fail("connection %ld: not what was published: %.*s", index, length, frame);
    long place = number - first_number;
    if (place < 0 || place >= published) fail("%ld was not published in this run", number);
    if (what == PUBLISH) {
        if (number % users != index) fail("connection %ld got what was for user u%ld", index, number % users);
        if (seen[place]++) fail("connection %ld got %ld twice", index, number);
    }
    const char *cursor = field(frame, length, "\"cursor\":\"");
    const char *dash = memchr(cursor, '-', frame + length - cursor);
    long position = dash ? atol(dash + 1) : 0;
    if (position <= connection->cursor) fail("connection %ld: out of order, or twice: %.*s", index, length, frame);
    connection->cursor = position;
}

static void go_on(void);

static void take_frame(struct websocket *socket, unsigned opcode, const char *frame, int length, double at) {
    struct connection *connection = (struct connection *)socket;
    (void)at;
    if (opcode == PONG && what == BROADCAST) {
        pongs++;
        return;
    }
    if (opcode != TEXT || (what != PUBLISH && what != BROADCAST))
        fail("connection %ld got what nobody sent: %x %.*s", connection - connections, opcode, length, frame);
    check_frame(connection, frame, length);
    keep_id(connection, frame, length);
    if (acks && what == BROADCAST) {
        char ack[128];
        int size = sprintf(ack, "{\"action\":\"ack\",\"id\":\"%s\"}", connection->ids[connection->frames % KEPT]);
        websocket_send(socket, TEXT, ack, size);
    }
    connection->frames++;
    delivered++;
    if (what == BROADCAST) go_on();
}

static void connection_readable(struct connection *connection) {
    bool was_open = connection->socket.open;
    if (!websocket_readable(&connection->socket, take_frame)) fail("connection %ld was lost", connection - connections);
    if (was_open || !connection->socket.open) return;
    opening--;
    open_more();
}

// Calls

static int write_notification(char *body, long number, const char *to) {
    int size = sprintf(body, "{\"to\":\"%s\",", to);
    if (with_ids) size += sprintf(body + size, "\"id\":\"bench-%ld\",", number);
    size += sprintf(body + size, "\"notification\":{\"type\":\"bench\",");
    size += write_text(body + size, number);
    return size + sprintf(body + size, "}}");
}

static int write_publish(char *body, long number) {
    char to[32];
    if (what == BROADCAST) return write_notification(body, number, "notifications");
    snprintf(to, sizeof to, "user:u%ld", number % users);
    if (number % users < connection_count) wanted++;
    return write_notification(body, number, to);
}

static void call_publish(struct publisher *publisher) {
    static char body[INPUT_BYTES], header[256];
    int size = 0;
    publisher->first = first_number + published;
    if (batch) {
        if (batch * (body_bytes + 160) > INPUT_BYTES - 1024) fail("too much for one call");
        for (long i = 0; i < batch; i++) {
            body[size++] = i ? ',' : '[';
            size += write_publish(body + size, publisher->first + i);
        }
        body[size++] = ']';
        published += batch;
    } else {
        size = write_publish(body, publisher->first);
        published++;
    }
    snprintf(header, sizeof header, "Authorization: Bearer %s\r\n", api_key);
    http_post(&publisher->http, port, batch ? "/api/notifications/batch" : "/api/notifications", header, body, size);
}

static void call_ack(struct publisher *publisher) {
    static char body[KEPT * (ID_BYTES + 3) + 16], header[9000];
    struct connection *connection = &connections[begun % connection_count];
    int size = sprintf(body, "{\"ids\":[");
    for (long i = 0; i < acks; i++) {
        if (connection->acked == connection->frames || connection->acked + KEPT < connection->frames)
            fail("connection %d has no ids left that it could ack", (int)(connection - connections));
        size += sprintf(body + size, "%s\"%s\"", i ? "," : "", connection->ids[connection->acked++ % KEPT]);
    }
    size += sprintf(body + size, "]}");
    snprintf(header, sizeof header, "Authorization: Bearer %s\r\n", connection->token);
    http_post(&publisher->http, port, "/api/acks", header, body, size);
}

static void call(struct publisher *publisher) {
    publisher->busy = true;
    publisher->sent = now();
    if (what == ACK) call_ack(publisher);
    else call_publish(publisher);
    begun++;
}

// Start what may be under way: of broadcasts one after the other, of others one on each publisher.
static void go_on(void) {
    if (what == BROADCAST) {
        if (begun < calls && answered == begun && delivered == begun * connection_count) call(&publishers[0]);
        return;
    }
    for (int i = 0; i < publisher_count && begun < calls; i++)
        if (!publishers[i].busy) call(&publishers[i]);
}

// One answer to a publish; gives where it ends.
static const char *check_publish(const char *answer, long number) {
    const char *live = strstr(answer, "\"live\":");
    const char *end = live ? strchr(live, '}') : NULL;
    long expected = what == BROADCAST ? connection_count : number % users < connection_count;
    if (!end || atol(live + 7) != expected || !memmem(answer, end - answer, "\"duplicate\":false", 17))
        fail("publish %ld (live has to be %ld) was answered with: %s", number, expected, answer);
    return end + 1;
}

static void check_answer(struct publisher *publisher, int status, const char *body) {
    if (what == ACK) {
        if (status != 200 || strcmp(body, "{\"ok\":true}")) fail("acks were answered with %d: %s", status, body);
    } else if (!batch) {
        if (status != 202) fail("a publish was answered with %d: %s", status, body);
        check_publish(body, publisher->first);
    } else {
        const char *rest = body;
        if (status != 200) fail("a batch was answered with %d: %s", status, body);
        for (long i = 0; i < batch; i++) {
            if (strncmp(rest + 1, "{\"status\":202,", 14)) fail("item %ld of a batch was answered with: %s", i, rest);
            rest = check_publish(rest + 1, publisher->first + i);
        }
        if (strcmp(rest, "]")) fail("a batch's answer ends with: %s", rest);
    }
}

static void publisher_readable(struct publisher *publisher) {
    const char *body;
    int status = http_readable(&publisher->http, &body);
    if (status == 0) return;
    if (status < 0) {
        if (publisher->busy) fail("a publisher was disconnected");
        close(publisher->http.fd);  // kept alive long enough; the next run opens another one
        publisher->http.fd = 0;
        return;
    }
    latencies[answered++] = (now() - publisher->sent) * 1e6;
    answer_bytes += publisher->http.length;
    check_answer(publisher, status, body);
    publisher->busy = false;
    go_on();
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
    if (ready > commanded) last_event = now();
    else if (what != NOTHING && now() - last_event > SILENCE_S)
        fail("lost: nothing came for %.0f s; %ld of %ld calls answered, %ld of %ld notifications delivered, %ld pongs",
             SILENCE_S, answered, calls, delivered, wanted, pongs);
    return commanded;
}

// Runs

static int ascending(const void *one, const void *other) {
    uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
    return (a > b) - (a < b);
}

static double cpu_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

// What was sent before this pong has been handled.
static void await_pongs(void) {
    for (int i = 0; i < connection_count; i++) websocket_send(&connections[i].socket, PING, "", 0);
    while (pongs < connection_count) handle_events(1000);
}

static void report(double seconds, double cpu) {
    qsort(latencies, calls, sizeof *latencies, ascending);
    printf("{\"calls\":%ld,\"notifications\":%ld,\"deliveries\":%ld,\"seconds\":%.6f,\"client_cpu_seconds\":%.3f,"
           "\"answer_bytes\":%.1f,\"answer_us\":{\"p50\":%u,\"p99\":%u,\"max\":%u}}\n",
           calls, published, delivered, seconds, cpu, (double)answer_bytes / calls, latencies[(calls - 1) / 2],
           latencies[(long)((calls - 1) * 0.99)], latencies[calls - 1]);
    fflush(stdout);
}

static void run(void) {
    seen = room_for(calls * (batch ? batch : 1), 1);
    latencies = room_for(calls, sizeof *latencies);
    for (int i = 0; i < publisher_count; i++) {
        if (publishers[i].http.fd) continue;
        publishers[i].http.fd = connect_to(port);
        watch(poll_fd, publishers[i].http.fd, TAG_PUBLISHER + i);
    }
    begun = answered = published = wanted = delivered = pongs = answer_bytes = 0;
    if (what == BROADCAST) wanted = calls * connection_count;
    double cpu = cpu_seconds(), start = last_event = now();
    go_on();
    while (answered < calls || delivered < wanted) handle_events(1000);
    if (what == BROADCAST) await_pongs();
    double seconds = now() - start;
    cpu = cpu_seconds() - cpu;
    for (double end = now() + SETTLE_S; now() < end;) handle_events(1);
    report(seconds, cpu);
    first_number += published;
    for (int i = 0; what == BROADCAST && i < connection_count; i++) connections[i].acked = connections[i].frames;
    free(seen);
    free(latencies);
    what = NOTHING;
}

static void command(const char *line) {
    batch = with_ids = acks = 0;
    users = 1;
    if (sscanf(line, "publish %ld %ld %ld %ld %ld", &calls, &batch, &users, &body_bytes, &with_ids) == 5) what = PUBLISH;
    else if (sscanf(line, "broadcast %ld %ld %ld", &calls, &body_bytes, &acks) == 3) what = BROADCAST;
    else if (sscanf(line, "ack %ld %ld", &calls, &acks) == 2 && acks <= KEPT && connection_count) what = ACK;
    else fail("not a command: %s", line);
    if (calls < 1 || batch < 0 || users < 1 || body_bytes < 0 || body_bytes > 60000 || acks < 0 ||
        (what == PUBLISH && users < connection_count))
        fail("not a good command: %s", line);
    run();
}

static void read_tokens(const char *path) {
    static char line[9000];
    FILE *file = fopen(path, "r");
    if (!file) fail("%s: %s", path, strerror(errno));
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        connections = realloc(connections, (connection_count + 1) * sizeof *connections);
        connections[connection_count++] =
            (struct connection){.token = strdup(line), .ids = room_for(KEPT, ID_BYTES)};
    }
    fclose(file);
}

int main(int count, char **arguments) {
    if (count != 5) fail("usage: requests PORT API_KEY PUBLISHERS TOKENS");
    port = atoi(arguments[1]);
    api_key = arguments[2];
    publisher_count = atoi(arguments[3]);
    if (publisher_count < 1 || publisher_count > MOST) fail("1 to %d publishers", MOST);
    read_tokens(arguments[4]);
    raise_open_files();
    poll_fd = epoll_create1(0);
    for (open_more(); opening;) handle_events(1000);
    printf("{\"connected\":%d}\n", connection_count);
    fflush(stdout);
    watch(poll_fd, STDIN_FILENO, TAG_INPUT);
    for (;;) {
        static char line[256];
        if (!handle_events(-1)) continue;
        if (!fgets(line, sizeof line, stdin)) return 0;
        command(line);
    }
}
