/* The upper-case service on level-triggered epoll: read, upper, write. The floor for readiness.
 *
 * The buffer is shared: a reply that the socket does not take at once is copied aside, and the
 * connection is then watched for writing only, so that a peer that does not read cannot make the
 * server grow.
 */

#include "service.h"
#include <sys/epoll.h>

#define EVENTS_MAX 512
#define BUFFER_BYTES 65536

struct pending {
    unsigned char *data;
    size_t start, end;
};

static struct pending pending[DESCRIPTORS_MAX];
static unsigned char buffer[BUFFER_BYTES];
static int epoll_fd;

static void watch(int operation, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};

    if (epoll_ctl(epoll_fd, operation, fd, &event) < 0)
        fail("epoll_ctl");
}

static void drop(int fd)
{
    free(pending[fd].data);
    pending[fd] = (struct pending){0};
    close(fd);
}

static void accept_all(int listener)
{
    int fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (fd >= DESCRIPTORS_MAX) {
            close(fd);
            continue;
        }
        set_nodelay(fd);
        watch(EPOLL_CTL_ADD, fd, EPOLLIN);
    }
}

static void put_aside(int fd, const unsigned char *data, size_t size)
{
    unsigned char *copy = malloc(size);

    if (copy == NULL)
        fail("malloc");
    memcpy(copy, data, size);
    pending[fd] = (struct pending){.data = copy, .end = size};
    watch(EPOLL_CTL_MOD, fd, EPOLLOUT);
}

static void answer(int fd)
{
    ssize_t size = read(fd, buffer, sizeof buffer);
    ssize_t sent;

    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (size <= 0) {
        drop(fd);
        return;
    }
    upper(buffer, size);
    sent = write(fd, buffer, size);
    if (sent < 0 && errno != EAGAIN)
        drop(fd);
    else if (sent < size)
        put_aside(fd, buffer + (sent > 0 ? sent : 0), size - (sent > 0 ? sent : 0));
}

static void answer_rest(int fd)
{
    struct pending *rest = &pending[fd];
    ssize_t sent = write(fd, rest->data + rest->start, rest->end - rest->start);

    if (sent < 0) {
        if (errno != EAGAIN)
            drop(fd);
        return;
    }
    rest->start += sent;
    if (rest->start == rest->end) {
        free(rest->data);
        *rest = (struct pending){0};
        watch(EPOLL_CTL_MOD, fd, EPOLLIN);
    }
}

int main(int argument_count, char **arguments)
{
    struct epoll_event events[EVENTS_MAX];
    int listener;

    parse_arguments(argument_count, arguments);
    prepare_process();
    listener = open_listener(SOCK_NONBLOCK);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        fail("epoll_create1");
    watch(EPOLL_CTL_ADD, listener, EPOLLIN);
    report_ready(listener);
    for (;;) {
        int count = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);

        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;

            if (fd == listener)
                accept_all(listener);
            else if (pending[fd].data != NULL)
                answer_rest(fd);
            else
                answer(fd);
        }
    }
}
