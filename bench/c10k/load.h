/* What the parts of the load generator share: the options, the counts that all processes add to,
 * the histogram, and small helpers. */

#ifndef C10K_LOAD_H
#define C10K_LOAD_H

#define _GNU_SOURCE

#include <stdint.h>
#include <stdio.h>

#define FILES_MAX 4096
#define SOURCES_MAX 64
#define PROCESSES_MAX 64

/* Why a user is out, for good.  The last ones are the load generator's own fault: a run in which
 * they are counted says nothing about the server. */
#define REASONS(X) \
    X(OUT_CONNECT, "cannot connect") \
    X(OUT_LOGIN_LATE, "not logged in in time") \
    X(OUT_REFUSED, "login refused") \
    X(OUT_WRONG_REPLY, "wrong reply") \
    X(OUT_NO_REPLY, "no reply in time") \
    X(OUT_CLOSED, "control connection closed") \
    X(OUT_DATA_CONNECT, "data connection failed") \
    X(OUT_TOO_SLOW, "too slow") \
    X(OUT_WRONG_BYTE, "wrong byte") \
    X(OUT_SHORT, "file too short") \
    X(OUT_LONG, "file too long") \
    X(OUT_LOAD_DESCRIPTORS, "load: no descriptor") \
    X(OUT_LOAD_PORTS, "load: no port")

enum reason {
#define AS_NAME(name, words) name,
    REASONS(AS_NAME)
#undef AS_NAME
    REASON_COUNT
};

/* Logarithmic buckets with 64 linear steps each: a value is known to 1.6 %. */
#define HISTOGRAM_STEPS 64
#define HISTOGRAM_POWERS 34
#define HISTOGRAM_SIZE (HISTOGRAM_STEPS * HISTOGRAM_POWERS)

struct histogram {
    uint64_t count;
    uint64_t largest;
    uint32_t buckets[HISTOGRAM_SIZE];
};

/* What one process has counted.  It alone writes; the parent reads, once a second. */
struct counts {
    uint64_t started;
    uint64_t alive;
    uint64_t logged_in;
    uint64_t transferring;
    uint64_t transfers;
    uint64_t bytes;
    uint64_t starved;
    uint64_t reasons[REASON_COUNT];
    uint64_t cpu_ns;
    uint64_t late_ns_max;
    struct histogram login_us;
    struct histogram first_byte_us;
    struct histogram rate_bytes_per_s;
};

struct options {
    const char *host;
    uint16_t port;
    const char *files;
    const char *user;
    const char *folder;
    uint32_t sources[SOURCES_MAX];
    unsigned source_count;
    unsigned users;
    unsigned processes;
    double ramp_per_s;
    double seconds;
    double rate_bytes_per_s;
    double share_min;
    double read_interval_s;
    double login_timeout_s;
    double reply_timeout_s;
    int receive_buffer;
    int extended_passive;
    int idle;
    int spin;
    uint64_t seed;
};

/* The files that may be asked for, mapped from the served folder before the run. */
struct file {
    char name[64];
    const unsigned char *bytes;
    uint64_t size;
};

extern struct options options;
extern struct file files[FILES_MAX];
extern unsigned file_count;
extern const char *const reason_words[REASON_COUNT];

void run_users(unsigned process, struct counts *counts, uint64_t begin_ns);

void histogram_add(struct histogram *histogram, uint64_t value);
void histogram_merge(struct histogram *into, const struct histogram *from);
uint64_t histogram_percentile(const struct histogram *histogram, double percent);

uint64_t now_ns(void);
void fail(const char *what);

#endif
