// What the soak checks, and how it counts times: nothing here knows of sockets being opened or of publishing.
//
// Each user gets two streams of numbered notifications: his own and the broadcasts. What was published says of itself
// who it is for, its number, when it was due, and how many of the other stream the hub had already accepted by then
// ("after"): those come before it. The body follows from all of that, so that anything changed shows.
#ifndef BENCH_SOAK_CHECK_H
#define BENCH_SOAK_CHECK_H
#include "websocket.h"

#define MARK "\"title\":\"soak "
#define CURSOR "\"cursor\":\""
#define CURSOR_BYTES 64
#define FILL_BYTES 24
#define KEPT 64         // of so many broadcasts it is known what came before them
#define PATIENCE_S 1.0  // so long it is waited for what was left out: it may come later

enum stream { OWN, BROADCAST };
static const char *stream_names[] = {"own notification", "broadcast"};

struct mark {  // what a notification says of itself
    enum stream stream;
    int user, number, after;
    long due_us;
};

enum state { AWAY, OPENING, OPEN, CLOSING };

struct user {
    struct websocket socket;  // the first: a pointer to it is one to the user
    enum state state;
    bool farewell;             // CLOSING: the hub has answered our close frame
    double since;              // OPEN: when the hub has said welcome
    double until;              // AWAY: when he comes back; OPENING, CLOSING: when that has to be done
    char cursor[CURSOR_BYTES + 1];
    int next[2];              // the numbers that he has to get next
    int published, answered;  // of his own stream; the hub has at most one of them to answer
};

static int user_count, broadcasts_published, broadcasts_answered;
static struct user *users;
static int *before_broadcast[KEPT];  // how many of each user's own had been answered when it was published

static struct {  // the first notification that was left out where it should have come
    struct user *user;
    enum stream stream;
    int number;
    double until;
} hole;

static inline long id_of(const struct user *user) { return user - users; }

static inline int write_mark(char *text, const struct mark *mark) {
    char stream = mark->stream == OWN ? 'o' : 'b';
    return sprintf(text, "%c %d %d %d %ld", stream, mark->user, mark->number, mark->after, mark->due_us);
}

// The payload: the mark, and letters that follow from it.
static inline int write_payload(char *text, const struct mark *mark) {
    char *end = text + sprintf(text, MARK);
    char *begin = end;
    end += write_mark(end, mark);
    uint64_t state = 14695981039346656037u;
    for (char *letter = begin; letter < end; letter++) state = (state ^ (unsigned char)*letter) * 1099511628211u;
    end += sprintf(end, BODY);
    for (int i = 0; i < FILL_BYTES; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        *end++ = 'a' + (state >> 33) % 26;
    }
    *end++ = '"';
    return end - text;
}

static inline void read_mark(struct mark *mark, const char *frame, int length) {
    const char *place = memmem(frame, length, MARK, strlen(MARK));
    char text[128], stream, payload[512];
    int size = place ? frame + length - place : 0;
    snprintf(text, sizeof text, "%.*s", size, place ? place : "");
    if (sscanf(text, MARK "%c %d %d %d %ld", &stream, &mark->user, &mark->number, &mark->after, &mark->due_us) != 5)
        fail("changed: not what was published: %.*s", length, frame);
    mark->stream = stream == 'o' ? OWN : BROADCAST;
    int expected = write_payload(payload, mark);
    if (expected > size || memcmp(payload, place, expected))
        fail("changed: not what was published: %.*s", length, frame);
}

static inline void keep_cursor(struct user *user, const char *frame, int length) {
    const char *begin = memmem(frame, length, CURSOR, strlen(CURSOR));
    if (!begin) fail("no cursor in: %.*s", length, frame);
    begin += strlen(CURSOR);
    const char *end = memchr(begin, '"', frame + length - begin);
    if (!end || end - begin > CURSOR_BYTES) fail("no cursor in: %.*s", length, frame);
    memcpy(user->cursor, begin, end - begin);
    user->cursor[end - begin] = 0;
}

