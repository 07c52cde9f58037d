// The soak's load client: many WebSocket connections over a long time, publishes at a steady pace, and people who come
// and go. One thread, epoll.
//
//   soak PORT API_KEY TOKENS_FILE SECONDS TARGETED_PER_S BROADCAST_EVERY_S CHURN_PER_S SEED
//
// Opens a connection for each user of TOKENS_FILE (u0, u1, ...; one a line), says {"connected":...}, waits for a line
// on standard input, and then says how it goes, one line of JSON a second, and one at the end of it all; there it waits
// until its input ends.
//
// Open loop: what is due is published when it is due, however long the hub takes, and delivery is timed from then. Who
// goes says goodbye or is cut off, by turns of a die, is away for up to 2 s, and resumes behind the last frame that he
// has really read. Whatever comes to anybody is checked (soak_check.h); a fault ends the process with status 1 and a
// line on standard error.
#include "http.h"
#include "soak_check.h"
#include "soak_probe.h"

#include <sys/timerfd.h>

#define EVENTS 512
#define OPENING_MOST 64  // handshakes at a time, at the beginning
#define PUBLISHERS 16
#define TICK_NS 250000
#define AWAY_MOST_S 2.0
#define ANSWER_S 15.0  // for a handshake, a goodbye
#define SETTLE_S 15.0  // so long after the last publish everybody must have everything
#define LISTEN_S 0.5   // and so long it listens for what shouldn't come
#define FIRST_ADDRESS (INADDR_LOOPBACK + 256)
#define PER_ADDRESS 500  // users; hubs limit that
#define HEADERS_BYTES 1200
#define TAG_TIMER UINT64_MAX
#define TAG_PUBLISHER (1ULL << 32)

struct publisher {
    struct http http;
    bool busy;
    enum stream stream;
    struct user *user;  // whose own it is
};

static int poll_fd, timer_fd, port;
static char publish_headers[256];
static char (*user_headers)[HEADERS_BYTES];
static struct publisher publishers[PUBLISHERS];
static int next_publisher;

static double began, ends, targeted_per_s, broadcast_every_s, churn_per_s;
static long targeted_sent, gone_count;
static int *turns, next_turn;  // the users in the order in which they are published to
static int *away, away_count, opening_count;
static bool broadcast_outstanding;

static struct counters {
    long published, delivered, resumed;
    struct times own, broadcast, probe;
} second, whole;

// Coming and going

static void open_user(struct user *user, double at) {
    char path[64 + CURSOR_BYTES];
    in_addr_t source = FIRST_ADDRESS + id_of(user) / PER_ADDRESS;
    snprintf(path, sizeof path, "/notifications?topics=news&cursor=%s", user->cursor);
    websocket_connect_from(&user->socket, source, port, path, user_headers[id_of(user)]);
    watch(poll_fd, user->socket.fd, id_of(user));
    user->state = OPENING;
    user->until = at + ANSWER_S;
    opening_count++;
}

static void gone(struct user *user, double at) {
    websocket_end(&user->socket);
    user->state = AWAY;
    user->until = at + AWAY_MOST_S * drand48();
    away[away_count++] = id_of(user);
}

