/* One simulated user, and what the files of the load generator do with it. */

#ifndef C10K_USERS_H
#define C10K_USERS_H

#include "load.h"

#include <sys/types.h>

#define TICK_NS 1000000u
#define LINE_BYTES_MAX 255
#define DATA_EVENT (1ull << 32) /* beside the user's index, in what epoll keeps for us */

enum state {
    ABSENT,
    CONNECTING,
    GREETING,
    USER_SENT,
    PASS_SENT,
    TYPE_SENT,
    FOLDER_SENT,
    IDLE,
    PASSIVE_SENT,
    DATA_CONNECTING,
    TRANSFERRING,
    OUT,
};

struct user {
    int control;
    int data;
    enum state state;
    uint32_t next;     /* in its slot of the wheel */
    uint32_t previous; /* or the slot, with WHEEL_BIT */
    uint64_t due_ns;   /* its timer; 0: none */
    uint64_t began_ns; /* the login, then the transfer */
    uint64_t asked_ns; /* RETR */
    uint64_t until_ns; /* the transfer must have ended */
    uint64_t filled_ns;
    double tokens;
    uint64_t received;
    uint64_t random;
    const struct file *file;
    unsigned char accepted; /* 125 or 150 */
    unsigned char ended;    /* the data connection's end was seen */
    unsigned char finished; /* 226 or 250 */
    unsigned char line_bytes;
    short lines_of; /* the code of a reply of several lines, while it is read */
    char line[LINE_BYTES_MAX + 1];
};

extern struct user *users;
extern unsigned user_count;
extern struct counts *counts;
extern int epoll;
extern uint64_t time_ns; /* read once per turn, and where a latency ends */

static inline uint32_t index_of(const struct user *user)
{
    return (uint32_t)(user - users);
}

/* wheel.c */
void wheel_prepare(void);
void timer_clear(struct user *user);
void timer_set(struct user *user, uint64_t due_ns);
void timer_in(struct user *user, double seconds);
void run_timers(void (*fired)(struct user *user));

/* connections.c */
void connections_prepare(void);
int begin_connect(const struct user *user, uint16_t port, uint64_t event, uint32_t wanted);
int error_of(int fd);
enum reason reason_of_connect(int error, enum reason otherwise);
int command(struct user *user, const char *verb, const char *argument);
void close_data(struct user *user);
void user_out(struct user *user, enum reason reason);

/* transfers.c */
void next_transfer(struct user *user);
void open_data(struct user *user, const char *line);
void data_connected(struct user *user);
void transfer_finished(struct user *user);
void paced_read(struct user *user);
void unpaced_read(struct user *user);

#endif
