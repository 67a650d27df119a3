/* The upper-case service on io_uring, the way the kernel likes it: the floor for completion.
 *
 * Multishot accept and multishot receive are armed once; the kernel picks buffers from a provided
 * ring; a reply is sent from the buffer it was received into, as an SQE; and one io_uring_enter
 * per turn both submits and waits. DEFER_TASKRUN runs the completions inside that call.
 *
 * Replies of one connection must stay in order, and a stream socket may take a part only. So one
 * send per connection is in flight; what arrives meanwhile waits in a list of buffers.
 */

#include "service.h"
#include <liburing.h>

#define QUEUE_ENTRIES 256
#define COMPLETION_ENTRIES 8192
#define BUFFERS 4096 /* a power of two */
#define BUFFER_BYTES 4096
#define GROUP 0
#define NONE 0xffff

enum kind { ACCEPT, RECEIVE, SEND };

struct link {
    uint16_t next;
    uint32_t start, end;
};

struct connection {
    uint16_t first, last; /* buffers to send, in order; NONE when there is nothing */
    int receiving;
    int ended;
};

static struct io_uring ring;
static struct io_uring_buf_ring *provided;
static unsigned char *memory;
static struct link links[BUFFERS];
static struct connection connections[DESCRIPTORS_MAX];
/* Connections whose receive ran out of buffers: armed again when a buffer comes back. */
static int starved[DESCRIPTORS_MAX];
static int starved_count;

static unsigned char *buffer_of(unsigned id)
{
    return memory + (size_t)id * BUFFER_BYTES;
}

static struct io_uring_sqe *next_sqe(void)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

    if (sqe == NULL) {
        io_uring_submit(&ring);
        sqe = io_uring_get_sqe(&ring);
        if (sqe == NULL)
            fail("io_uring_get_sqe");
    }
    return sqe;
}

/* After io_uring_prep_*: those of liburing 2.3 clear the user data. */
static void name(struct io_uring_sqe *sqe, enum kind kind, int fd)
{
    io_uring_sqe_set_data64(sqe, (uint64_t)kind << 32 | (uint32_t)fd);
}

static void arm_accept(int listener)
{
    struct io_uring_sqe *sqe = next_sqe();

    io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, SOCK_CLOEXEC);
    name(sqe, ACCEPT, listener);
}

static void arm_receive(int fd)
{
    struct io_uring_sqe *sqe = next_sqe();

    io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = GROUP;
    name(sqe, RECEIVE, fd);
    connections[fd].receiving = 1;
}

static void send_first(int fd)
{
    struct link *link = &links[connections[fd].first];
    struct io_uring_sqe *sqe = next_sqe();

    io_uring_prep_send(sqe, fd, buffer_of(connections[fd].first) + link->start,
                       link->end - link->start, MSG_WAITALL | MSG_NOSIGNAL);
    name(sqe, SEND, fd);
}

static void give_back(unsigned id)
{
    io_uring_buf_ring_add(provided, buffer_of(id), BUFFER_BYTES, id,
                          io_uring_buf_ring_mask(BUFFERS), 0);
    io_uring_buf_ring_advance(provided, 1);
    if (starved_count > 0)
        arm_receive(starved[--starved_count]);
}

/* A descriptor is closed when nothing of it is in the ring: the number may be used again. */
static void close_when_quiet(int fd)
{
    struct connection *connection = &connections[fd];

    if (connection->ended && !connection->receiving && connection->first == NONE)
        close(fd);
}

static void on_accept(struct io_uring_cqe *cqe, int listener)
{
    int fd = cqe->res;

    if (fd >= DESCRIPTORS_MAX) {
        close(fd);
    } else if (fd >= 0) {
        set_nodelay(fd);
        connections[fd] = (struct connection){.first = NONE, .last = NONE};
        arm_receive(fd);
    }
    if (!(cqe->flags & IORING_CQE_F_MORE))
        arm_accept(listener);
}

static void enqueue(int fd, unsigned id, int size)
{
    struct connection *connection = &connections[fd];

    upper(buffer_of(id), size);
    links[id] = (struct link){.next = NONE, .end = size};
    if (connection->first == NONE) {
        connection->first = connection->last = id;
        send_first(fd);
    } else {
        links[connection->last].next = id;
        connection->last = id;
    }
}

static void on_receive(struct io_uring_cqe *cqe, int fd)
{
    struct connection *connection = &connections[fd];
    int more = cqe->flags & IORING_CQE_F_MORE;

    connection->receiving = more != 0;
    if (cqe->res > 0)
        enqueue(fd, cqe->flags >> IORING_CQE_BUFFER_SHIFT, cqe->res);
    else if (cqe->res == -ENOBUFS)
        starved[starved_count++] = fd;
    else
        connection->ended = 1;
    if (cqe->res > 0 && !more)
        arm_receive(fd);
    close_when_quiet(fd);
}

static void on_send(struct io_uring_cqe *cqe, int fd)
{
    struct connection *connection = &connections[fd];
    unsigned id = connection->first;

    if (cqe->res > 0) {
        links[id].start += cqe->res;
        if (links[id].start < links[id].end) {
            send_first(fd);
            return;
        }
    }
    connection->first = links[id].next;
    give_back(id);
    if (connection->first != NONE)
        send_first(fd);
    close_when_quiet(fd);
}

static void open_ring(void)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
        .cq_entries = COMPLETION_ENTRIES};
    struct io_uring_buf_reg registration = {.ring_entries = BUFFERS, .bgid = GROUP};

    errno = -io_uring_queue_init_params(QUEUE_ENTRIES, &ring, &params);
    if (errno != 0)
        fail("io_uring_queue_init");
    if (posix_memalign((void **)&provided, 4096, BUFFERS * sizeof(struct io_uring_buf)) != 0 ||
        posix_memalign((void **)&memory, 4096, (size_t)BUFFERS * BUFFER_BYTES) != 0)
        fail("posix_memalign");
    registration.ring_addr = (uintptr_t)provided;
    errno = -io_uring_register_buf_ring(&ring, &registration, 0);
    if (errno != 0)
        fail("io_uring_register_buf_ring");
    io_uring_buf_ring_init(provided);
    for (unsigned id = 0; id < BUFFERS; id++)
        io_uring_buf_ring_add(provided, buffer_of(id), BUFFER_BYTES, id,
                              io_uring_buf_ring_mask(BUFFERS), id);
    io_uring_buf_ring_advance(provided, BUFFERS);
}

int main(int argument_count, char **arguments)
{
    int listener;

    parse_arguments(argument_count, arguments);
    prepare_process();
    listener = open_listener(0);
    open_ring();
    arm_accept(listener);
    io_uring_submit(&ring);
    report_ready(listener);
    for (;;) {
        struct io_uring_cqe *cqe;
        unsigned head, seen = 0;

        io_uring_submit_and_wait(&ring, 1);
        io_uring_for_each_cqe(&ring, head, cqe) {
            enum kind kind = cqe->user_data >> 32;
            int fd = (int)(uint32_t)cqe->user_data;

            if (kind == ACCEPT)
                on_accept(cqe, fd);
            else if (kind == RECEIVE)
                on_receive(cqe, fd);
            else
                on_send(cqe, fd);
            seen++;
        }
        io_uring_cq_advance(&ring, seen);
    }
}
