/* A load generator that costs little: sends prepared HTTP requests in turn and reads the answers.
 *
 *   load --port P --request FILE [--connections N | --rate R] [--stream EVENTS] [--warmup S] [--seconds S]
 *
 * FILE holds one or more whole requests, each after a line with its length in bytes. It polls and never sleeps.
 * Closed loop (default): N keep-alive connections, each sends again as soon as its answer is complete. Open loop
 * (--rate): requests leave at fixed times whatever the answers do, and latency counts from the scheduled time.
 * With --stream every answer must be a chunked event stream of exactly EVENTS events that ends in [DONE]; --stream 1
 * takes any number of events.
 * Prints one line when the warm-up is over and one with the results (JSON; latencies in milliseconds). */
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
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BUF = 1 << 16, HEAD_MAX = 16384, CONNS_MAX = 4096, SAMPLES_MAX = 1 << 22, REQUESTS_MAX = 256, TAIL = 14, DRAIN_S = 10 };
enum { HEAD, BODY, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER };

typedef struct {
    int fd, connecting, busy, state, status, events, newline, request;
    size_t sent, head_len;
    uint64_t left;              /* bytes of body or chunk to come */
    double begun, first;        /* scheduled or sent; first body byte */
    char head[HEAD_MAX], tail[TAIL];
} Conn;

typedef struct { double *v; size_t n; } Samples;

static Conn *conns[CONNS_MAX];
static Conn *idle[CONNS_MAX];
static int n_conns, n_idle, epfd, port, stream_events, n_wanted = 32;
static struct { char *bytes; size_t len; } requests[REQUESTS_MAX];
static int n_requests, next_request;
static double rate, warmup_s = 0.5, seconds = 3, window_begin, window_end, next_at;
static uint64_t n_scheduled, n_backlog, done_n, events_n, bytes_n;
static uint64_t idle_closed;    /* a server may close a connection that waits for nothing */
static uint64_t err_status, err_short, err_closed, err_connect, err_protocol;
static int last_bad_status;
static char last_bad_body[201];
static Samples latency, ttft;
static int measuring, stopping;

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void add(Samples *s, double ms) {
    if (!s->v) s->v = malloc(sizeof(double) * SAMPLES_MAX);
    if (s->n < SAMPLES_MAX) s->v[s->n++] = ms;
}

static int order(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double at(Samples *s, double q) {
    return s->n ? s->v[(size_t)(q * (double)(s->n - 1) + 0.5)] : -1;
}

static void watch(Conn *c, int op, uint32_t what) {
    struct epoll_event e = {.events = what, .data.ptr = c};
    epoll_ctl(epfd, op, c->fd, &e);
}

static void flush_request(Conn *c) {
    while (c->sent < requests[c->request].len) {
        ssize_t n = send(c->fd, requests[c->request].bytes + c->sent, requests[c->request].len - c->sent, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EAGAIN) watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
            return;             /* a broken connection shows up as a read of 0 */
        }
        c->sent += (size_t)n;
    }
}

static void begin(Conn *c, double scheduled) {
    c->busy = 1;
    c->state = HEAD;
    c->head_len = c->sent = 0;
    c->events = c->newline = c->status = 0;
    c->begun = scheduled;
    c->request = next_request;
    next_request = (next_request + 1) % n_requests;
    c->first = 0;
    memset(c->tail, 0, TAIL);
    if (!c->connecting) flush_request(c);
}

static Conn *connect_one(void) {
    if (n_conns == CONNS_MAX) return NULL;
    Conn *c = calloc(1, sizeof *c);
    int one = 1;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(c->fd, (void *)&a, sizeof a) && errno != EINPROGRESS) {
        err_connect++;
        close(c->fd);
        free(c);
        return NULL;
    }
    c->connecting = 1;
    watch(c, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
    conns[n_conns++] = c;
    return c;
}

/* ---- one answer ---- */
static int parse_head(Conn *c) {
    c->head[c->head_len] = 0;
    c->status = c->head_len > 12 ? atoi(c->head + 9) : 0;
    char *length = strcasestr(c->head, "\r\ncontent-length:"), *chunked = strcasestr(c->head, "\r\ntransfer-encoding: chunked");
    if (chunked) {
        c->state = CHUNK_SIZE;
        c->left = 0;
    } else if (length) {
        c->state = BODY;
        c->left = strtoull(length + 17, NULL, 10);
    } else {
        return -1;
    }
    return 0;
}

static void keep_bad(Conn *c, const char *p, size_t n) {
    if (c->status == 200) return;
    last_bad_status = c->status;
    if (n > sizeof last_bad_body - 1) n = sizeof last_bad_body - 1;
    memcpy(last_bad_body, p, n);
    last_bad_body[n] = 0;
    for (char *q = last_bad_body; *q; q++) if (*q == '"' || *q == '\\' || (unsigned char)*q < 32) *q = ' ';
}

