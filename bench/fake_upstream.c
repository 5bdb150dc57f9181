/* A stand-in for an inference engine: answers chat completions with canned bytes, as cheaply as epoll allows.
 *
 *   fake_upstream [--events 64] [--interval-us 5000]
 *
 * Listens on two free ports of 127.0.0.1 and prints them as one JSON line: on "burst" a stream's events follow each
 * other at once, on "paced" one event leaves every interval. Each event is one send() with TCP_NODELAY, so it is one
 * segment. A request with "timings_per_token":true gets cumulative counts on every event, as some engines give.
 * GET /stats tells what was served. It polls and never sleeps, as the load does: waking a core that sleeps costs the
 * sender of the bytes, and that would be the gateway. HTTP/1.1 keep-alive, content-length bodies only. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { INPUT_MAX = 1 << 18, CONNS_MAX = 8192, EVENTS_MAX = 4096, PROMPT_TOKENS = 128 };

typedef struct {
    int fd, paced, streaming, with_usage, timings, waits_writable, heap_at;
    int event;                  /* next event to send */
    size_t sent;                /* bytes of it already sent */
    uint64_t due_ns;            /* when it may leave (paced) */
    char *in;
    size_t in_len;
} Conn;

typedef struct { char *bytes; size_t len; } Text;

static int n_events = 64, epfd;
static uint64_t interval_ns = 5000000;
static Text events[2][EVENTS_MAX];      /* [timings][index]: header, tokens, finish */
static Text usage_event, done_event, plain_answer, models_answer, not_found_answer;
static Conn conns[CONNS_MAX];
static Conn *heap[CONNS_MAX];
static int heap_len;
static struct { uint64_t requests, from_yunhe, streams, events, aborted, prompt_tokens, completion_tokens; int open; } stats;

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void die(const char *what) { perror(what); exit(1); }

/* ---- heap of paced streams by due time ---- */
static void heap_put(int i, Conn *c) { heap[i] = c; c->heap_at = i; }

static void heap_up(int i) {
    Conn *c = heap[i];
    for (; i > 0 && heap[(i - 1) / 2]->due_ns > c->due_ns; i = (i - 1) / 2) heap_put(i, heap[(i - 1) / 2]);
    heap_put(i, c);
}

static void heap_down(int i) {
    Conn *c = heap[i];
    for (int k; (k = 2 * i + 1) < heap_len; i = k) {
        if (k + 1 < heap_len && heap[k + 1]->due_ns < heap[k]->due_ns) k++;
        if (heap[k]->due_ns >= c->due_ns) break;
        heap_put(i, heap[k]);
    }
    heap_put(i, c);
}

static void heap_add(Conn *c) { heap[heap_len] = c; heap_up(heap_len++); }

static void heap_remove(Conn *c) {
    int i = c->heap_at;
    if (i < 0) return;
    c->heap_at = -1;
    Conn *last = heap[--heap_len];
    if (last == c) return;
    heap_put(i, last);
    heap_up(i);
    heap_down(last->heap_at);
}

/* ---- canned texts ---- */
static Text chunk(const char *payload) {
    Text t;
    t.len = (size_t)asprintf(&t.bytes, "%zx\r\n%s\r\n", strlen(payload), payload);
    return t;
}

static Text answer(const char *status, const char *json) {
    Text t;
    t.len = (size_t)asprintf(&t.bytes, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                             status, strlen(json), json);
    return t;
}

#define CHUNK_HEAD "{\"id\":\"chatcmpl-7Qm2fakeupstream0001\",\"object\":\"chat.completion.chunk\",\"created\":1790000000,\"model\":\"fake\""