static void let_go(struct user *user, double at) {
    if (drand48() < 0.5) {
        struct linger at_once = {.l_onoff = 1};  // close is a reset then; what wasn't read yet is lost on the way
        setsockopt(user->socket.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        gone(user, at);
        return;
    }
    const char normal[] = {1000 >> 8, 1000 & 0xff};
    websocket_send(&user->socket, CLOSE, normal, sizeof normal);
    user->state = CLOSING;
    user->until = at + ANSWER_S;
    user->farewell = false;
}

static void let_some_go(double at) {
    for (; gone_count < (at - began) * churn_per_s; gone_count++)
        for (int tries = 0; tries < 100; tries++) {
            struct user *user = &users[lrand48() % user_count];
            if (user->state != OPEN) continue;
            let_go(user, at);
            break;
        }
}

static void let_some_back(double at) {
    for (int i = 0; i < away_count;) {
        struct user *user = &users[away[i]];
        if (at < user->until) {
            i++;
            continue;
        }
        away[i] = away[--away_count];
        open_user(user, at);
    }
}

// What comes

static void take_control(struct user *user, const char *frame, int length, double at) {
    const char pong[] = "{\"action\":\"pong\"}";
    if (memmem(frame, length, "\"hub\":\"ping\"", 12)) {
        keep_cursor(user, frame, length);
        if (user->state == OPEN) websocket_send(&user->socket, TEXT, pong, sizeof pong - 1);
    } else if (memmem(frame, length, "\"hub\":\"welcome\"", 15)) {
        if (user->state != OPENING) fail("u%ld got another welcome", id_of(user));
        bool recovered = memmem(frame, length, "\"recovered\":true", 16);
        if (user->cursor[0] && !recovered) fail("gap: u%ld couldn't resume: %.*s", id_of(user), length, frame);
        if (user->cursor[0]) second.resumed++;
        else keep_cursor(user, frame, length);
        if (!memmem(frame, length, "\"topics\":[\"news\"]", 17)) fail("u%ld has not his topic", id_of(user));
        user->state = OPEN;
        user->since = at;
        opening_count--;
    } else fail("u%ld got an unexpected frame (gap, disconnect?): %.*s", id_of(user), length, frame);
}

static void take_frame(struct websocket *socket, unsigned opcode, const char *frame, int length, double at) {
    struct user *user = (struct user *)socket;
    if (opcode == CLOSE && user->state == CLOSING) {
        user->farewell = true;
        return;
    }
    if (opcode != TEXT) fail("u%ld: an unexpected close, or no text: kind %x", id_of(user), opcode);
    if (user->state == CLOSING && user->farewell) fail("u%ld got something behind the close frame", id_of(user));
    if (memmem(frame, length, "\"hub\":\"", 7)) {
        take_control(user, frame, length, at);
        return;
    }
    struct mark mark;
    check_notification(user, &mark, frame, length, at);
    second.delivered++;
    double due = began + mark.due_us / 1e6;
    // Who was away when it was due got it later for that reason.
    if (user->state == OPEN && user->since < due)
        note_time(mark.stream == OWN ? &second.own : &second.broadcast, at - due);
}

static void user_readable(struct user *user) {
    if (user->state == AWAY) return;  // an event from before
    if (websocket_readable(&user->socket, take_frame)) return;
    if (user->state != CLOSING || !user->farewell)
        fail("u%ld: an unexpected close: disconnected in state %d", id_of(user), user->state);
    gone(user, now());
}

// Publishing

static struct publisher *free_publisher(void) {
    for (int i = 0; i < PUBLISHERS; i++) {
        struct publisher *publisher = &publishers[next_publisher++ % PUBLISHERS];
        if (!publisher->busy) return publisher;
    }
    return NULL;
}

static void publish(struct publisher *publisher, const char *to, const struct mark *mark) {
    char body[1024];
    int size = sprintf(body, "{\"to\":\"%s\",\"notification\":{\"type\":\"soak\",", to);
    size += write_payload(body + size, mark);
    size += sprintf(body + size, "}}");
    publisher->busy = true;
    publisher->stream = mark->stream;
    second.published++;
    http_post(&publisher->http, port, "/api/notifications", publish_headers, body, size);
}

// The next one of whom nothing is outstanding: what is under way at once has no order.
static struct user *next_user(void) {
    for (int i = 0; i < user_count; i++) {
        struct user *user = &users[turns[next_turn++ % user_count]];
        if (user->published == user->answered) return user;
    }
    return NULL;
}

static void publish_targeted(double at) {
    struct publisher *publisher;
    struct user *user;
    while (targeted_sent < (at - began) * targeted_per_s && (publisher = free_publisher()) && (user = next_user())) {
        char to[32];
        double due_us = targeted_sent++ / targeted_per_s * 1e6;
        struct mark mark = {OWN, id_of(user), user->published++, broadcasts_answered, due_us};
        publisher->user = user;
        snprintf(to, sizeof to, "user:u%d", mark.user);
        publish(publisher, to, &mark);
    }
}

static void publish_broadcast(double at) {
    struct publisher *publisher;
    double due = (broadcasts_published + 1) * broadcast_every_s;
    if (broadcast_outstanding || at - began < due || !(publisher = free_publisher())) return;
    struct mark mark = {BROADCAST, 0, broadcasts_published, 0, due * 1e6};
    for (int i = 0; i < user_count; i++) before_broadcast[mark.number % KEPT][i] = users[i].answered;
    broadcasts_published++;
    broadcast_outstanding = true;
    publish(publisher, "notifications", &mark);
}

static void open_publisher(struct publisher *publisher) {
    publisher->http.fd = connect_to(port);
    watch(poll_fd, publisher->http.fd, TAG_PUBLISHER + (publisher - publishers));
}

static void publisher_readable(struct publisher *publisher) {
    const char *body;
    int status = http_readable(&publisher->http, &body);
    if (status == 0) return;
    if (status < 0 && !publisher->busy) {  // it was kept alive long enough
        close(publisher->http.fd);
        open_publisher(publisher);
        return;
    }
    if (status != 202) fail("a publish was answered with %d: %s", status, status < 0 ? "" : publisher->http.answer);
    publisher->busy = false;
    if (publisher->stream == OWN) {
        publisher->user->answered++;
        return;
    }
    broadcasts_answered++;
    broadcast_outstanding = false;
}

// The loop

static void turn(void) {
    struct epoll_event events[EVENTS];
    uint64_t ticks;
    int ready = epoll_wait(poll_fd, events, EVENTS, 1000);
    for (int i = 0; i < ready; i++) {
        uint64_t tag = events[i].data.u64;
        if (tag == TAG_TIMER) {
            if (read(timer_fd, &ticks, sizeof ticks) < 0) fail("timer: %s", strerror(errno));
        } else if (tag >= TAG_PUBLISHER) publisher_readable(&publishers[tag - TAG_PUBLISHER]);
        else user_readable(&users[tag]);
    }
}

static void add_times(struct times *sum, const struct times *times) {
    for (int i = 0; i < CLASSES; i++) sum->counts[i] += times->counts[i];
}

static void report(const char *name, struct counters *counters, double at) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double microseconds = usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
    double cpu = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + microseconds / 1e6;
    printf("{\"%s\":%.3f,\"published\":%ld,\"delivered\":%ld,\"resumed\":%ld,\"away\":%d,\"behind\":%ld,", name,
           at - began, counters->published, counters->delivered, counters->resumed, away_count,
           (long)((at < ends ? at - began : ends - began) * targeted_per_s) - targeted_sent);
    print_times("targeted_ms", &counters->own);
    print_times("broadcast_ms", &counters->broadcast);
    print_times("answer_ms", &counters->probe);
    printf("\"client_cpu_seconds\":%.3f}\n", cpu);
    fflush(stdout);
}