// One that was left out may still come, and was reordered then; if it doesn't, it was lost.
static inline void leave_out(struct user *user, enum stream stream, int number, double at) {
    if (hole.user) return;
    hole.user = user;
    hole.stream = stream;
    hole.number = number;
    hole.until = at + PATIENCE_S;
}

static inline void check_hole(double at) {
    if (hole.user && at > hole.until)
        fail("lost: u%ld never got %s %d, but later ones", id_of(hole.user), stream_names[hole.stream], hole.number);
}

static inline void check_number(struct user *user, const struct mark *mark, double at) {
    enum stream stream = mark->stream;
    int published = stream == OWN ? user->published : broadcasts_published;
    if (stream == OWN && mark->user != id_of(user)) fail("changed: u%ld got what was for u%d", id_of(user), mark->user);
    if (mark->number < 0 || mark->number >= published) fail("changed: %d was never published", mark->number);
    if (hole.user == user && hole.stream == stream && hole.number == mark->number)
        fail("reordered: u%ld got %s %d behind later ones", id_of(user), stream_names[stream], mark->number);
    if (mark->number < user->next[stream])
        fail("doubled: u%ld got %s %d again", id_of(user), stream_names[stream], mark->number);
    if (mark->number > user->next[stream]) leave_out(user, stream, user->next[stream], at);
    user->next[stream] = mark->number + 1;
}

// The hub had accepted these before this one was published, so they come before it.
static inline void check_before(struct user *user, const struct mark *mark, double at) {
    enum stream other = mark->stream == OWN ? BROADCAST : OWN;
    int before = mark->after;
    if (mark->stream == BROADCAST) {
        if (mark->number < broadcasts_published - KEPT) return;
        before = before_broadcast[mark->number % KEPT][id_of(user)];
    }
    if (user->next[other] < before) leave_out(user, other, user->next[other], at);
}

static inline void check_notification(struct user *user, struct mark *mark, const char *frame, int length, double at) {
    read_mark(mark, frame, length);
    check_number(user, mark, at);
    check_before(user, mark, at);
    keep_cursor(user, frame, length);
}

// Whether everybody has everything; with `must`, who hasn't ends the program.
static inline bool everything_came(bool must) {
    for (struct user *user = users; user < users + user_count; user++)
        for (int stream = OWN; stream <= BROADCAST; stream++) {
            int published = stream == OWN ? user->published : broadcasts_published;
            if (user->next[stream] == published) continue;
            if (must)
                fail("lost: u%ld has no %s after %d, and %d were published", id_of(user), stream_names[stream],
                     user->next[stream] - 1, published);
            return false;
        }
    return !hole.user;
}

// Times in classes of 3%: microseconds below 32 by themselves, then 32 classes for each power of two.
#define CLASSES 928

struct times {
    uint32_t counts[CLASSES];
};

static inline void note_time(struct times *times, double seconds) {
    double limited = seconds < 0 ? 0 : seconds > 4000 ? 4000 : seconds;
    uint32_t us = limited * 1e6;
    int power = us < 32 ? 5 : 31 - __builtin_clz(us);
    times->counts[us < 32 ? us : (uint32_t)(power - 4) * 32 + (us >> (power - 5) & 31)]++;
}

static inline double class_ms(int number) {
    int power = number < 32 ? 0 : number / 32 - 1;
    double us = number < 32 ? number : (double)(32 + number % 32) * (1u << power);
    return (us + (1u << power) / 2.0) / 1e3;
}

static inline uint64_t count_of(const struct times *times) {
    uint64_t count = 0;
    for (int i = 0; i < CLASSES; i++) count += times->counts[i];
    return count;
}

static inline double part_ms(const struct times *times, double fraction) {
    uint64_t count = count_of(times), below = 0;
    for (int i = 0; i < CLASSES; i++) {
        below += times->counts[i];
        if (count && below > (count - 1) * fraction) return class_ms(i);
    }
    return 0;
}

static inline void print_times(const char *name, const struct times *times) {
    printf("\"%s\":{\"count\":%llu,\"p50\":%.3f,\"p99\":%.3f,\"max\":%.3f},", name, (unsigned long long)count_of(times),
           part_ms(times, 0.5), part_ms(times, 0.99), part_ms(times, 1));
}

#endif
