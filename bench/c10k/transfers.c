/* Transfers: PASV and RETR, and the reading, which is paced or not.
 *
 * Pacing: a modem of R bytes/s delivers at most R * interval bytes in each interval, and what did not
 * come in one interval is lost: it cannot catch up.  So the bucket holds two intervals' worth, and a
 * server that keeps a user waiting longer than 11 % of the transfer's time has lost the user. */

#include "users.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define READ_BYTES_MAX (256u * 1024)

static unsigned char buffer[READ_BYTES_MAX];

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

void next_transfer(struct user *user)
{
    user->file = &files[random_next(&user->random) % file_count];
    user->received = 0;
    user->accepted = user->ended = user->finished = 0;
    user->began_ns = time_ns;
    user->until_ns = UINT64_MAX;
    if (options.rate_bytes_per_s > 0) {
        double wanted_s = (double)user->file->size / options.rate_bytes_per_s;
        user->until_ns = time_ns + (uint64_t)(wanted_s / options.share_min * 1e9);
    }
    user->state = PASSIVE_SENT;
    if (command(user, options.extended_passive ? "EPSV" : "PASV", ""))
        timer_in(user, options.reply_timeout_s);
}

/* 227 ...(h1,h2,h3,h4,p1,p2); RFC 959 leaves the words and the brackets open, so the digits count.
 * 229 ...(|||port|), RFC 2428.  The host is the control connection's, whatever the reply says. */
static unsigned passive_port(const char *line)
{
    unsigned number[6], port;

    if (options.extended_passive) {
        const char *bar = strstr(line + 3, "|||");
        return bar && sscanf(bar + 3, "%u|", &port) == 1 && port < 65536 ? port : 0;
    }
    for (line += 3; *line && !(*line >= '0' && *line <= '9'); line++)
        ;
    if (sscanf(line, "%u,%u,%u,%u,%u,%u", number, number + 1, number + 2, number + 3, number + 4,
               number + 5) != 6)
        return 0;
    return number[4] < 256 && number[5] < 256 ? number[4] * 256 + number[5] : 0;
}

void open_data(struct user *user, const char *line)
{
    unsigned port = passive_port(line);
    uint32_t wanted = EPOLLOUT | EPOLLONESHOT;

    if (port == 0) {
        user_out(user, OUT_WRONG_REPLY);
        return;
    }
    user->data = begin_connect(user, (uint16_t)port, index_of(user) | DATA_EVENT, wanted);
    if (user->data < 0) {
        user_out(user, reason_of_connect(errno, OUT_DATA_CONNECT));
        return;
    }
    user->state = DATA_CONNECTING;
    timer_in(user, options.reply_timeout_s);
}

/* Without pacing the data connection is read whenever there is something, with it by the timer. */
void data_connected(struct user *user)
{
    struct epoll_event registration = {.events = EPOLLIN,
                                       .data.u64 = index_of(user) | DATA_EVENT};
    int error = error_of(user->data);

    if (error) {
        user_out(user, reason_of_connect(error, OUT_DATA_CONNECT));
        return;
    }
    user->state = TRANSFERRING;
    counts->transferring++;
    time_ns = now_ns();
    user->asked_ns = user->filled_ns = time_ns;
    user->tokens = 0;
    if (!command(user, "RETR", user->file->name))
        return;
    if (options.rate_bytes_per_s > 0) {
        timer_in(user, options.read_interval_s);
        return;
    }
    epoll_ctl(epoll, EPOLL_CTL_MOD, user->data, &registration);
    timer_in(user, options.reply_timeout_s);
}

void transfer_finished(struct user *user)
{
    uint64_t took_ns;

    if (!user->ended || !user->finished)
        return;
    time_ns = now_ns();
    took_ns = time_ns - user->began_ns;
    counts->transfers++;
    counts->transferring--;
    user->state = IDLE;
    histogram_add(&counts->rate_bytes_per_s,
                  (uint64_t)((double)user->received * 1e9 / (double)(took_ns ? took_ns : 1)));
    timer_clear(user);
    next_transfer(user);
}

/* Takes at most `wanted` bytes, and compares them.  What it answers: bytes taken, 0 when there is
 * nothing now or no more (see user->ended), -1 when the user is out. */
static ssize_t take(struct user *user, size_t wanted)
{
    ssize_t got = recv(user->data, buffer, wanted < READ_BYTES_MAX ? wanted : READ_BYTES_MAX, 0);

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (got < 0 || (got == 0 && user->received < user->file->size)) {
        user_out(user, OUT_SHORT);
        return -1;
    }
    if (got == 0) {
        user->ended = 1;
        close_data(user);
        return 0;
    }
    if (user->received + (uint64_t)got > user->file->size) {
        user_out(user, OUT_LONG);
        return -1;
    }
    if (memcmp(buffer, user->file->bytes + user->received, (size_t)got) != 0) {
        user_out(user, OUT_WRONG_BYTE);
        return -1;
    }
    if (user->received == 0)
        histogram_add(&counts->first_byte_us, (now_ns() - user->asked_ns) / 1000);
    user->received += (uint64_t)got;
    counts->bytes += (uint64_t)got;
    return got;
}

static void wait_for_226(struct user *user)
{
    timer_in(user, options.reply_timeout_s);
    transfer_finished(user);
}

/* One paced read.  Asking for a byte more than the file has shows a longer file, and its end. */
void paced_read(struct user *user)
{
    double interval_bytes = options.rate_bytes_per_s * options.read_interval_s;
    ssize_t got;

    if (user->ended) {
        user_out(user, OUT_NO_REPLY);
        return;
    }
    user->tokens += (double)(time_ns - user->filled_ns) / 1e9 * options.rate_bytes_per_s;
    user->filled_ns = time_ns;
    if (user->tokens > 2 * interval_bytes)
        user->tokens = 2 * interval_bytes;
    if (user->received == user->file->size)
        got = take(user, 1);
    else
        got = user->tokens < 1 ? 0 : take(user, (size_t)user->tokens);
    if (got < 0)
        return;
    if (user->ended) {
        wait_for_226(user);
        return;
    }
    if (got > 0 && (user->tokens -= (double)got) < 0)
        user->tokens = 0;
    if (got == 0)
        counts->starved++;
    if (time_ns > user->until_ns) {
        user_out(user, OUT_TOO_SLOW);
        return;
    }
    /* Near the end the file's last bytes need no whole interval. */
    if (user->received == user->file->size)
        timer_in(user, got > 0 ? 0.002 : 0.020);
    else {
        double left_s = ((double)(user->file->size - user->received) - user->tokens) /
                        options.rate_bytes_per_s;
        timer_in(user, left_s > options.read_interval_s ? options.read_interval_s
                       : left_s > 0.002                 ? left_s
                                                        : 0.002);
    }
}

void unpaced_read(struct user *user)
{
    ssize_t got = take(user, READ_BYTES_MAX);

    if (got > 0)
        timer_in(user, options.reply_timeout_s);
    else if (got == 0 && user->ended)
        wait_for_226(user);
}