static void end_second(double at) {
    static struct times probed;
    take_probe_times(&second.probe, &probed);
    check_probe();
    report("second", &second, at);
    whole.published += second.published;
    whole.delivered += second.delivered;
    whole.resumed += second.resumed;
    add_times(&whole.own, &second.own);
    add_times(&whole.broadcast, &second.broadcast);
    add_times(&whole.probe, &second.probe);
    memset(&second, 0, sizeof second);
}

static void check_answers(double at) {
    for (struct user *user = users; user < users + user_count; user++)
        if ((user->state == OPENING || user->state == CLOSING) && at > user->until)
            fail("u%ld: no answer to his %s", id_of(user), user->state == OPENING ? "handshake" : "close frame");
}

static void soak(void) {
    double next_report = began + 1;
    for (double at = began; at < ends; at = now()) {
        publish_broadcast(at);
        publish_targeted(at);
        let_some_go(at);
        let_some_back(at);
        check_hole(at);
        if (at >= next_report) {
            end_second(at);
            check_answers(at);
            next_report += 1;
        }
        turn();
    }
}

static void settle(void) {
    double last = now() + SETTLE_S;
    for (double at = now(); at < last && (away_count || opening_count || !everything_came(false)); at = now()) {
        let_some_back(at);
        check_hole(at);
        turn();
    }
    everything_came(true);
    for (double end = now() + LISTEN_S; now() < end;) turn();
    end_second(now());
    report("done", &whole, now());
}

