// What the load client says and understands beside WebSocket: the protocols of the servers that are compared.
#ifndef BENCH_PROTOCOLS_H
#define BENCH_PROTOCOLS_H
#include "http.h"

#define TOPIC "news"

enum meaning {
    NOTHING,  // no matter
    READY,    // the connection is subscribed: from now on it gets every message
    MESSAGE,  // something that was published
};

// What one unit of a protocol, at the beginning of some bytes, came to.
struct taken {
    enum meaning meaning;
    const char *answer;  // what has to be sent back; NULL: nothing
};

// Gives how many bytes the unit has, 0 when it isn't all there.
typedef int (*take_unit)(const char *data, int length, struct taken *taken);

enum way { BY_HTTP, BY_TCP, BY_WEBSOCKET };  // how a publisher reaches the server

struct protocol {
    const char *name;
    const char *path, *headers;  // of the handshake
    unsigned opcode;             // of all frames, in both directions
    // Whether frames are cut anywhere, so that a unit may begin in one and end in the next; otherwise each is a unit.
    bool is_stream;
    take_unit take;
    int (*greet)(char *into);  // what is sent after the handshake; NULL: nothing
    bool tells_ready;          // otherwise a connection is ready after its handshake
    enum way way;
    const char *publish_path;
    int status;  // what a publish is answered with, by HTTP
    int (*greet_publisher)(char *into);                      // where they come by TCP
    int (*wrap)(char *into, const char *content, int size);  // what is sent to publish this
};

static inline int take_plain(const char *data, int length, struct taken *taken) {
    (void)data;
    taken->meaning = MESSAGE;
    return length;
}

static inline int wrap_plain(char *into, const char *content, int size) {
    memcpy(into, content, size);
    return size;
}

static inline int wrap_hub(char *into, const char *content, int size) {
    return sprintf(into, "{\"to\":\"notifications\",\"notification\":%.*s}", size, content);
}

// NATS: https://docs.nats.io/reference/reference-protocols/nats-protocol

static inline int greet_nats(char *into) {
    return sprintf(into, "CONNECT {\"verbose\":false,\"pedantic\":false}\r\nSUB " TOPIC " 1\r\nPING\r\n");
}

static inline int greet_nats_publisher(char *into) {
    return sprintf(into, "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n");
}

static inline int wrap_nats(char *into, const char *content, int size) {
    return sprintf(into, "PUB " TOPIC " %d\r\n%.*s\r\n", size, size, content);
}

static inline int take_nats(const char *data, int length, struct taken *taken) {
    const char *end = memchr(data, '\n', length);
    if (!end) return 0;
    int line = end + 1 - data;
    if (!strncmp(data, "MSG ", 4)) {
        const char *size = end;
        while (size[-1] != ' ') size--;
        line += atoi(size) + 2;
        if (line > length) return 0;
        taken->meaning = MESSAGE;
    } else if (!strncmp(data, "PONG", 4)) taken->meaning = READY;
    else if (!strncmp(data, "PING", 4)) taken->answer = "PONG\r\n";
    else if (strncmp(data, "INFO ", 5)) fail("NATS says: %.*s", line, data);
    return line;
}

// MQTT 3.1.1: http://docs.oasis-open.org/mqtt/mqtt/v3.1.1/os/mqtt-v3.1.1-os.html

enum packet { CONNACK = 2, PUBLISH = 3, SUBACK = 9 };

// CONNECT: protocol level 4, clean session, no keep-alive, no client id of our own (section 3.1).
static inline int greet_mqtt_publisher(char *into) {
    memcpy(into, "\x10\x0c\0\4MQTT\4\2\0\0\0\0", 14);
    return 14;
}

// Then SUBSCRIBE, packet 1, at most once (section 3.8).
static inline int greet_mqtt(char *into) {
    int topic = strlen(TOPIC), length = greet_mqtt_publisher(into);
    char head[] = {(char)0x82, (char)(topic + 5), 0, 1, 0, (char)topic};
    memcpy(into + length, head, sizeof head);
    length += sizeof head;
    memcpy(into + length, TOPIC, topic);
    into[length + topic] = 0;
    return length + topic + 1;
}

