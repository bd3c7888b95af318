// A clock of our own for one process: another rate, and jumps.
//
// TORTURE_CLOCK names a file of `struct control`, which the harness writes and this reads at every
// look at a clock. Without it nothing changes. The monotonic clock never goes back: the harness
// moves the anchors along at each change.
//
//   monotonic = fake_anchor + (real - real_anchor) * rate
//   wall      = real wall + (monotonic - real monotonic) + wall_offset
//
// Waits are scaled too, so that the process as a whole lives at its own rate: relative ones by the
// rate, the absolute ones of futexes through the inverse of the function above.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct control {
    uint64_t sequence; // odd while it is written
    int64_t real_anchor_ns;
    int64_t fake_anchor_ns;
    int64_t wall_offset_ns;
    double rate;
};

static volatile struct control *control;

typedef int (*clock_gettime_fn)(clockid_t, struct timespec *);
typedef long (*syscall_fn)(long, ...);
typedef int (*epoll_wait_fn)(int, struct epoll_event *, int, int);
typedef int (*epoll_pwait_fn)(int, struct epoll_event *, int, int, const sigset_t *);
typedef int (*clock_nanosleep_fn)(clockid_t, int, const struct timespec *, struct timespec *);

// Looked up at the first use: others look at clocks before our constructor runs.
static clock_gettime_fn real_clock_gettime(void) {
    static clock_gettime_fn found;
    if (!found)
        found = (clock_gettime_fn)dlsym(RTLD_NEXT, "clock_gettime");
    return found;
}

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("TORTURE_CLOCK");
    if (!path)
        return;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        abort();
    void *map = mmap(NULL, sizeof(struct control), PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (map == MAP_FAILED)
        abort();
    control = map;
}

static struct control read_control(void) {
    struct control copy;
    for (;;) {
        uint64_t before = __atomic_load_n(&control->sequence, __ATOMIC_ACQUIRE);
        copy.real_anchor_ns = control->real_anchor_ns;
        copy.fake_anchor_ns = control->fake_anchor_ns;
        copy.wall_offset_ns = control->wall_offset_ns;
        copy.rate = control->rate;
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (!(before & 1) && before == __atomic_load_n(&control->sequence, __ATOMIC_RELAXED))
            return copy;
    }
}

static int64_t nanoseconds(const struct timespec *t) {
    return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

static struct timespec timespec_of(int64_t ns) {
    struct timespec t = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    return t;
}

int clock_gettime(clockid_t id, struct timespec *result) {
    int status = real_clock_gettime()(id, result);
    if (!control || status != 0)
        return status;
    int monotonic = id == CLOCK_MONOTONIC || id == CLOCK_MONOTONIC_RAW || id == CLOCK_BOOTTIME ||
                    id == CLOCK_MONOTONIC_COARSE;
    int wall = id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE;
    if (!monotonic && !wall)
        return status;
    struct timespec now;
    real_clock_gettime()(CLOCK_MONOTONIC, &now);
    struct control c = read_control();
    int64_t real = nanoseconds(&now);
    int64_t fake = c.fake_anchor_ns + (int64_t)((double)(real - c.real_anchor_ns) * c.rate);
    if (monotonic)
        *result = timespec_of(fake);
    else
        *result = timespec_of(nanoseconds(result) + (fake - real) + c.wall_offset_ns);
    return status;
}

// A wait that ends at `fake` by the process's clock ends at this time by the real one.
static int64_t real_time_of(int64_t fake) {
    struct control c = read_control();
    double ns = (double)(fake - c.fake_anchor_ns) / c.rate;
    return c.real_anchor_ns + (ns > 9e17 ? 900000000000000000 : (int64_t)ns);
}

long syscall(long number, ...) {
    static syscall_fn real;
    if (!real)
        real = (syscall_fn)dlsym(RTLD_NEXT, "syscall");
    va_list list;
    va_start(list, number);
    long a[6];
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    struct timespec at;
    if (control && number == SYS_futex && a[3] && (a[1] & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET &&
        !(a[1] & FUTEX_CLOCK_REALTIME)) {
        at = timespec_of(real_time_of(nanoseconds((const struct timespec *)a[3])));
        a[3] = (long)&at;
    }
    return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static int scaled(int timeout_ms) {
    if (!control || timeout_ms <= 0)
        return timeout_ms;
    double ms = (double)timeout_ms / read_control().rate;
    return ms > 2000000000.0 ? 2000000000 : (int)ms + 1;
}

int epoll_wait(int fd, struct epoll_event *events, int max, int timeout_ms) {
    static epoll_wait_fn real;
    if (!real)
        real = (epoll_wait_fn)dlsym(RTLD_NEXT, "epoll_wait");
    return real(fd, events, max, scaled(timeout_ms));
}

int epoll_pwait(int fd, struct epoll_event *events, int max, int timeout_ms, const sigset_t *set) {
    static epoll_pwait_fn real;
    if (!real)
        real = (epoll_pwait_fn)dlsym(RTLD_NEXT, "epoll_pwait");
    return real(fd, events, max, scaled(timeout_ms), set);
}

int clock_nanosleep(clockid_t id, int flags, const struct timespec *wanted, struct timespec *left) {
    static clock_nanosleep_fn real;
    if (!real)
        real = (clock_nanosleep_fn)dlsym(RTLD_NEXT, "clock_nanosleep");
    if (!control || id != CLOCK_MONOTONIC)
        return real(id, flags, wanted, left);
    struct timespec at;
    if (flags & TIMER_ABSTIME)
        at = timespec_of(real_time_of(nanoseconds(wanted)));
    else
        at = timespec_of((int64_t)((double)nanoseconds(wanted) / read_control().rate));
    return real(id, flags, &at, left);
}

int nanosleep(const struct timespec *wanted, struct timespec *left) {
    int status = clock_nanosleep(CLOCK_MONOTONIC, 0, wanted, left);
    return status == 0 ? 0 : -1;
}
