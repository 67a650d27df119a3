/* The load generator of the C10K box: simulated users of an FTP server, by dkftpbench's rule.
 *
 *     load --host 198.18.0.1 --port 2121 --files DIR --users 10000 --ramp 200 --seconds 300
 *
 * A user connects, logs in anonymously, and then fetches one file after the other (PASV, RETR), reading
 * no faster than its rate.  One that cannot connect, log in or hold 90 % of its rate over a transfer,
 * or that gets a wrong byte, a wrong length or a wrong reply is out for good.  The score is the users
 * that are alive.  One line of JSON per second, and one at the end with the percentiles.
 *
 * Several processes, because each user has two descriptors and a process may not open any number. */

#include "load.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define START_DELAY_NS 200000000u
#define DESCRIPTORS_BESIDE 64

struct options options = {
    .port = 2121, .user = "anonymous", .users = 1, .processes = 0, .ramp_per_s = 200,
    .seconds = 60, .rate_bytes_per_s = 3600, .share_min = 0.9, .read_interval_s = 0.5,
    .login_timeout_s = 30, .reply_timeout_s = 30, .seed = 1,
};
struct file files[FILES_MAX];
unsigned file_count;

const char *const reason_words[REASON_COUNT] = {
#define AS_WORDS(name, words) words,
    REASONS(AS_WORDS)
#undef AS_WORDS
};

void fail(const char *what)
{
    fprintf(stderr, "load: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(2);
}

uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- what is printed ---- */

static struct counts sum_of(const struct counts *shared)
{
    static struct counts sum;

    memset(&sum, 0, sizeof sum);
    for (unsigned at = 0; at < options.processes; at++) {
        const struct counts *one = &shared[at];
        sum.started += one->started;
        sum.alive += one->alive;
        sum.logged_in += one->logged_in;
        sum.transferring += one->transferring;
        sum.transfers += one->transfers;
        sum.bytes += one->bytes;
        sum.starved += one->starved;
        sum.cpu_ns += one->cpu_ns;
        if (one->late_ns_max > sum.late_ns_max)
            sum.late_ns_max = one->late_ns_max;
        for (unsigned reason = 0; reason < REASON_COUNT; reason++)
            sum.reasons[reason] += one->reasons[reason];
        histogram_merge(&sum.login_us, &one->login_us);
        histogram_merge(&sum.first_byte_us, &one->first_byte_us);
        histogram_merge(&sum.rate_bytes_per_s, &one->rate_bytes_per_s);
    }
    return sum;
}

static void print_histogram(const char *name, const struct histogram *histogram)
{
    static const double percents[] = {0, 1, 10, 50, 90, 99, 99.9};

    printf(", \"%s\": {\"count\": %llu", name, (unsigned long long)histogram->count);
    for (unsigned at = 0; histogram->count && at < sizeof percents / sizeof *percents; at++)
        printf(", \"p%g\": %llu", percents[at],
               (unsigned long long)histogram_percentile(histogram, percents[at]));
    printf(", \"max\": %llu}", (unsigned long long)histogram->largest);
}

static void print_counts(const struct counts *sum, double elapsed_s, int final)
{
    const char *comma = "";

    printf("{\"second\": %.3f, \"started\": %llu, \"alive\": %llu, \"logged_in\": %llu, "
           "\"transferring\": %llu, \"transfers\": %llu, \"bytes\": %llu, \"starved\": %llu, "
           "\"load_cpu_s\": %.3f, \"load_late_ms_max\": %.1f, \"reasons\": {",
           elapsed_s, (unsigned long long)sum->started, (unsigned long long)sum->alive,
           (unsigned long long)sum->logged_in, (unsigned long long)sum->transferring,
           (unsigned long long)sum->transfers, (unsigned long long)sum->bytes,
           (unsigned long long)sum->starved, (double)sum->cpu_ns / 1e9,
           (double)sum->late_ns_max / 1e6);
    for (unsigned reason = 0; reason < REASON_COUNT; reason++)
        if (sum->reasons[reason]) {
            printf("%s\"%s\": %llu", comma, reason_words[reason],
                   (unsigned long long)sum->reasons[reason]);
            comma = ", ";
        }
    printf("}");
    if (final) {
        printf(", \"final\": true, \"processes\": %u", options.processes);
        print_histogram("login_us", &sum->login_us);
        print_histogram("first_byte_us", &sum->first_byte_us);
        print_histogram("rate_bytes_per_s", &sum->rate_bytes_per_s);
    }
    printf("}\n");
    fflush(stdout);
}

/* ---- the files ---- */

static void map_file(int folder, const char *name)
{
    struct file *file = &files[file_count];
    struct stat status;
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &status) < 0)
        fail(name);
    if (S_ISREG(status.st_mode) && status.st_size > 0) {
        if (file_count == FILES_MAX || strlen(name) >= sizeof file->name)
            fail("too many files, or too long a name");
        strcpy(file->name, name);
        file->size = (uint64_t)status.st_size;
        file->bytes = mmap(NULL, file->size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
        if (file->bytes == MAP_FAILED)
            fail(name);
        file_count++;
    }
    close(fd);
}

