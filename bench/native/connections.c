// The load client that comes and goes: many connections of one transport, each of a user of its own. One thread, epoll.
//
//   connections PORT TRANSPORT IN_FLIGHT TOKENS [SUBPROTOCOL]
//
// TRANSPORT is websocket, sse or poll; IN_FLIGHT is how many may be on their way in at a time; TOKENS is a file with a
// user's token in each line, u0's in the first, or - for a server that asks for none. Commands, one a line:
//
//   tokens FILE                          other tokens from now on
//   open COUNT NUMBER FRAMES TARGET      opens so many, at once; said when each has been taken in and got FRAMES
//   more NUMBER FRAMES                   says {"waiting":...}, and more when everybody has got these FRAMES too
//   close                                says it when the server has ended them all
//
// FRAMES has a letter for each frame that has to come, in this order: b for everybody (published to `notifications`),
// u for the user, t for the topic `news`; - stands for none. Notifications have the `type` bench, the `number` NUMBER,
// NUMBER + 1, ..., and say whom they are `of`: all, news, or the user. Whatever else comes, or comes twice, late or
// changed, ends the process with status 1 and a line on standard error. So does a gap.
#include "http.h"

#define EVENTS 512
#define SILENCE_S 20.0  // so long without anything: something is lost
#define SETTLE_S 0.05   // so long it listens, when everybody has got all, for what shouldn't come
#define TOKEN_BYTES 8192
#define TAG_INPUT UINT64_MAX

struct connection {
    struct websocket socket;  // the first: a pointer to it is one to the connection. Also where rests of others are kept
    int seen;                 // frames since it was opened
    bool greeted, complete;   // greeted: it was told `welcome`; or a poll that has its cursor, and waits now
};

typedef int (*taker)(struct connection *, const char *data, int length);

static int poll_fd, port, in_flight;
static const char *transport, *subprotocol;
static char **tokens;
static int token_count;
static struct connection *connections;
static int connection_count, begun, answered, completed, ended;
static bool closing;
static char target[2048], frames[4096];
static int first_number, frame_count;
static double last_event;

static int number_of(const struct connection *connection) { return connection - connections; }

static void load_tokens(const char *path) {
    static char line[TOKEN_BYTES];
    if (!strcmp(path, "-")) return;
    FILE *file = fopen(path, "r");
    if (!file) fail("%s: %s", path, strerror(errno));
    for (int i = 0; i < token_count; i++) free(tokens[i]);
    token_count = 0;
    for (int room = 0; fgets(line, sizeof line, file); token_count++) {
        line[strcspn(line, "\n")] = 0;
        if (token_count == room && !(tokens = realloc(tokens, (room = 2 * room + 1024) * sizeof *tokens))) fail("out of memory");
        tokens[token_count] = strdup(line);
    }
    fclose(file);
}

// What a request needs beside the usual; good until the next call.
static const char *headers_of(const struct connection *connection) {
    static char headers[TOKEN_BYTES];
    int length = 0;
    headers[0] = 0;
    if (tokens && number_of(connection) >= token_count) fail("there are only %d tokens", token_count);
    if (tokens) length = sprintf(headers, "Authorization: Bearer %s\r\n", tokens[number_of(connection)]);
    if (subprotocol) sprintf(headers + length, "Sec-WebSocket-Protocol: %s\r\n", subprotocol);
    return headers;
}

static void get(struct connection *connection, const char *accept, const char *cursor, int cursor_length) {
    char request[TOKEN_BYTES + 4096];
    int length = snprintf(request, sizeof request, "GET %s%s%.*s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: %s\r\n%s\r\n", target,
                          cursor ? "&cursor=" : "", cursor_length, cursor ? cursor : "", port, accept, headers_of(connection));
    if (length >= (int)sizeof request) fail("a request of %d bytes", length);
    send_all(connection->socket.fd, request, length);
}

static void begin(struct connection *connection) {
    *connection = (struct connection){0};
    if (!strcmp(transport, "websocket")) {
        websocket_connect(&connection->socket, port, target, headers_of(connection));
    } else {
        connection->socket.fd = connect_to(port);
        get(connection, strcmp(transport, "sse") ? "*/*" : "text/event-stream", NULL, 0);
    }
    watch(poll_fd, connection->socket.fd, number_of(connection));
}

static void begin_more(void) {
    while (begun < connection_count && begun - answered < in_flight) begin(&connections[begun++]);
}

static void look_if_complete(struct connection *connection) {
    bool is_greeted = connection->greeted || (!subprotocol && strcmp(transport, "sse"));
    if (connection->complete || !connection->socket.open || !is_greeted || connection->seen < frame_count) return;
    connection->complete = true;
    completed++;
}

static void opened(struct connection *connection) {
    connection->socket.open = true;
    answered++;
    look_if_complete(connection);
    begin_more();
}

