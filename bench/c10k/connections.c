/* Connections of a user: how they begin, how a command is sent, and the end of them all. */

#include "users.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in server;

void connections_prepare(void)
{
    server.sin_family = AF_INET;
    if (inet_pton(AF_INET, options.host, &server.sin_addr) != 1)
        fail("the host is no IPv4 address");
}

/* Begins to connect; -1 with errno.  The port is chosen when connecting, so that it may be used
 * towards other ports of the server at the same time. */
int begin_connect(const struct user *user, uint16_t port, uint64_t event, uint32_t wanted)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), yes = 1, error;
    struct sockaddr_in to = server;
    struct epoll_event registration = {.events = wanted, .data.u64 = event};

    if (fd < 0)
        return -1;
    if (options.source_count) {
        struct sockaddr_in from = {.sin_family = AF_INET};
        from.sin_addr.s_addr = options.sources[index_of(user) % options.source_count];
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
        if (bind(fd, (struct sockaddr *)&from, sizeof from) < 0)
            goto failed;
    }
    if (options.receive_buffer > 0 && (event & DATA_EVENT))
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &options.receive_buffer, sizeof(int));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    to.sin_port = htons(port);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS)
        goto failed;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &registration) < 0)
        goto failed;
    return fd;
failed:
    error = errno;
    close(fd);
    errno = error;
    return -1;
}

int error_of(int fd)
{
    int error = 0;
    socklen_t size = sizeof error;

    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 ? errno : error;
}

/* A command is a few bytes: the socket takes them whole, or the connection is gone. */
int command(struct user *user, const char *verb, const char *argument)
{
    char line[384];
    int size = snprintf(line, sizeof line, *argument ? "%s %s\r\n" : "%s%s\r\n", verb, argument);

    if (send(user->control, line, (size_t)size, MSG_NOSIGNAL) == size)
        return 1;
    user_out(user, OUT_CLOSED);
    return 0;
}

void close_data(struct user *user)
{
    if (user->data >= 0)
        close(user->data);
    user->data = -1;
}

void user_out(struct user *user, enum reason reason)
{
    timer_clear(user);
    close_data(user);
    if (user->control >= 0)
        close(user->control);
    user->control = -1;
    if (user->state >= IDLE)
        counts->logged_in--;
    if (user->state == TRANSFERRING)
        counts->transferring--;
    counts->alive--;
    counts->reasons[reason]++;
    user->state = OUT;
}

enum reason reason_of_connect(int error, enum reason otherwise)
{
    if (error == EMFILE || error == ENFILE)
        return OUT_LOAD_DESCRIPTORS;
    if (error == EADDRNOTAVAIL || error == EADDRINUSE)
        return OUT_LOAD_PORTS;
    return otherwise;
}