static void map_files(void)
{
    DIR *folder = opendir(options.files);
    struct dirent *entry;

    if (folder == NULL)
        fail(options.files);
    while ((entry = readdir(folder)) != NULL)
        if (entry->d_name[0] != '.')
            map_file(dirfd(folder), entry->d_name);
    closedir(folder);
    if (file_count == 0)
        fail("there is no file to ask for");
}

/* ---- how fast is a core ---- */

/* A chain of additions of two registers, each waiting for the last: one per cycle on every processor
 * of today (of constants it would not be: some add them while renaming registers).  The fastest of
 * some short stretches, since others can only make it slower. */
static void print_gigahertz(void)
{
    double best = 0;

    for (int round = 0; round < 1000; round++) {
        uint64_t begin = now_ns(), value = begin, step = begin | 1;
        double rate;
        for (int at = 0; at < 40000; at++) {
#define ADD __asm__ volatile("" : "+r"(value), "+r"(step)); value += step;
#define ADD10 ADD ADD ADD ADD ADD ADD ADD ADD ADD ADD
            ADD10 ADD10 ADD10 ADD10 ADD10
        }
        rate = 40000.0 * 50 / (double)(now_ns() - begin);
        if (rate > best)
            best = rate;
    }
    printf("%.3f\n", best);
    exit(0);
}

/* ---- the command line ---- */

enum {
    OPTION_HOST = 256, OPTION_PORT, OPTION_FILES, OPTION_USER, OPTION_FOLDER, OPTION_SOURCES,
    OPTION_USERS, OPTION_PROCESSES, OPTION_RAMP, OPTION_SECONDS, OPTION_RATE, OPTION_SHARE,
    OPTION_INTERVAL, OPTION_LOGIN, OPTION_REPLY, OPTION_RECEIVE_BUFFER, OPTION_EPSV, OPTION_IDLE,
    OPTION_SPIN, OPTION_SEED, OPTION_GIGAHERTZ,
};

static const struct option choices[] = {
    {"host", required_argument, NULL, OPTION_HOST},
    {"port", required_argument, NULL, OPTION_PORT},
    {"files", required_argument, NULL, OPTION_FILES},
    {"user", required_argument, NULL, OPTION_USER},
    {"folder", required_argument, NULL, OPTION_FOLDER},
    {"sources", required_argument, NULL, OPTION_SOURCES},
    {"users", required_argument, NULL, OPTION_USERS},
    {"processes", required_argument, NULL, OPTION_PROCESSES},
    {"ramp", required_argument, NULL, OPTION_RAMP},
    {"seconds", required_argument, NULL, OPTION_SECONDS},
    {"rate", required_argument, NULL, OPTION_RATE},
    {"share-min", required_argument, NULL, OPTION_SHARE},
    {"read-interval", required_argument, NULL, OPTION_INTERVAL},
    {"login-timeout", required_argument, NULL, OPTION_LOGIN},
    {"reply-timeout", required_argument, NULL, OPTION_REPLY},
    {"receive-buffer", required_argument, NULL, OPTION_RECEIVE_BUFFER},
    {"epsv", no_argument, NULL, OPTION_EPSV},
    {"idle", no_argument, NULL, OPTION_IDLE},
    {"spin", no_argument, NULL, OPTION_SPIN},
    {"seed", required_argument, NULL, OPTION_SEED},
    {"measure-gigahertz", no_argument, NULL, OPTION_GIGAHERTZ},
    {NULL, 0, NULL, 0},
};

static double number_of(const char *words, double least)
{
    char *end;
    double number = strtod(words, &end);

    if (end == words || *end || !(number >= least)) {
        fprintf(stderr, "load: %s is no number of at least %g\n", words, least);
        exit(2);
    }
    return number;
}

