/* The load generator that speaks TLS: a closed loop over many connections, spinning on its core.
 *
 *     load_tls PORT CONNECTIONS SIZE echo|lines
 *
 * It does what the lab's Load does for plain sockets: one request outstanding on each connection,
 * each of SIZE bytes at another place of a ring of random bytes, the reply compared byte for byte,
 * epoll_wait with timeout 0 while it measures.  With "lines" each request ends with its only
 * newline.  It is a program of its own, in C, since OpenSSL's work must not wait for a GIL, and
 * users of headrace shall not need OpenSSL's headers.
 *
 * Commands on standard input, one per line: "connect", and "run SECONDS", which ends drained.
 * Each is answered with one line of JSON; {"error": ...} when something went wrong: then the
 * figures mean nothing, and it ends.  The certificate is not verified: it was made a moment ago.
 */

#define _GNU_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_MAX 512
#define RING_BYTES 65536
#define RING_LINES_MIN 8
#define RECEIVE_BYTES 65536
#define CONNECTING_MAX 32 /* handshakes at once */
#define REPLY_TIMEOUT_NS 5000000000LL
#define CONNECT_TIMEOUT_NS 60000000000LL

/* The buckets of headrace.lab.buckets: 2,048 linear steps, doubled in width with the value. */
#define HALF_BITS 10
#define HALF (1 << HALF_BITS)
#define BUCKETS (27 * HALF)

struct connection {
    SSL *ssl;
    int fd;
    int is_open;
    int is_asking;
    int wants_write;
    uint32_t sequence;
    size_t offset, sent, received;
    int64_t asked_ns;
};

static struct connection *connections;
static int total, opened, handshakes, outstanding;
static size_t size, places, stride;
static unsigned char *ring, received[RECEIVE_BYTES];
static uint64_t buckets[BUCKETS], requests;
static int epoll_fd, is_draining;

static void fail(const char *format, ...)
{
    va_list arguments;

    printf("{\"error\": \"");
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\"}\n");
    exit(1);
}

static int64_t clock_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static size_t bucket_index(int64_t latency_ns)
{
    uint64_t value = latency_ns < 1 ? 1 : latency_ns;
    int doubling = 64 - __builtin_clzll(value | (2 * HALF - 1)) - (HALF_BITS + 1);
    size_t index = ((size_t)(doubling + 1) << HALF_BITS) + (value >> doubling) - HALF;

    return index < BUCKETS ? index : BUCKETS - 1;
}

static uint64_t bucket_value(size_t index)
{
    int doubling = (int)(index >> HALF_BITS) - 1;

    return doubling < 0 ? index : (uint64_t)((index & (HALF - 1)) + HALF) << doubling;
}

static void make_ring(int has_lines)
{
    size_t bytes;

    stride = has_lines ? size : 1;
    places = has_lines ? RING_BYTES / size : RING_BYTES;
    if (has_lines && places < RING_LINES_MIN)
        places = RING_LINES_MIN;
    bytes = has_lines ? places * size : RING_BYTES + size;
    ring = malloc(bytes);
    if (ring == NULL || RAND_bytes(ring, bytes) != 1)
        fail("no random bytes");
    for (size_t i = 0; has_lines && i < bytes; i++)
        if (ring[i] == '\n')
            ring[i] = '\t';
    for (size_t end = size; has_lines && end <= bytes; end += size)
        ring[end - 1] = '\n';
}

static void watch(struct connection *one, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.u64 = one - connections};

    if (epoll_ctl(epoll_fd, operation, one->fd, &event) < 0)
        fail("epoll_ctl: %s", strerror(errno));
}

static void watch_write(struct connection *one, int wanted)
{
    if (one->wants_write == wanted)
        return;
    one->wants_write = wanted;
    watch(one, EPOLL_CTL_MOD, EPOLLIN | (wanted ? EPOLLOUT : 0));
}

/* Whether it must only wait; anything else that OpenSSL says is an error. */
static void require_waiting(struct connection *one, int result, const char *what)
{
    int error = SSL_get_error(one->ssl, result);

    if (error == SSL_ERROR_WANT_READ)
        return;
    if (error == SSL_ERROR_WANT_WRITE) {
        watch_write(one, 1);
        return;
    }
    if (error == SSL_ERROR_ZERO_RETURN || (error == SSL_ERROR_SYSCALL && errno == 0))
        fail("%s: the server closed the connection", what);
    if (error == SSL_ERROR_SYSCALL)
        fail("%s: %s", what, strerror(errno));
    fail("%s: %s", what, ERR_reason_error_string(ERR_get_error()));
}

static void push(struct connection *one)
{
    watch_write(one, 0);
    while (one->sent < size) {
        int done = SSL_write(one->ssl, ring + one->offset + one->sent, size - one->sent);

        if (done <= 0) {
            require_waiting(one, done, "sending");
            return;
        }
        one->sent += done;
    }
}

static void ask(struct connection *one, int64_t now_ns)
{
    one->asked_ns = now_ns;
    one->sent = one->received = 0;
    one->sequence += 1;
    one->is_asking = 1;
    one->offset =
        ((size_t)(one - connections) * 40503 + (size_t)one->sequence * 9973) % places * stride;
    push(one);
}

