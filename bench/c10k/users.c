/* The simulated users of one process: a state machine each, on one epoll and one wheel of timers.
 *
 * A user is a struct in an array made at the start.  Its state is driven by three things: a reply on
 * the control connection, the data connection (established, or, without pacing, readable), and its
 * one timer, which is the next paced read while bytes are due and the deadline of a reply otherwise.
 *
 * The process sleeps by the clock (one tick, a millisecond) and never inside epoll_wait(): a packet
 * for a process that waits there would have the *server's* core wake it, an interrupt to another
 * core of 10 to 30 us on a virtual machine.  Unpaced it does not sleep at all. */

#include "users.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_MAX 512
#define LINGER_NS 250000000u /* beyond the end: the last line of a second must see everybody there */

struct user *users;
unsigned user_count;
struct counts *counts;
int epoll;
uint64_t time_ns;
static unsigned user_first; /* this process has every processes-th user, beginning here */

/* ---- the control connection ---- */

static void user_start(struct user *user)
{
    user->state = CONNECTING;
    user->began_ns = time_ns;
    counts->started++;
    counts->alive++;
    user->control = begin_connect(user, options.port, index_of(user), EPOLLOUT);
    if (user->control < 0)
        user_out(user, reason_of_connect(errno, OUT_CONNECT));
    else
        timer_in(user, options.login_timeout_s);
}

static void control_connected(struct user *user)
{
    struct epoll_event registration = {.events = EPOLLIN, .data.u64 = index_of(user)};
    int error = error_of(user->control);

    if (error) {
        user_out(user, reason_of_connect(error, OUT_CONNECT));
        return;
    }
    user->state = GREETING;
    epoll_ctl(epoll, EPOLL_CTL_MOD, user->control, &registration);
}

static void logged_in(struct user *user)
{
    time_ns = now_ns();
    histogram_add(&counts->login_us, (time_ns - user->began_ns) / 1000);
    counts->logged_in++;
    user->state = IDLE;
    timer_clear(user);
    if (!options.idle)
        next_transfer(user);
}

static void transfer_reply(struct user *user, int code)
{
    if (code == 150 || code == 125)
        user->accepted = 1;
    else if ((code == 226 || code == 250) && user->accepted) {
        user->finished = 1;
        transfer_finished(user);
    } else
        user_out(user, OUT_WRONG_REPLY);
}

/* Sends `verb`, and moves on; the deadline is the login's, or the reply's. */
static void go_on(struct user *user, enum state state, const char *verb, const char *argument)
{
    user->state = state;
    command(user, verb, argument);
}

/* The replies that RFC 959 section 5.4 allows here, without those that a download never sees. */
static void reply(struct user *user, int code, const char *line)
{
    enum state state = user->state;

    if (state == GREETING && code == 220)
        go_on(user, USER_SENT, "USER", options.user);
    else if (state == USER_SENT && code == 331)
        go_on(user, PASS_SENT, "PASS", "c10k@example.org");
    else if ((state == USER_SENT || state == PASS_SENT) && code == 230)
        go_on(user, TYPE_SENT, "TYPE", "I");
    else if (state == TYPE_SENT && code == 200 && options.folder)
        go_on(user, FOLDER_SENT, "CWD", options.folder);
    else if ((state == TYPE_SENT && code == 200) || (state == FOLDER_SENT && code == 250))
        logged_in(user);
    else if (state == PASSIVE_SENT && code == (options.extended_passive ? 229 : 227))
        open_data(user, line);
    else if (state == TRANSFERRING)
        transfer_reply(user, code);
    else if (state == GREETING || state == USER_SENT || state == PASS_SENT)
        user_out(user, OUT_REFUSED);
    else
        user_out(user, OUT_WRONG_REPLY);
}

/* A reply of several lines begins with "220-" and ends with "220 "; what is between says nothing,
 * whatever it looks like (RFC 959 section 4.2). */
static void reply_line(struct user *user)
{
    const char *line = user->line;
    int code = 0;

    for (int at = 0; at < 3; at++) {
        if (line[at] < '0' || line[at] > '9')
            return;
        code = code * 10 + line[at] - '0';
    }
    if (user->lines_of && user->lines_of != code)
        return;
    user->lines_of = line[3] == '-' ? (short)code : 0;
    if (line[3] != '-')
        reply(user, code, line);
}