static void sources_of(char *words)
{
    for (char *word = strtok(words, ","); word; word = strtok(NULL, ",")) {
        if (options.source_count == SOURCES_MAX ||
            inet_pton(AF_INET, word, &options.sources[options.source_count++]) != 1) {
            fprintf(stderr, "load: %s is no IPv4 address, or one too many\n", word);
            exit(2);
        }
    }
}

static void take_option(int option, char *value)
{
    switch (option) {
    case OPTION_HOST: options.host = value; break;
    case OPTION_PORT: options.port = (uint16_t)number_of(value, 1); break;
    case OPTION_FILES: options.files = value; break;
    case OPTION_USER: options.user = value; break;
    case OPTION_FOLDER: options.folder = value; break;
    case OPTION_SOURCES: sources_of(value); break;
    case OPTION_USERS: options.users = (unsigned)number_of(value, 1); break;
    case OPTION_PROCESSES: options.processes = (unsigned)number_of(value, 1); break;
    case OPTION_RAMP: options.ramp_per_s = number_of(value, 0.001); break;
    case OPTION_SECONDS: options.seconds = number_of(value, 0.001); break;
    case OPTION_RATE: options.rate_bytes_per_s = number_of(value, 0); break;
    case OPTION_SHARE: options.share_min = number_of(value, 0.001); break;
    case OPTION_INTERVAL: options.read_interval_s = number_of(value, 0.001); break;
    case OPTION_LOGIN: options.login_timeout_s = number_of(value, 0.001); break;
    case OPTION_REPLY: options.reply_timeout_s = number_of(value, 0.001); break;
    case OPTION_RECEIVE_BUFFER: options.receive_buffer = (int)number_of(value, 0); break;
    case OPTION_EPSV: options.extended_passive = 1; break;
    case OPTION_IDLE: options.idle = 1; break;
    case OPTION_SPIN: options.spin = 1; break;
    case OPTION_SEED: options.seed = (uint64_t)number_of(value, 0); break;
    case OPTION_GIGAHERTZ: print_gigahertz(); break;
    default: exit(2);
    }
}

/* As many processes as the limit of descriptors asks for: two of them for each user. */
static void choose_processes(void)
{
    struct rlimit limit;
    unsigned each;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        fail("getrlimit");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        fail("setrlimit");
    each = limit.rlim_cur > 1000000 ? 500000 : (unsigned)(limit.rlim_cur - DESCRIPTORS_BESIDE) / 2;
    if (options.processes == 0)
        options.processes = (options.users + each - 1) / each;
    if (options.processes > options.users)
        options.processes = options.users;
    if (options.processes > PROCESSES_MAX) {
        errno = 0;
        fail("so many users need too many processes");
    }
}

static void start_process(unsigned process, struct counts *counts, uint64_t begin_ns)
{
    pid_t parent = getpid(), child = fork();

    if (child < 0)
        fail("fork");
    if (child > 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_TIMERSLACK, 1000ul);
    if (getppid() != parent)
        _exit(1);
    run_users(process, counts, begin_ns);
    _exit(0);
}

/* Once a second until all have ended; a process that failed fails the run. */
static int watch(const struct counts *shared, uint64_t begin_ns)
{
    unsigned left = options.processes;
    int failed = 0, status;
    uint64_t next_ns = begin_ns + 1000000000u;
    struct counts sum;

    while (left > 0) {
        struct timespec pause = {.tv_nsec = 10000000};
        while (left > 0 && waitpid(-1, &status, WNOHANG) > 0) {
            failed |= status != 0;
            left--;
        }
        if (now_ns() >= next_ns) {
            sum = sum_of(shared);
            print_counts(&sum, (double)(now_ns() - begin_ns) / 1e9, 0);
            next_ns += 1000000000u;
        }
        nanosleep(&pause, NULL);
    }
    sum = sum_of(shared);
    print_counts(&sum, options.seconds, 1);
    return failed;
}

int main(int count, char **arguments)
{
    struct counts *shared;
    uint64_t begin_ns;
    int option;

    while ((option = getopt_long(count, arguments, "", choices, NULL)) != -1)
        take_option(option, optarg);
    if (options.host == NULL || options.files == NULL || optind != count) {
        fprintf(stderr, "load: --host and --files are needed, and no other words\n");
        return 2;
    }
    errno = 0;
    signal(SIGPIPE, SIG_IGN);
    map_files();
    choose_processes();
    shared = mmap(NULL, sizeof *shared * options.processes, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        fail("mmap");
    begin_ns = now_ns() + START_DELAY_NS;
    for (unsigned process = 0; process < options.processes; process++)
        start_process(process, &shared[process], begin_ns);
    return watch(shared, begin_ns) ? 1 : 0;
}
