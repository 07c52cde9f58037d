// The physical limit: a server that does nothing for a broadcast but one plain send() per client, one after the other.
//
//   limit PAYLOAD_BYTES
//
// It speaks just enough HTTP for the load client: a GET becomes a WebSocket, a POST is sent to all of these in a frame
// with a payload of PAYLOAD_BYTES, the size of those it is compared with. One thread, epoll. Prints the port it listens on.
#include "common.h"

#define EVENTS 256
#define REQUEST_BYTES 65536

struct peer {
    int fd;
    int place;  // among the clients; -1: not one of them
    int length;
    char *request;  // what has arrived of it; none for a client
};

static struct peer **clients;
static int client_count, client_room;
static int payload_bytes;

static void answer(struct peer *peer, const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (send(peer->fd, text, length, MSG_NOSIGNAL) != length) fail("an answer was not taken");
}

static void become_client(struct peer *peer) {
    if (client_count == client_room) {
        client_room = client_room ? 2 * client_room : 1024;
        clients = realloc(clients, client_room * sizeof *clients);
        if (!clients) fail("out of memory");
    }
    peer->place = client_count;
    clients[client_count++] = peer;
    free(peer->request);
    peer->request = NULL;
    answer(peer, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Accept: " ACCEPT "\r\n\r\n");
}

static void leave(int poll, struct peer *peer) {
    if (peer->place >= 0) {
        clients[peer->place] = clients[--client_count];
        clients[peer->place]->place = peer->place;
    }
    epoll_ctl(poll, EPOLL_CTL_DEL, peer->fd, NULL);
    close(peer->fd);
    free(peer->request);
    free(peer);
}

// The published fields as they came, in a frame filled up with spaces to the size that is asked for.
static void broadcast(struct peer *publisher, const char *body) {
    static unsigned char frame[REQUEST_BYTES];
    const char *fields = strstr(body, "\"notification\":");
    if (!fields) fail("not a publish: %s", body);
    fields += strlen("\"notification\":");
    int length = strlen(fields) - 1;  // without the last brace of what is around it
    int head = write_head(frame, 1, payload_bytes), frame_bytes = head + payload_bytes;
    if (length > payload_bytes) fail("%d bytes were published, more than there are to be sent", length);
    memcpy(frame + head, fields, length);
    memset(frame + head + length, ' ', payload_bytes - length);
    for (int i = 0; i < client_count; i++)
        if (send(clients[i]->fd, frame, frame_bytes, MSG_NOSIGNAL) != frame_bytes) fail("client %d doesn't keep up", i);
    char receipt[64];
    int size = snprintf(receipt, sizeof receipt, "{\"live\":%d}", client_count);
    answer(publisher, "HTTP/1.1 202 Accepted\r\nContent-Length: %d\r\n\r\n%s", size, receipt);
}

static void take_request(struct peer *peer) {
    char *end = strstr(peer->request, "\r\n\r\n");
    if (!end) return;
    if (!strncmp(peer->request, "GET ", 4)) {
        become_client(peer);
        return;
    }
    const char *length = strcasestr(peer->request, "\r\nContent-Length:");
    if (!length) fail("a request without Content-Length");
    if (end + 4 + atoi(length + 17) > peer->request + peer->length) return;
    peer->length = 0;
    broadcast(peer, end + 4);
}

static void readable(int poll, struct peer *peer) {
    char ignored[4096];
    char *into = peer->request ? peer->request + peer->length : ignored;
    ssize_t got = recv(peer->fd, into, peer->request ? REQUEST_BYTES - 1 - peer->length : (int)sizeof ignored, 0);
    if (got <= 0) {
        if (got == 0 || (errno != EAGAIN && errno != EINTR)) leave(poll, peer);
        return;
    }
    if (!peer->request) return;
    peer->length += got;
    peer->request[peer->length] = 0;
    take_request(peer);
}

static void accept_all(int poll, int listener) {
    for (int fd; (fd = accept(listener, NULL, NULL)) >= 0;) {
        set_nonblocking(fd);
        struct peer *peer = room_for(1, sizeof *peer);
        peer->fd = fd;
        peer->place = -1;
        peer->request = room_for(1, REQUEST_BYTES);
        watch(poll, fd, (uintptr_t)peer);
    }
}

int main(int count, char **arguments) {
    if (count != 2) fail("usage: limit PAYLOAD_BYTES");
    payload_bytes = atoi(arguments[1]);
    if (payload_bytes < 16 || payload_bytes > REQUEST_BYTES - 4) fail("frames of %d bytes are not made here", payload_bytes);
    raise_open_files();
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 4096))
        fail("listen: %s", strerror(errno));
    getsockname(listener, (struct sockaddr *)&address, &size);
    set_nonblocking(listener);
    int poll = epoll_create1(0);
    watch(poll, listener, 0);
    printf("limit listening on http://127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    struct epoll_event events[EVENTS];
    for (;;) {
        int ready = epoll_wait(poll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            struct peer *peer = (struct peer *)(uintptr_t)events[i].data.u64;
            if (peer) readable(poll, peer);
            else accept_all(poll, listener);
        }
    }
}