static void control_readable(struct user *user)
{
    char bytes[2048];
    ssize_t got = recv(user->control, bytes, sizeof bytes, 0);

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        user_out(user, OUT_CLOSED);
        return;
    }
    for (ssize_t at = 0; at < got && user->state != OUT; at++) {
        if (bytes[at] != '\n') {
            if (user->line_bytes < LINE_BYTES_MAX)
                user->line[user->line_bytes++] = bytes[at];
            continue;
        }
        user->line[user->line_bytes] = '\0';
        reply_line(user);
        user->line_bytes = 0;
    }
}

/* ---- the turn ---- */

static void timer_fired(struct user *user)
{
    if (user->state == TRANSFERRING && options.rate_bytes_per_s > 0)
        paced_read(user);
    else if (user->state == CONNECTING)
        user_out(user, OUT_CONNECT);
    else if (user->state < IDLE)
        user_out(user, OUT_LOGIN_LATE);
    else if (user->state == TRANSFERRING && !user->ended && user->accepted)
        user_out(user, OUT_TOO_SLOW);
    else if (user->state == DATA_CONNECTING)
        user_out(user, OUT_DATA_CONNECT);
    else
        user_out(user, OUT_NO_REPLY);
}

static void handle(const struct epoll_event *event)
{
    struct user *user = &users[(uint32_t)event->data.u64];

    if (user->state == OUT)
        return;
    if (event->data.u64 & DATA_EVENT) {
        if (user->state == DATA_CONNECTING)
            data_connected(user);
        else if (user->state == TRANSFERRING && user->data >= 0)
            unpaced_read(user);
    } else if (user->state == CONNECTING)
        control_connected(user);
    else
        control_readable(user);
}

static unsigned start_due(unsigned started, uint64_t begin_ns)
{
    while (started < user_count) {
        double at_s = (double)(user_first + started * options.processes) / options.ramp_per_s;
        if (time_ns < begin_ns + (uint64_t)(at_s * 1e9))
            break;
        user_start(&users[started++]);
    }
    return started;
}

static void prepare(unsigned process)
{
    users = calloc(user_count ? user_count : 1, sizeof *users);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (users == NULL || epoll < 0)
        fail("cannot prepare the users");
    for (unsigned at = 0; at < user_count; at++) {
        users[at].control = users[at].data = -1;
        users[at].random = (options.seed + process * 1000003ull + at + 1) * 0x9e3779b97f4a7c15ull;
    }
    connections_prepare();
}

static uint64_t cpu_ns(void)
{
    struct timespec spent;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
    return (uint64_t)spent.tv_sec * 1000000000u + (uint64_t)spent.tv_nsec;
}

static void sleep_until(uint64_t until_ns)
{
    struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000u),
                             .tv_nsec = (long)(until_ns % 1000000000u)};

    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

/* The box is taken down next: what is still connected then would be repeated for minutes. */
static void reset_all(void)
{
    struct linger none = {.l_onoff = 1, .l_linger = 0};

    for (unsigned at = 0; at < user_count; at++) {
        const int both[] = {users[at].data, users[at].control};
        for (int which = 0; which < 2; which++)
            if (both[which] >= 0) {
                setsockopt(both[which], SOL_SOCKET, SO_LINGER, &none, sizeof none);
                close(both[which]);
            }
    }
}

void run_users(unsigned process, struct counts *shared, uint64_t begin_ns)
{
    static struct epoll_event events[EVENTS_MAX];
    uint64_t end_ns = begin_ns + (uint64_t)(options.seconds * 1e9) + LINGER_NS;
    uint64_t slept_until = begin_ns;
    unsigned started = 0;

    counts = shared;
    user_first = process;
    user_count = options.users / options.processes + (process < options.users % options.processes);
    prepare(process);
    sleep_until(begin_ns);
    time_ns = now_ns();
    wheel_prepare();
    while (time_ns < end_ns && (started < user_count || counts->alive > 0)) {
        int ready;

        if (time_ns - slept_until > counts->late_ns_max)
            counts->late_ns_max = time_ns - slept_until;
        started = start_due(started, begin_ns);
        do {
            ready = epoll_wait(epoll, events, EVENTS_MAX, 0);
            for (int at = 0; at < ready; at++)
                handle(&events[at]);
        } while (ready == EVENTS_MAX);
        time_ns = now_ns();
        run_timers(timer_fired);
        counts->cpu_ns = cpu_ns();
        slept_until = now_ns();
        if (!options.spin) {
            slept_until += TICK_NS;
            sleep_until(slept_until);
        }
        time_ns = now_ns();
    }
    reset_all();
}