static void make_texts(void) {
    char timings[512], payload[1536];
    for (int i = 0; i < n_events; i++) {
        for (int with = 0; with < 2; with++) {
            snprintf(timings, sizeof timings,
                     ",\"timings\":{\"cache_n\":16,\"prompt_n\":%d,\"prompt_ms\":31.25,\"prompt_per_token_ms\":0.244,"
                     "\"prompt_per_second\":4096.0,\"predicted_n\":%d,\"predicted_ms\":%d.0,\"predicted_per_token_ms\":5.0,"
                     "\"predicted_per_second\":200.0}", PROMPT_TOKENS - 16, i + 1, 5 * (i + 1));
            snprintf(payload, sizeof payload,
                     "data: " CHUNK_HEAD ",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" token%02d\"},\"logprobs\":null,"
                     "\"finish_reason\":%s}]%s}\n\n", i % 100, i + 1 == n_events ? "\"length\"" : "null", with ? timings : "");
            events[with][i] = chunk(payload);
        }
    }
    snprintf(payload, sizeof payload,
             "data: " CHUNK_HEAD ",\"choices\":[],\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":%d,\"total_tokens\":%d,"
             "\"prompt_tokens_details\":{\"cached_tokens\":16}}}\n\n", PROMPT_TOKENS, n_events, PROMPT_TOKENS + n_events);
    usage_event = chunk(payload);
    Text done = chunk("data: [DONE]\n\n");
    done_event.len = (size_t)asprintf(&done_event.bytes, "%.*s0\r\n\r\n", (int)done.len, done.bytes);
    snprintf(payload, sizeof payload,
             "{\"id\":\"chatcmpl-7Qm2fakeupstream0001\",\"object\":\"chat.completion\",\"created\":1790000000,\"model\":\"fake\","
             "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"The Grand Canal joins rivers of different "
             "heights by locks.\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":%d,"
             "\"completion_tokens\":12,\"total_tokens\":%d,\"prompt_tokens_details\":{\"cached_tokens\":16}}}",
             PROMPT_TOKENS, PROMPT_TOKENS + 12);
    plain_answer = answer("200 OK", payload);
    models_answer = answer("200 OK", "{\"object\":\"list\",\"data\":[{\"id\":\"fake\",\"object\":\"model\",\"created\":1790000000,\"owned_by\":\"bench\"}]}");
    not_found_answer = answer("404 Not Found", "{\"error\":{\"message\":\"no such path\",\"type\":\"not_found\"}}");
}

/* ---- connections ---- */
static void watch(Conn *c, int writable) {
    if (c->waits_writable == writable) return;
    c->waits_writable = writable;
    struct epoll_event e = {.events = EPOLLIN | EPOLLRDHUP | (writable ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(epfd, EPOLL_CTL_MOD, c->fd, &e);
}

static void drop(Conn *c) {
    if (c->streaming) stats.aborted++;
    heap_remove(c);
    close(c->fd);
    c->fd = -1;
    c->streaming = 0;
    stats.open--;
}

/* Returns 0 when everything left, 1 when the socket is full (the rest waits for EPOLLOUT), -1 when it is gone. */
static int send_piece(Conn *c, Text t) {
    while (c->sent < t.len) {
        ssize_t n = send(c->fd, t.bytes + c->sent, t.len - c->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) return watch(c, 1), 1;
        if (n < 0) return -1;
        c->sent += (size_t)n;
    }
    c->sent = 0;
    return 0;
}

static Text event_text(const Conn *c) {
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";
    if (c->event < 0) return (Text){(char *)head, sizeof head - 1};
    if (c->event < n_events) return events[c->timings][c->event];
    if (c->event == n_events && c->with_usage) return usage_event;
    return done_event;
}

static void serve_input(Conn *c);

/* Sends what is due of the stream; a paced stream sends one event and waits for its time. */
static void advance(Conn *c) {
    int last = n_events + c->with_usage;
    while (c->streaming) {
        int at = c->event, r = send_piece(c, event_text(c));
        if (r < 0) { drop(c); return; }
        if (r > 0) return;
        c->event++;
        if (at >= 0) stats.events++;
        if (at >= 0 && at < n_events) stats.completion_tokens++;
        if (at == last) {
            c->streaming = 0;
            break;
        }
        if (c->paced && at >= 0) {
            c->due_ns += interval_ns;
            heap_add(c);
            return;
        }
    }
    watch(c, 0);
    serve_input(c);
}

static int flag(const char *body, size_t len, const char *name) {
    const char *end = body + len, *p = memmem(body, len, name, strlen(name));
    if (!p) return 0;
    for (p += strlen(name); p < end && (*p == ' ' || *p == ':'); p++) {}
    return p < end && *p == 't';
}

static int send_stats(Conn *c) {
    char json[512];
    snprintf(json, sizeof json,
             "{\"requests\":%lu,\"from_yunhe\":%lu,\"streams\":%lu,\"events\":%lu,\"aborted\":%lu,\"open\":%d,\"prompt_tokens\":%lu,\"completion_tokens\":%lu}",
             stats.requests, stats.from_yunhe, stats.streams, stats.events, stats.aborted, stats.open, stats.prompt_tokens, stats.completion_tokens);
    Text t = answer("200 OK", json);
    int r = send_piece(c, t);
    free(t.bytes);
    return r;
}

static int begin(Conn *c, const char *head, const char *body, size_t body_len) {
    if (!strncmp(head, "GET /stats", 10)) return send_stats(c);
    if (!strncmp(head, "GET ", 4)) return send_piece(c, strstr(head, "/models") ? models_answer : strstr(head, "/health") ? models_answer : not_found_answer);
    if (strncmp(head, "POST ", 5)) return send_piece(c, not_found_answer);
    stats.requests++;
    stats.prompt_tokens += PROMPT_TOKENS;
    if (!flag(body, body_len, "\"stream\"")) {
        stats.completion_tokens += 12;
        return send_piece(c, plain_answer);
    }
    stats.streams++;
    c->streaming = 1;
    c->event = -1;
    c->with_usage = flag(body, body_len, "\"include_usage\"");
    c->timings = flag(body, body_len, "\"timings_per_token\"");
    if (c->paced) {
        c->due_ns = now_ns() + interval_ns;
        heap_add(c);
    } else {
        advance(c);
    }
    return 0;
}

/* Takes complete requests from the input, one after the other, as long as no stream is being answered. */
static void serve_input(Conn *c) {
    while (c->fd >= 0 && !c->streaming && c->in_len) {
        c->in[c->in_len] = 0;
        char *end = strstr(c->in, "\r\n\r\n");
        if (!end) break;
        *end = 0;
        char *length = strcasestr(c->in, "\r\ncontent-length:");
        int chunked = strcasestr(c->in, "\r\ntransfer-encoding:") != NULL;
        int from_yunhe = strcasestr(c->in, "\r\nuser-agent: yunhe-gateway") != NULL;
        size_t head_len = (size_t)(end - c->in) + 4, body_len = length ? strtoul(length + 17, NULL, 10) : 0;
        *end = '\r';
        if (chunked || head_len + body_len >= INPUT_MAX) { drop(c); return; }
        if (c->in_len < head_len + body_len) break;
        char head[64];
        snprintf(head, sizeof head, "%.*s", (int)(strchr(c->in, '\r') - c->in), c->in);
        size_t taken = head_len + body_len;
        stats.from_yunhe += (uint64_t)from_yunhe;
        char *body = malloc(body_len + 1);
        memcpy(body, c->in + head_len, body_len);
        memmove(c->in, c->in + taken, c->in_len - taken);
        c->in_len -= taken;
        int r = begin(c, head, body, body_len);
        free(body);
        if (r) { if (c->fd >= 0) drop(c); return; }
    }
}

static void readable(Conn *c) {
    for (;;) {
        if (c->in_len + 1 >= INPUT_MAX) { drop(c); return; }
        size_t room = INPUT_MAX - 1 - c->in_len;
        ssize_t n = recv(c->fd, c->in + c->in_len, room, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN)) { drop(c); return; }
        if (n < 0) break;
        c->in_len += (size_t)n;
        if ((size_t)n < room) break;
    }
    serve_input(c);
}

static void accept_all(int listener, int paced) {
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
        if (fd >= CONNS_MAX) { close(fd); continue; }
        int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        char *in = conns[fd].in ? conns[fd].in : malloc(INPUT_MAX);
        conns[fd] = (Conn){.fd = fd, .paced = paced, .heap_at = -1, .in = in};
        struct epoll_event e = {.events = EPOLLIN | EPOLLRDHUP, .data.ptr = &conns[fd]};
        epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &e);
        stats.open++;
    }
}

