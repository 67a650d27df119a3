/* A load for TLS echo servers: tls_load PORT CONNECTIONS SIZE SECONDS
 *
 * A closed loop: each connection sends SIZE bytes, waits until SIZE bytes have come back, and sends
 * again.  It spins (epoll_wait with timeout 0): a client that sleeps costs the server the wake-up,
 * 10 to 30 microseconds on a virtual machine, and the figures would be about that.  So give it a
 * core of its own.  Certificates are not verified; what comes back is compared with what was sent.
 *
 * One JSON line: requests, seconds, requests_per_s, errors, p50_us, p99_us, and the protocol and
 * cipher of the first connection.  The warm-up of a fifth of a second is not counted; "counting" is
 * printed when it is over, for whoever reads the server's CPU clock.
 */

#include "service.h"
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <time.h>

#define EVENTS_MAX 512
#define CONNECTIONS_MAX 20000
#define SIZE_MAX_BYTES (1 << 20)
#define WARM_UP_NS 200000000ull
#define HISTOGRAM_US 100000

struct connection {
    SSL *tls;
    size_t sent, received;
    uint64_t begun_ns;
};

static struct connection connections[CONNECTIONS_MAX];
static unsigned char request[SIZE_MAX_BYTES], reply[SIZE_MAX_BYTES];
static unsigned histogram[HISTOGRAM_US + 1];
static size_t size;
static unsigned long requests, errors;
static int counting;

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void stop(const char *what)
{
    fprintf(stderr, "tls_load: %s\n", what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static int wants_more(SSL *tls, int result)
{
    int error = SSL_get_error(tls, result);

    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

static void give_up(struct connection *connection)
{
    errors++;
    close(SSL_get_fd(connection->tls));
    SSL_free(connection->tls);
    connection->tls = NULL;
}

static void note_reply(struct connection *connection)
{
    uint64_t now = now_ns(), latency_us = (now - connection->begun_ns) / 1000;

    if (counting) {
        requests++;
        histogram[latency_us > HISTOGRAM_US ? HISTOGRAM_US : latency_us]++;
    }
    connection->begun_ns = now;
    connection->sent = connection->received = 0;
}

/* Send and receive until the socket has no more to give; false if the connection has failed. */
static int advance(struct connection *connection)
{
    for (;;) {
        while (connection->sent < size) {
            int count = SSL_write(connection->tls, request + connection->sent,
                                  (int)(size - connection->sent));
            if (count <= 0) {
                if (!wants_more(connection->tls, count))
                    return 0;
                break;
            }
            connection->sent += (size_t)count;
        }
        int count = SSL_read(connection->tls, reply, (int)(size - connection->received));
        if (count <= 0)
            return wants_more(connection->tls, count);
        if (memcmp(reply, request + connection->received, (size_t)count) != 0)
            return 0;
        connection->received += (size_t)count;
        if (connection->received == size)
            note_reply(connection);
    }
}

static void open_connection(struct connection *connection, SSL_CTX *context, int port, int epoll_fd)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = connection};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail("connect");
    set_nodelay(fd);
    connection->tls = SSL_new(context);
    if (connection->tls == NULL || !SSL_set_fd(connection->tls, fd))
        stop("SSL_new");
    if (SSL_connect(connection->tls) != 1)
        stop("handshake");
    if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        fail("epoll_ctl");
    connection->begun_ns = now_ns();
}

static void spin_until(uint64_t end_ns, int epoll_fd)
{
    struct epoll_event events[EVENTS_MAX];

    while (now_ns() < end_ns) {
        int count = epoll_wait(epoll_fd, events, EVENTS_MAX, 0);
        for (int index = 0; index < count; index++) {
            struct connection *connection = events[index].data.ptr;
            if (connection->tls != NULL && !advance(connection))
                give_up(connection);
        }
    }
}

static unsigned percentile_us(double part)
{
    unsigned long seen = 0;

    for (unsigned latency_us = 0; latency_us <= HISTOGRAM_US; latency_us++) {
        seen += histogram[latency_us];
        if (seen >= (unsigned long)(part * (double)requests))
            return latency_us;
    }
    return HISTOGRAM_US;
}

int main(int argc, char **argv)
{
    int port = argc == 5 ? atoi(argv[1]) : 0, count = argc == 5 ? atoi(argv[2]) : 0;
    double seconds = argc == 5 ? atof(argv[4]) : 0;

    size = argc == 5 ? (size_t)atol(argv[3]) : 0;
    if (port < 1 || count < 1 || count > CONNECTIONS_MAX || size < 1 || size > SIZE_MAX_BYTES ||
        seconds <= 0) {
        fprintf(stderr, "usage: tls_load PORT CONNECTIONS SIZE SECONDS\n");
        return 2;
    }
    prepare_process();
    for (size_t index = 0; index < size; index++)
        request[index] = (unsigned char)('a' + index % 26);
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (context == NULL)
        stop("SSL_CTX_new");
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (int index = 0; index < count; index++)
        open_connection(&connections[index], context, port, epoll_fd);
    for (int index = 0; index < count; index++)
        if (!advance(&connections[index]))
            give_up(&connections[index]);

    spin_until(now_ns() + WARM_UP_NS, epoll_fd);
    printf("counting\n");
    fflush(stdout);
    counting = 1;
    uint64_t begun_ns = now_ns();
    spin_until(begun_ns + (uint64_t)(seconds * 1e9), epoll_fd);
    double lasted = (double)(now_ns() - begun_ns) / 1e9;
    SSL *first = connections[0].tls;
    printf("{\"requests\": %lu, \"seconds\": %.3f, \"requests_per_s\": %.0f, \"errors\": %lu, "
           "\"p50_us\": %u, \"p99_us\": %u, \"protocol\": \"%s\", \"cipher\": \"%s\"}\n",
           requests, lasted, (double)requests / lasted, errors, percentile_us(0.5),
           percentile_us(0.99), first ? SSL_get_version(first) : "", first ? SSL_get_cipher(first) : "");
    return errors != 0;
}