static inline int wrap_mqtt(char *into, const char *content, int size) {
    int topic = strlen(TOPIC), length = 0, rest = 2 + topic + size;
    into[length++] = PUBLISH << 4;
    for (; rest > 127; rest >>= 7) into[length++] = (char)(0x80 | (rest & 127));
    into[length++] = (char)rest;
    into[length++] = 0;
    into[length++] = (char)topic;
    memcpy(into + length, TOPIC, topic);
    memcpy(into + length + topic, content, size);
    return length + topic + size;
}

static inline int take_mqtt(const char *data, int length, struct taken *taken) {
    int size = 0, head = 1;
    for (int shift = 0;; shift += 7, head++) {
        if (head >= length) return 0;
        size |= (data[head] & 127) << shift;
        if (!(data[head] & 128)) break;
    }
    head++;
    if (head + size > length) return 0;
    int kind = (unsigned char)data[0] >> 4;
    switch (kind) {
        case PUBLISH: taken->meaning = MESSAGE; break;
        case CONNACK:
        case SUBACK:
            taken->meaning = kind == SUBACK ? READY : NOTHING;
            if (data[head + size - 1]) fail("MQTT refuses with code %d", data[head + size - 1]);
            break;
        default: fail("MQTT sent a packet of kind %d", kind);
    }
    return head + size;
}

// Engine.IO 4 and in it Socket.IO 5: https://socket.io/docs/v4/engine-io-protocol/ and /socket-io-protocol/

static inline int take_socketio(const char *data, int length, struct taken *taken) {
    if (data[0] == '0') taken->answer = "40";
    else if (data[0] == '2') taken->answer = "3";
    else if (length >= 2 && !memcmp(data, "40", 2)) taken->meaning = READY;
    else if (length >= 2 && !memcmp(data, "42", 2)) taken->meaning = MESSAGE;
    else fail("Socket.IO says: %.*s", length, data);
    return length;
}

static const struct protocol protocols[] = {
    // hubd, and the limit.
    {.name = "hub", .path = "/notifications?topics=" TOPIC, .headers = "", .opcode = TEXT, .take = take_plain,
     .publish_path = "/api/notifications", .status = 202, .wrap = wrap_hub},
    // A server that sends what is posted to /publish.
    {.name = "plain", .path = "/", .headers = "", .opcode = TEXT, .take = take_plain, .publish_path = "/publish",
     .status = 202, .wrap = wrap_plain},
    // A server that sends what comes by the WebSocket /publish.
    {.name = "plain-websocket", .path = "/", .headers = "", .opcode = TEXT, .take = take_plain, .way = BY_WEBSOCKET,
     .publish_path = "/publish", .wrap = wrap_plain},
    {.name = "nchan", .path = "/subscribe", .headers = "", .opcode = TEXT, .take = take_plain,
     .publish_path = "/publish", .status = 201, .wrap = wrap_plain},
    {.name = "socketio", .path = "/socket.io/?EIO=4&transport=websocket", .headers = "", .opcode = TEXT,
     .take = take_socketio, .tells_ready = true, .publish_path = "/publish", .status = 202, .wrap = wrap_plain},
    {.name = "nats", .path = "/", .headers = "", .opcode = BINARY, .is_stream = true, .take = take_nats,
     .greet = greet_nats, .tells_ready = true, .way = BY_TCP, .greet_publisher = greet_nats_publisher,
     .wrap = wrap_nats},
    {.name = "mqtt", .path = "/", .headers = "Sec-WebSocket-Protocol: mqtt\r\n", .opcode = BINARY, .is_stream = true,
     .take = take_mqtt, .greet = greet_mqtt, .tells_ready = true, .way = BY_TCP,
     .greet_publisher = greet_mqtt_publisher, .wrap = wrap_mqtt},
};

static inline const struct protocol *protocol_named(const char *name) {
    for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++)
        if (!strcmp(protocols[i].name, name)) return &protocols[i];
    fail("there is no protocol %s", name);
    return NULL;
}

#endif