/* Payload of the answer: counts events (blank lines) and keeps the last bytes for the [DONE] check. */
static void payload(Conn *c, const char *p, size_t n, double now) {
    if (!c->first) {
        c->first = now;
        keep_bad(c, p, n);
    }
    if (measuring) bytes_n += n;
    if (!stream_events) return;
    for (const char *q = p, *end = p + n; (q = memchr(q, '\n', (size_t)(end - q))); q++) {
        int blank = q > p ? q[-1] == '\n' : c->newline;
        if (blank) {
            c->events++;
            if (measuring) events_n++;
        }
        if (q + 1 == end) break;
    }
    c->newline = p[n - 1] == '\n';
    if (n >= TAIL) {
        memcpy(c->tail, p + n - TAIL, TAIL);
    } else {
        memmove(c->tail, c->tail + n, TAIL - n);
        memcpy(c->tail + TAIL - n, p, n);
    }
}

static void finished(Conn *c, double now) {
    int right = c->status == 200, whole = 1;
    if (right && stream_events) whole = (stream_events == 1 || c->events == stream_events) && !memcmp(c->tail, "data: [DONE]\n\n", TAIL);
    int counts = rate > 0 ? c->begun >= window_begin && c->begun < window_end : measuring;
    if (counts) {
        if (!right) err_status++;
        else if (!whole) err_short++;
        else {
            done_n++;
            add(&latency, (now - c->begun) * 1e3);
            add(&ttft, (c->first - c->begun) * 1e3);
        }
    }
    c->busy = 0;
    if (rate > 0) {
        if (n_backlog) {
            begin(c, next_at - (double)n_backlog / rate);
            n_backlog--;
        } else {
            idle[n_idle++] = c;
        }
    } else if (!stopping) {
        begin(c, now);
    }
}

/* Feeds bytes to the answer's state machine. Returns -1 when they are not HTTP. */
static int feed(Conn *c, const char *p, size_t n, double now) {
    while (n) {
        if (!c->busy) return -1;
        if (c->state == HEAD) {
            if (c->head_len + 1 >= HEAD_MAX) return -1;
            c->head[c->head_len++] = *p++, n--;
            if (c->head_len >= 4 && !memcmp(c->head + c->head_len - 4, "\r\n\r\n", 4)) {
                if (parse_head(c)) return -1;
                if (c->state == BODY && !c->left) finished(c, now);
            }
        } else if (c->state == BODY || c->state == CHUNK_DATA) {
            size_t k = n < c->left ? n : (size_t)c->left;
            payload(c, p, k, now);
            p += k, n -= k, c->left -= k;
            if (!c->left) {
                if (c->state == BODY) finished(c, now);
                else c->state = CHUNK_END;
            }
        } else if (c->state == CHUNK_SIZE) {
            char ch = *p++;
            n--;
            if (ch >= '0' && ch <= '9') c->left = c->left * 16 + (uint64_t)(ch - '0');
            else if ((ch | 32) >= 'a' && (ch | 32) <= 'f') c->left = c->left * 16 + (uint64_t)((ch | 32) - 'a' + 10);
            else if (ch == '\n') c->state = c->left ? CHUNK_DATA : TRAILER;
            else if (ch != '\r') return -1;
        } else if (c->state == CHUNK_END) {
            if (*p++ == '\n') c->state = CHUNK_SIZE;
            n--;
        } else {                /* TRAILER: an empty line ends the answer; trailers are not expected */
            if (*p++ == '\n') finished(c, now);
            n--;
        }
    }
    return 0;
}

static void lost(Conn *c, uint64_t *counter) {
    (*counter)++;
    for (int i = 0; i < n_idle; i++) if (idle[i] == c) { idle[i] = idle[--n_idle]; break; }
    for (int i = 0; i < n_conns; i++) if (conns[i] == c) { conns[i] = conns[--n_conns]; break; }
    close(c->fd);
    free(c);
    if (rate > 0 || stopping || err_closed + err_connect + err_protocol > 1000) return;
    Conn *fresh = connect_one();
    if (fresh) begin(fresh, now_s());
}