static bool has(const char *frame, int length, const char *format, ...) {
    char part[128];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(part, sizeof part, format, arguments);
    va_end(arguments);
    return memmem(frame, length, part, size) != NULL;
}

static bool is_right(const struct connection *connection, const char *frame, int length) {
    int user = number_of(connection), number = first_number + connection->seen;
    if (!has(frame, length, "\"type\":\"bench\"") || !has(frame, length, "\"number\":%d,", number)) return false;
    switch (frames[connection->seen]) {
        case 'b': return has(frame, length, "\"of\":\"all\"") && has(frame, length, "\"channel\":\"notifications\"");
        case 't': return has(frame, length, "\"of\":\"news\"") && has(frame, length, "\"channel\":\"news\"");
        default: return has(frame, length, "\"of\":\"u%d\"", user) && has(frame, length, "\"channel\":\"user:u%d:notifications\"", user);
    }
}

// A frame, whatever it came in: the hub's own, or the next notification.
static void take(struct connection *connection, const char *frame, int length) {
    if (length > 7 && !memcmp(frame, "{\"hub\":", 7)) {
        if (!has(frame, length, "\"hub\":\"welcome\"") || has(frame, length, "\"recovered\":false") || connection->greeted)
            fail("connection %d was told: %.*s", number_of(connection), length, frame);
        connection->greeted = true;
        look_if_complete(connection);
        return;
    }
    if (connection->seen >= frame_count)
        fail("connection %d got a frame too many: %.*s", number_of(connection), length, frame);
    if (!is_right(connection, frame, length))
        fail("connection %d, frame %d: lost, doubled, reordered or changed: %.*s", number_of(connection), connection->seen, length, frame);
    connection->seen++;
    look_if_complete(connection);
}

static void take_frame(struct websocket *socket, unsigned opcode, const char *frame, int length, double at) {
    (void)at;
    struct connection *connection = (struct connection *)socket;
    if (opcode == CLOSE && closing) return;
    if (opcode != TEXT) fail("connection %d: a frame of kind %x: %.*s", number_of(connection), opcode, length, frame);
    take(connection, frame, length);
}

// One event of a stream, or its head; gives how many bytes it has, 0 when it isn't all there.
static int take_event(struct connection *connection, const char *data, int length) {
    const char *mark = connection->socket.open ? "\n\n" : "\r\n\r\n";
    const char *end = memmem(data, length, mark, strlen(mark));
    if (!end) return 0;
    int size = end + strlen(mark) - data;
    if (!connection->socket.open) {
        if (strncmp(data, "HTTP/1.1 200 ", 13)) fail("connection %d was answered with: %.*s", number_of(connection), length, data);
        opened(connection);
        return size;
    }
    const char *line = memmem(data, size, "data: ", 6);
    if (line) take(connection, line + 6, end - line - 6);
    return size;
}

// An answer to a poll: the first gives the cursor with which the next one waits, which brings all there is, once.
static int take_answer(struct connection *connection, const char *data, int length) {
    const char *head = memmem(data, length, "\r\n\r\n", 4), *size = head ? strcasestr(data, "\r\nContent-Length:") : NULL;
    if (!size || head + 4 + atoi(size + 17) > data + length) return 0;
    int all = head + 4 + atoi(size + 17) - data;
    if (strncmp(data, "HTTP/1.1 200 ", 13)) fail("connection %d was answered with: %.*s", number_of(connection), length, data);
    if (!connection->greeted) {
        const char *cursor = strstr(head, "\"cursor\":\"");
        if (!cursor) fail("a poll without a cursor: %s", data);
        connection->greeted = true;
        get(connection, "*/*", cursor + 10, strcspn(cursor + 10, "\""));
        opened(connection);
        return all;
    }
    if (!strstr(head, "\"gap\":null")) fail("connection %d was told of a gap: %s", number_of(connection), head);
    const char *next = strstr(head, "{\"id\":");
    if (!next) fail("connection %d had waited for nothing: %s", number_of(connection), head);
    for (const char *after; next; next = after) {
        after = strstr(next + 1, "{\"id\":");
        take(connection, next, (after ? after : data + all) - next);
    }
    return all;
}

// Reads once; false when the server has ended the connection.
static bool readable(struct connection *connection, taker take_one) {
    static char input[INPUT_BYTES + 1];
    struct websocket *socket = &connection->socket;
    int length = socket->length, position = 0;
    if (length) memcpy(input, socket->rest, length);
    ssize_t got = recv(socket->fd, input + length, INPUT_BYTES - length, 0);
    if (got <= 0) return got < 0 && (errno == EAGAIN || errno == EINTR);
    length += got;
    input[length] = 0;
    for (int size; position < length && (size = take_one(connection, input + position, length - position)); position += size)
        ;
    socket->length = length - position;
    if (socket->length && !(socket->rest = realloc(socket->rest, socket->length))) fail("out of memory");
    memcpy(socket->rest, input + position, socket->length);
    return true;
}