static int listen_free(int *port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    if (fd < 0 || bind(fd, (void *)&a, len) || listen(fd, 1024) || getsockname(fd, (void *)&a, &len)) die("listen");
    *port = ntohs(a.sin_port);
    return fd;
}

static void run_due(void) {
    uint64_t now = now_ns();
    while (heap_len && heap[0]->due_ns <= now) {
        Conn *c = heap[0];
        heap_remove(c);
        advance(c);
    }
}

int main(int argc, char **argv) {
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--events")) n_events = atoi(argv[i + 1]);
        else if (!strcmp(argv[i], "--interval-us")) interval_ns = strtoull(argv[i + 1], NULL, 10) * 1000;
        else { fprintf(stderr, "unknown option %s\n", argv[i]); return 2; }
    }
    if (n_events < 1 || n_events > EVENTS_MAX) { fprintf(stderr, "--events must be 1..%d\n", EVENTS_MAX); return 2; }
    signal(SIGPIPE, SIG_IGN);
    make_texts();
    int burst_port, paced_port, burst = listen_free(&burst_port), paced = listen_free(&paced_port);
    epfd = epoll_create1(0);
    int specials[2] = {burst, paced};
    for (int i = 0; i < 2; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = &specials[i]};
        epoll_ctl(epfd, EPOLL_CTL_ADD, specials[i], &e);
    }
    printf("{\"burst\":%d,\"paced\":%d}\n", burst_port, paced_port);
    fflush(stdout);
    for (struct epoll_event got[512];;) {
        int n = epoll_wait(epfd, got, 512, 0);
        if (!n) sched_yield();
        for (int i = 0; i < n; i++) {
            void *p = got[i].data.ptr;
            if (p == &specials[0]) accept_all(burst, 0);
            else if (p == &specials[1]) accept_all(paced, 1);
            else {
                Conn *c = p;
                if (c->fd < 0) continue;
                if (got[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) readable(c);
                if (c->fd >= 0 && (got[i].events & EPOLLOUT) && c->streaming && c->heap_at < 0) advance(c);
            }
        }
        run_due();
    }
}