// Beginning

static char **read_tokens(const char *path) {
    size_t room = 0;
    char *line = NULL, **tokens = NULL;
    FILE *file = fopen(path, "r");
    if (!file) fail("%s: %s", path, strerror(errno));
    while (getline(&line, &room, file) > 0) {
        tokens = realloc(tokens, (user_count + 1) * sizeof *tokens);
        tokens[user_count++] = strndup(line, strcspn(line, "\n"));
    }
    if (user_count < 1) fail("%s: no tokens", path);
    fclose(file);
    free(line);
    return tokens;
}

static void write_headers(char *headers, const char *token) {
    const char lines[] = "Authorization: Bearer %s\r\nSec-WebSocket-Protocol: hubd.v1.json\r\n";
    int length = snprintf(headers, HEADERS_BYTES, lines, token);
    if (length >= HEADERS_BYTES) fail("a token of %zu bytes", strlen(token));
}

static void prepare(const char *path) {
    char **tokens = read_tokens(path);
    users = room_for(user_count, sizeof *users);
    turns = room_for(user_count, sizeof *turns);
    away = room_for(user_count, sizeof *away);
    user_headers = room_for(user_count, sizeof *user_headers);
    for (int i = 0; i < KEPT; i++) before_broadcast[i] = room_for(user_count, sizeof *before_broadcast[i]);
    for (int i = 0; i < user_count; i++) {
        int other = lrand48() % (i + 1);
        turns[i] = turns[other];
        turns[other] = i;
        write_headers(user_headers[i], tokens[i]);
    }
    start_probe(port);
}

static void open_all(void) {
    struct itimerspec tick = {.it_interval.tv_nsec = TICK_NS, .it_value.tv_nsec = TICK_NS};
    poll_fd = epoll_create1(0);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    if (timer_fd < 0 || timerfd_settime(timer_fd, 0, &tick, NULL)) fail("timer: %s", strerror(errno));
    watch(poll_fd, timer_fd, TAG_TIMER);
    for (int i = 0; i < PUBLISHERS; i++) open_publisher(&publishers[i]);
    for (int opened = 0; opened < user_count || opening_count; turn())
        while (opened < user_count && opening_count < OPENING_MOST) open_user(&users[opened++], now());
    printf("{\"connected\":%d}\n", user_count);
    fflush(stdout);
}

int main(int count, char **arguments) {
    if (count != 9)
        fail("usage: soak PORT API_KEY TOKENS_FILE SECONDS TARGETED_PER_S BROADCAST_EVERY_S CHURN_PER_S SEED");
    port = atoi(arguments[1]);
    double seconds = atof(arguments[4]);
    targeted_per_s = atof(arguments[5]);
    broadcast_every_s = atof(arguments[6]);
    churn_per_s = atof(arguments[7]);
    srand48(atol(arguments[8]));
    snprintf(publish_headers, sizeof publish_headers, "Authorization: Bearer %s\r\n", arguments[2]);
    alarm(seconds + 300);  // whatever happens, it ends
    raise_open_files();
    prepare(arguments[3]);
    open_all();
    if (getchar() == EOF) return 0;
    began = now();
    ends = began + seconds;
    soak();
    settle();
    while (getchar() != EOF) continue;  // so that the hub can be looked at with everybody still there
    return 0;
}