static void end(struct connection *connection) {
    struct linger reset = {1, 0};  // so that nothing of it is left in the system, and its port can be had again
    setsockopt(connection->socket.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    websocket_end(&connection->socket);
}

static void connection_readable(struct connection *connection) {
    bool was_open = connection->socket.open, is_there;
    if (!strcmp(transport, "websocket")) {
        is_there = websocket_readable(&connection->socket, take_frame);
        if (!was_open && connection->socket.open) opened(connection);
    } else is_there = readable(connection, strcmp(transport, "sse") ? take_answer : take_event);
    if (is_there) return;
    if (!closing) fail("connection %d was lost", number_of(connection));
    end(connection);
    ended++;
}

static bool handle_events(int timeout_ms) {
    struct epoll_event events[EVENTS];
    bool commanded = false;
    int ready = epoll_wait(poll_fd, events, EVENTS, timeout_ms);
    for (int i = 0; i < ready; i++) {
        if (events[i].data.u64 == TAG_INPUT) commanded = true;
        else connection_readable(&connections[events[i].data.u64]);
    }
    if (ready > 0) last_event = now();
    return commanded;
}

static void go_on(const char *what) {
    handle_events(1000);
    if (now() - last_event > SILENCE_S)
        fail("lost: nothing came for %.0f s; of %d connections %d were taken in, %d %s", SILENCE_S, connection_count, answered,
             closing ? ended : completed, what);
}

static void settle(void) {
    for (double until = now() + SETTLE_S; now() < until;) handle_events(1);
}

static double cpu_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void expect(int number, const char *letters) {
    if (strspn(letters, "but") == strlen(letters)) strcpy(frames, letters);
    else if (!strcmp(letters, "-")) frames[0] = 0;
    else fail("not frames: %s", letters);
    first_number = number;
    frame_count = strlen(frames);
    completed = 0;
    for (int i = 0; i < connection_count; i++) connections[i].complete = false, connections[i].seen = 0;
}

static void open_all(int count) {
    double cpu = cpu_seconds(), start = last_event = now();
    for (begin_more(); completed < count;) go_on("have everything");
    double seconds = now() - start;
    cpu = cpu_seconds() - cpu;
    printf("{\"opened\":%d,\"seconds\":%.6f,\"client_cpu_seconds\":%.3f}\n", count, seconds, cpu);
    fflush(stdout);  // at once: whoever measures the server reads what it has used so far
    settle();
    printf("{\"settled\":%d}\n", count);
}

static void more(int number, const char *letters) {
    expect(number, letters);
    printf("{\"waiting\":%d}\n", connection_count);
    fflush(stdout);
    for (last_event = now(); completed < connection_count;) go_on("have everything");
    settle();
    printf("{\"complete\":%d}\n", connection_count);
}

static void close_all(void) {
    const char normal[] = {1000 >> 8, 1000 & 0xff};
    closing = true;
    for (int i = 0; i < connection_count; i++) {
        if (strcmp(transport, "websocket")) shutdown(connections[i].socket.fd, SHUT_WR);
        else websocket_send(&connections[i].socket, CLOSE, normal, sizeof normal);
    }
    for (last_event = now(); ended < connection_count;) go_on("were ended");
    printf("{\"closed\":%d}\n", connection_count);
    connection_count = begun = answered = ended = 0;
    closing = false;
    free(connections);
    connections = NULL;
}

static void obey(const char *line) {
    static char letters[sizeof frames], path[1024];
    int count, number;
    if (sscanf(line, "tokens %1023s", path) == 1) load_tokens(path), printf("{\"tokens\":%d}\n", token_count);
    else if (sscanf(line, "open %d %d %4095s %2047s", &count, &number, letters, target) == 4 && count > 0 && !connections) {
        connections = room_for(count, sizeof *connections);
        connection_count = count;
        expect(number, letters);
        open_all(count);
    } else if (sscanf(line, "more %d %4095s", &number, letters) == 2) more(number, letters);
    else if (!strncmp(line, "close", 5)) close_all();
    else fail("not a command: %s", line);
    fflush(stdout);
}

int main(int count, char **arguments) {
    if (count != 5 && count != 6) fail("usage: connections PORT TRANSPORT IN_FLIGHT TOKENS [SUBPROTOCOL]");
    port = atoi(arguments[1]);
    transport = arguments[2];
    in_flight = atoi(arguments[3]);
    load_tokens(arguments[4]);
    subprotocol = count == 6 ? arguments[5] : NULL;
    raise_open_files();
    poll_fd = epoll_create1(0);
    watch(poll_fd, STDIN_FILENO, TAG_INPUT);
    for (char line[8192];;) {
        if (!handle_events(-1)) continue;
        if (!fgets(line, sizeof line, stdin)) return 0;
        obey(line);
    }
}