static void handle(Conn *c, uint32_t what) {
    static char buf[BUF];
    if (c->connecting && (what & (EPOLLOUT | EPOLLERR | EPOLLHUP))) {
        int error = 0;
        socklen_t len = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
        if (error) { lost(c, &err_connect); return; }
        c->connecting = 0;
        watch(c, EPOLL_CTL_MOD, EPOLLIN);
        if (c->busy) flush_request(c);
    } else if (what & EPOLLOUT) {
        watch(c, EPOLL_CTL_MOD, EPOLLIN);
        flush_request(c);
    }
    if (!(what & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    for (;;) {
        ssize_t n = recv(c->fd, buf, BUF, 0);
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0) { lost(c, c->busy ? &err_closed : &idle_closed); return; }
        if (feed(c, buf, (size_t)n, now_s())) { lost(c, &err_protocol); return; }
        if (n < BUF) return;
    }
}

/* ---- the run ---- */
static void send_scheduled(double now) {
    while (next_at <= now && next_at < window_end) {
        Conn *c = n_idle ? idle[--n_idle] : connect_one();
        if (c) begin(c, next_at);
        else n_backlog++;
        n_scheduled++;
        next_at += 1 / rate;
    }
}

static int busy_in_window(void) {
    int n = 0;
    for (int i = 0; i < n_conns; i++) n += conns[i]->busy && conns[i]->begun < window_end;
    return n;
}

static void pump(double until) {
    struct epoll_event got[512];
    while (now_s() < until) {
        int n = epoll_wait(epfd, got, 512, 0);
        if (!n) sched_yield();
        for (int i = 0; i < n; i++) handle(got[i].data.ptr, got[i].events);
        if (rate > 0) send_scheduled(now_s());
        if (stopping && !busy_in_window()) return;
    }
}

static void report(double took, int unfinished) {
    qsort(latency.v, latency.n, sizeof(double), order);
    qsort(ttft.v, ttft.n, sizeof(double), order);
    printf("{\"phase\":\"done\",\"seconds\":%.4f,\"done\":%lu,\"events\":%lu,\"bytes\":%lu,\"scheduled\":%lu,\"unfinished\":%d,"
           "\"connections\":%d,\"errors\":{\"status\":%lu,\"short\":%lu,\"closed\":%lu,\"connect\":%lu,\"protocol\":%lu},"
           "\"bad_status\":%d,\"bad_body\":\"%s\",", took, done_n, events_n, bytes_n, n_scheduled, unfinished, n_conns, err_status,
           err_short, err_closed, err_connect, err_protocol, last_bad_status, last_bad_body);
    printf("\"latency_ms\":{\"n\":%zu,\"p50\":%.4f,\"p90\":%.4f,\"p99\":%.4f,\"max\":%.4f},"
           "\"ttft_ms\":{\"n\":%zu,\"p50\":%.4f,\"p90\":%.4f,\"p99\":%.4f,\"max\":%.4f}}\n",
           latency.n, at(&latency, .5), at(&latency, .9), at(&latency, .99), at(&latency, 1),
           ttft.n, at(&ttft, .5), at(&ttft, .9), at(&ttft, .99), at(&ttft, 1));
    fflush(stdout);
}

static void read_requests(const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f) { perror(path); exit(2); }
    for (size_t len; n_requests < REQUESTS_MAX && fscanf(f, "%zu", &len) == 1 && fgetc(f) == '\n'; n_requests++) {
        requests[n_requests].bytes = malloc(len);
        requests[n_requests].len = len;
        if (fread(requests[n_requests].bytes, 1, len, f) != len) { fprintf(stderr, "%s ends too early\n", path); exit(2); }
    }
    fclose(f);
}

int main(int argc, char **argv) {
    for (int i = 1; i + 1 < argc; i += 2) {
        char *k = argv[i], *v = argv[i + 1];
        if (!strcmp(k, "--port")) port = atoi(v);
        else if (!strcmp(k, "--request")) read_requests(v);
        else if (!strcmp(k, "--connections")) n_wanted = atoi(v);
        else if (!strcmp(k, "--rate")) rate = atof(v);
        else if (!strcmp(k, "--stream")) stream_events = atoi(v);
        else if (!strcmp(k, "--warmup")) warmup_s = atof(v);
        else if (!strcmp(k, "--seconds")) seconds = atof(v);
        else { fprintf(stderr, "unknown option %s\n", k); return 2; }
    }
    if (!port || !n_requests || n_wanted < 1 || n_wanted > CONNS_MAX) { fprintf(stderr, "load needs --port and --request\n"); return 2; }
    signal(SIGPIPE, SIG_IGN);
    epfd = epoll_create1(0);
    double begin_at = now_s();
    next_at = begin_at;
    window_begin = begin_at + warmup_s;
    window_end = window_begin + seconds;
    if (rate <= 0) {            /* spread the first sends over the warm-up so that streams do not march in step */
        for (int i = 0; i < n_wanted; i++) {
            pump(begin_at + warmup_s * 0.6 * i / n_wanted);
            Conn *c = connect_one();
            if (c) begin(c, now_s());
        }
    }
    pump(window_begin);
    printf("{\"phase\":\"window\"}\n");
    fflush(stdout);
    measuring = 1;
    double opened = now_s();
    if (rate <= 0) window_end = opened + seconds;
    pump(window_end);
    measuring = 0;
    double took = now_s() - opened;
    stopping = 1;
    if (rate <= 0) window_end = 1e300;
    pump(now_s() + DRAIN_S);     /* let what runs end, so that nothing is cut off */
    report(took, busy_in_window() + (int)n_backlog);
}
