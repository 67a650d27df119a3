/* What the two floor servers share: the listener, the limits, the upper-case table. */

#ifndef SERVICE_H
#define SERVICE_H

#define _GNU_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define DESCRIPTORS_MAX 65536

/* bytes.upper() of CPython is a loop over a table of 256 bytes. The floor uses the same loop, so
 * that the difference between the servers is the I/O, not a faster toupper. */
static unsigned char upper_table[256];

/* What the command line says: "echo" answers the same bytes, and a path is a Unix socket's. */
static int echo_only;
static const char *unix_path;

static inline void parse_arguments(int count, char **arguments)
{
    for (int i = 1; i < count; i++) {
        if (strcmp(arguments[i], "echo") == 0)
            echo_only = 1;
        else
            unix_path = arguments[i];
    }
}

static inline void upper(unsigned char *data, size_t size)
{
    if (echo_only)
        return;
    for (size_t i = 0; i < size; i++)
        data[i] = upper_table[data[i]];
}

static inline void fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static inline void prepare_process(void)
{
    struct rlimit limit;

    for (int byte = 0; byte < 256; byte++)
        upper_table[byte] = byte >= 'a' && byte <= 'z' ? byte - 'a' + 'A' : byte;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        fail("getrlimit");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        fail("setrlimit");
}

static inline int open_unix_listener(int flags)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

    strncpy(address.sun_path, unix_path, sizeof address.sun_path - 1);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 4096) < 0)
        fail(unix_path);
    return fd;
}

static inline int open_listener(int flags)
{
    if (unix_path != NULL)
        return open_unix_listener(flags);

    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 4096) < 0)
        fail("listen");
    return fd;
}

/* The line that the runner waits for; a Unix socket has no port. */
static inline void report_ready(int listener)
{
    struct sockaddr_in address = {0};
    socklen_t size = sizeof address;

    if (unix_path == NULL)
        getsockname(listener, (struct sockaddr *)&address, &size);
    printf("{\"port\": %d}\n", ntohs(address.sin_port));
    fflush(stdout);
}

static inline void set_nodelay(int fd)
{
    int yes = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

#endif