static void answered(struct connection *one)
{
    int64_t now_ns = clock_ns(CLOCK_MONOTONIC);

    requests += 1;
    buckets[bucket_index(now_ns - one->asked_ns)] += 1;
    one->is_asking = 0;
    if (is_draining)
        outstanding -= 1;
    else
        ask(one, now_ns);
}

static void receive(struct connection *one)
{
    for (;;) {
        int count = SSL_read(one->ssl, received, sizeof received);

        if (count <= 0) {
            require_waiting(one, count, "receiving");
            return;
        }
        if (!one->is_asking || one->received + count > one->sent)
            fail("more bytes than asked for");
        if (memcmp(received, ring + one->offset + one->received, count) != 0)
            fail("wrong bytes");
        one->received += count;
        if (one->received == size) {
            answered(one);
            return; /* the next reply cannot be here yet */
        }
    }
}

static void shake_hands(struct connection *one)
{
    int result = SSL_connect(one->ssl);

    watch_write(one, 0);
    if (result != 1) {
        require_waiting(one, result, "handshake");
        return;
    }
    one->is_open = 1;
    opened += 1;
    handshakes -= 1;
}

static void begin_connect(struct connection *one, SSL_CTX *context, int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int yes = 1;

    one->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (one->fd < 0)
        fail("socket: %s", strerror(errno));
    setsockopt(one->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (connect(one->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS)
        fail("connect: %s", strerror(errno));
    one->ssl = SSL_new(context);
    if (one->ssl == NULL || SSL_set_fd(one->ssl, one->fd) != 1)
        fail("SSL_new");
    one->wants_write = 1;
    watch(one, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
    handshakes += 1;
}

static int look(int timeout_ms)
{
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(epoll_fd, events, EVENTS_MAX, timeout_ms);

    for (int i = 0; i < count; i++) {
        struct connection *one = &connections[events[i].data.u64];

        if (!one->is_open) {
            shake_hands(one);
            continue;
        }
        if (one->is_asking && one->sent < size)
            push(one);
        receive(one);
    }
    return count;
}

static void connect_all(SSL_CTX *context, int port)
{
    int64_t end_ns = clock_ns(CLOCK_MONOTONIC) + CONNECT_TIMEOUT_NS;
    int begun = 0;

    while (opened < total) {
        while (begun < total && handshakes < CONNECTING_MAX)
            begin_connect(&connections[begun++], context, port);
        look(10);
        if (clock_ns(CLOCK_MONOTONIC) > end_ns)
            fail("only %d of %d connections in time", opened, total);
    }
    printf("{\"connected\": %d, \"cipher\": \"%s\", \"protocol\": \"%s\"}\n", opened,
           SSL_get_cipher(connections[0].ssl), SSL_get_version(connections[0].ssl));
}

static void print_window(int64_t wall_ns, int64_t cpu_ns)
{
    const char *separator = "";

    printf("{\"seconds\": %.9f, \"requests\": %llu, \"cpu_share\": %.4f, \"latency_ns\": [",
           wall_ns / 1e9, (unsigned long long)requests, (double)cpu_ns / wall_ns);
    for (size_t i = 0; i < BUCKETS; i++) {
        if (buckets[i] == 0)
            continue;
        printf("%s[%llu, %llu]", separator, (unsigned long long)bucket_value(i),
               (unsigned long long)buckets[i]);
        separator = ", ";
    }
    printf("]}\n");
}

static void run(double seconds)
{
    int64_t start_ns = clock_ns(CLOCK_MONOTONIC), now_ns = start_ns;
    int64_t cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    int64_t end_ns = start_ns + (int64_t)(seconds * 1e9);

    requests = 0;
    memset(buckets, 0, sizeof buckets);
    is_draining = 0;
    outstanding = total;
    for (int i = 0; i < total; i++)
        ask(&connections[i], clock_ns(CLOCK_MONOTONIC));
    while (now_ns < end_ns) {
        look(0);
        now_ns = clock_ns(CLOCK_MONOTONIC);
    }
    is_draining = 1;
    end_ns = now_ns + REPLY_TIMEOUT_NS;
    while (outstanding > 0) {
        look(0);
        now_ns = clock_ns(CLOCK_MONOTONIC);
        if (now_ns > end_ns)
            fail("%d requests were never answered", outstanding);
    }
    print_window(now_ns - start_ns, clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_ns);
}

static SSL_CTX *new_context(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());

    if (context == NULL)
        fail("SSL_CTX_new");
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context, 1); /* one read per reply, not one per header and body */
    return context;
}

static void prepare(char **arguments)
{
    struct rlimit limit;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    total = atoi(arguments[2]);
    size = strtoul(arguments[3], NULL, 10);
    if (total < 1 || size < 1)
        fail("at least one connection and one byte");
    connections = calloc(total, sizeof *connections);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (connections == NULL || epoll_fd < 0)
        fail("cannot begin: %s", strerror(errno));
    make_ring(strcmp(arguments[4], "lines") == 0);
}

int main(int argument_count, char **arguments)
{
    char line[64];
    SSL_CTX *context;

    if (argument_count != 5)
        fail("load_tls PORT CONNECTIONS SIZE echo|lines");
    prepare(arguments);
    context = new_context();
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (strcmp(line, "connect\n") == 0)
            connect_all(context, atoi(arguments[1]));
        else if (strncmp(line, "run ", 4) == 0)
            run(atof(line + 4));
        else
            fail("unknown command");
    }
    return 0;
}
