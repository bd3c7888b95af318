// A disk that forgets what was never synced.
//
// TORTURE_DISK names a node's data directory and TORTURE_DISK_LOG the file in which this notes
// what must be done to take every write back; beside it, `LOG.N` are hard links to files that were
// unlinked or replaced. Before a write of a file in the directory its old blocks are noted; what
// was synced since is noted too. When the harness cuts the power it kills the process and takes
// back a choice of what had not been synced (src/cluster/unsynced.rs, which reads this log).
//
// With TORTURE_DISK_LIES=1 syncs return at once and are not noted: nothing is ever safe.
//
// Not covered: writes through a shared mapping. The product makes none (LMDB's WRITE_MAP is off).

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define BLOCK 4096

enum kind {
    WRITTEN = 1,   // offset, size (the file's before), data: the old blocks
    TRUNCATED = 2, // offset (the new size), size (the file's before), data: what was cut
    WRITE_SYNCED = 3, // offset: where in this log the write's own record is
    FILE_SYNCED = 4,  // offset: records of the file before it in this log are safe
    CREATED = 5,      // path
    RENAMED = 6,      // path, data: the other path; size: number of the link, 0 = none
    UNLINKED = 7,     // path; size: number of the link
    DIRECTORY_MADE = 8,
    DIRECTORY_REMOVED = 9,
    DIRECTORY_SYNCED = 10, // path; offset as for FILE_SYNCED
};

struct record {
    uint32_t magic;
    uint32_t kind;
    uint64_t inode;
    uint64_t offset;
    uint64_t size;
    uint64_t path_bytes;
    uint64_t data_bytes;
};

static char directory[PATH_MAX];
static size_t directory_bytes;
static char log_path[PATH_MAX];
static int log_fd = -1;
static int lies;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name, type, ...)                                                                      \
    static type (*real_##name)(__VA_ARGS__);                                                       \
    __attribute__((constructor(101))) static void find_##name(void) {                              \
        real_##name = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name);                               \
    }

REAL(open, int, const char *, int, ...)
REAL(openat, int, int, const char *, int, ...)
REAL(write, ssize_t, int, const void *, size_t)
REAL(pwrite, ssize_t, int, const void *, size_t, off_t)
REAL(writev, ssize_t, int, const struct iovec *, int)
REAL(pwritev, ssize_t, int, const struct iovec *, int, off_t)
REAL(ftruncate, int, int, off_t)
REAL(fsync, int, int)
REAL(fdatasync, int, int)
REAL(rename, int, const char *, const char *)
REAL(unlink, int, const char *)
REAL(unlinkat, int, int, const char *, int)
REAL(link, int, const char *, const char *)
REAL(linkat, int, int, const char *, int, const char *, int)
REAL(mkdir, int, const char *, mode_t)
REAL(rmdir, int, const char *)

__attribute__((constructor(102))) static void start(void) {
    const char *wanted = getenv("TORTURE_DISK");
    const char *log = getenv("TORTURE_DISK_LOG");
    if (!wanted || !log)
        return;
    snprintf(directory, sizeof directory, "%s", wanted);
    snprintf(log_path, sizeof log_path, "%s", log);
    directory_bytes = strlen(directory);
    lies = getenv("TORTURE_DISK_LIES") != NULL;
    log_fd = real_open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0)
        abort();
}

// Notes a record before what it tells of happens; where in the log it is.
static uint64_t note(enum kind kind, uint64_t inode, uint64_t offset, uint64_t size,
                     const char *path, const void *data, size_t data_bytes) {
    size_t path_bytes = path ? strlen(path) : 0;
    struct record head = {0x544f5254, kind, inode, offset, size, path_bytes, data_bytes};
    size_t total = sizeof head + path_bytes + data_bytes;
    char *whole = malloc(total);
    if (!whole)
        abort();
    memcpy(whole, &head, sizeof head);
    memcpy(whole + sizeof head, path, path_bytes);
    if (data_bytes)
        memcpy(whole + sizeof head + path_bytes, data, data_bytes);
    pthread_mutex_lock(&lock);
    uint64_t at = (uint64_t)lseek(log_fd, 0, SEEK_END);
    for (size_t done = 0; done < total;) {
        ssize_t n = real_write(log_fd, whole + done, total - done);
        if (n <= 0)
            abort();
        done += (size_t)n;
    }
    pthread_mutex_unlock(&lock);
    free(whole);
    return at;
}

static uint64_t log_end(void) {
    pthread_mutex_lock(&lock);
    uint64_t at = (uint64_t)lseek(log_fd, 0, SEEK_END);
    pthread_mutex_unlock(&lock);
    return at;
}

static int inside(const char *path) {
    return log_fd >= 0 && strncmp(path, directory, directory_bytes) == 0 &&
           (path[directory_bytes] == '/' || path[directory_bytes] == 0);
}

// The directory itself is an entry of one that is not watched.
static int below(const char *path) { return inside(path) && path[directory_bytes] == '/'; }

// The path of an open file, when it is in the directory.
static int path_of(int fd, char *path) {
    char name[64];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(name, path, PATH_MAX - 1);
    if (n <= 0)
        return 0;
    path[n] = 0;
    return inside(path);
}

// Whether writes of this file are noted.
static int watched(int fd, struct stat *status) {
    char path[PATH_MAX];
    int saved = errno;
    int yes = log_fd >= 0 && fd != log_fd && fstat(fd, status) == 0 && S_ISREG(status->st_mode) &&
              path_of(fd, path);
    errno = saved;
    return yes;
}

// Reads what lies in a range of a file, which may be open for writing only.
static size_t old_bytes(int fd, uint64_t from, uint64_t to, char **data) {
    char name[64];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    *data = malloc(to - from);
    int reader = real_open(name, O_RDONLY | O_CLOEXEC);
    if (!*data || reader < 0)
        abort();
    size_t done = 0;
    while (from + done < to) {
        ssize_t n = pread(reader, *data + done, to - from - done, (off_t)(from + done));
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    close(reader);
    return done;
}

static uint64_t before_write(int fd, const struct stat *status, uint64_t offset, uint64_t length) {
    int saved = errno;
    uint64_t size = (uint64_t)status->st_size;
    uint64_t from = offset / BLOCK * BLOCK;
    uint64_t to = (offset + length + BLOCK - 1) / BLOCK * BLOCK;
    // The record says how much was written over, also where nothing was: old blocks, then zeros.
    char *data = NULL;
    size_t there = from < size ? old_bytes(fd, from, to < size ? to : size, &data) : 0;
    char *whole = calloc(1, to - from);
    if (!whole)
        abort();
    if (there)
        memcpy(whole, data, there);
    uint64_t at = note(WRITTEN, status->st_ino, from, size, NULL, whole, to - from);
    free(whole);
    free(data);
    errno = saved;
    return at;
}

static void after_write(int fd, const struct stat *status, uint64_t at) {
    int saved = errno;
    int flags = fcntl(fd, F_GETFL);
    if (!lies && (flags & (O_DSYNC | O_SYNC)))
        note(WRITE_SYNCED, status->st_ino, at, 0, NULL, NULL, 0);
    errno = saved;
}

static uint64_t position(int fd, const struct stat *status) {
    int flags = fcntl(fd, F_GETFL);
    return flags & O_APPEND ? (uint64_t)status->st_size : (uint64_t)lseek(fd, 0, SEEK_CUR);
}

static uint64_t total_bytes(const struct iovec *parts, int count) {
    uint64_t total = 0;
    for (int i = 0; i < count; i++)
        total += parts[i].iov_len;
    return total;
}

#define WRITE(call, where, length)                                                                 \
    struct stat status;                                                                            \
    if ((length) == 0 || !watched(fd, &status))                                                    \
        return call;                                                                               \
    uint64_t at = before_write(fd, &status, (where), (length));                                    \
    ssize_t result = call;                                                                         \
    if (result > 0)                                                                                \
        after_write(fd, &status, at);                                                              \
    return result;

ssize_t write(int fd, const void *data, size_t length) {
    WRITE(real_write(fd, data, length), position(fd, &status), length)
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
    WRITE(real_pwrite(fd, data, length, offset), (uint64_t)offset, length)
}

ssize_t pwrite64(int fd, const void *data, size_t length, off_t offset) {
    WRITE(real_pwrite(fd, data, length, offset), (uint64_t)offset, length)
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    WRITE(real_writev(fd, parts, count), position(fd, &status), total_bytes(parts, count))
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    WRITE(real_pwritev(fd, parts, count, offset), (uint64_t)offset, total_bytes(parts, count))
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t offset) {
    WRITE(real_pwritev(fd, parts, count, offset), (uint64_t)offset, total_bytes(parts, count))
}

int ftruncate(int fd, off_t size) {
    struct stat status;
    if (watched(fd, &status) && status.st_size != size) {
        uint64_t old = (uint64_t)status.st_size, new = (uint64_t)size;
        char *data = NULL;
        size_t cut = new < old ? old_bytes(fd, new, old, &data) : 0;
        note(TRUNCATED, status.st_ino, new, old, NULL, data, cut);
        free(data);
    }
    return real_ftruncate(fd, size);
}

int ftruncate64(int fd, off_t size) { return ftruncate(fd, size); }

static int synced(int fd, int (*sync)(int)) {
    struct stat status;
    char path[PATH_MAX];
    if (log_fd < 0 || fstat(fd, &status) != 0 || !path_of(fd, path))
        return sync(fd);
    if (lies)
        return 0;
    uint64_t end = log_end();
    // The harness takes back what is not noted as synced; waiting for the real disk adds nothing.
    enum kind kind = S_ISDIR(status.st_mode) ? DIRECTORY_SYNCED : FILE_SYNCED;
    note(kind, status.st_ino, end, 0, path, NULL, 0);
    return 0;
}

int fsync(int fd) { return synced(fd, real_fsync); }
int fdatasync(int fd) { return synced(fd, real_fdatasync); }

static uint64_t keep(const char *path) {
    static uint64_t number;
    char kept[PATH_MAX + 32];
    do {
        number++;
        snprintf(kept, sizeof kept, "%s.%llu", log_path, (unsigned long long)number);
    } while (access(kept, F_OK) == 0);
    return real_link(path, kept) == 0 ? number : 0;
}

static void absolute(int at, const char *name, char *path) {
    if (name[0] == '/' || at == AT_FDCWD)
        snprintf(path, PATH_MAX, "%s", name);
    else {
        char parent[PATH_MAX];
        if (!path_of(at, parent))
            parent[0] = 0;
        int n = snprintf(path, PATH_MAX, "%s/%s", parent, name);
        (void)n;
    }
}

static int open_noting(int at, const char *name, int flags, mode_t mode) {
    char path[PATH_MAX * 2];
    if (log_fd >= 0 && (flags & (O_CREAT | O_TRUNC)) && (flags & O_TMPFILE) != O_TMPFILE) {
        absolute(at, name, path);
        struct stat status;
        if (below(path)) {
            int there = stat(path, &status) == 0;
            if (!there && (flags & O_CREAT))
                note(CREATED, 0, 0, 0, path, NULL, 0);
            if (there && (flags & O_TRUNC) && status.st_size > 0) {
                int fd = real_open(path, O_RDWR | O_CLOEXEC);
                if (fd < 0 || ftruncate(fd, 0) != 0)
                    abort();
                close(fd);
            }
        }
    }
    return real_openat(at, name, flags, mode);
}

#define MODE                                                                                       \
    mode_t mode = 0;                                                                               \
    if (flags & (O_CREAT | O_TMPFILE)) {                                                           \
        va_list list;                                                                              \
        va_start(list, flags);                                                                     \
        mode = va_arg(list, mode_t);                                                               \
        va_end(list);                                                                              \
    }

int open(const char *name, int flags, ...) { MODE return open_noting(AT_FDCWD, name, flags, mode); }
int open64(const char *name, int flags, ...) {
    MODE return open_noting(AT_FDCWD, name, flags | O_LARGEFILE, mode);
}
int openat(int at, const char *name, int flags, ...) { MODE return open_noting(at, name, flags, mode); }
int openat64(int at, const char *name, int flags, ...) {
    MODE return open_noting(at, name, flags | O_LARGEFILE, mode);
}

int rename(const char *from, const char *to) {
    if (below(to)) {
        struct stat status;
        uint64_t number = stat(to, &status) == 0 && S_ISREG(status.st_mode) ? keep(to) : 0;
        note(RENAMED, 0, 0, number, from, to, strlen(to));
    }
    return real_rename(from, to);
}

int unlink(const char *path) {
    if (below(path)) {
        uint64_t number = keep(path);
        if (number)
            note(UNLINKED, 0, 0, number, path, NULL, 0);
    }
    return real_unlink(path);
}

int rmdir(const char *path) {
    int status = real_rmdir(path);
    if (status == 0 && below(path))
        note(DIRECTORY_REMOVED, 0, 0, 0, path, NULL, 0);
    return status;
}

int unlinkat(int at, const char *name, int flags) {
    char path[PATH_MAX * 2];
    absolute(at, name, path);
    if (!inside(path))
        return real_unlinkat(at, name, flags);
    return flags & AT_REMOVEDIR ? rmdir(path) : unlink(path);
}

int link(const char *from, const char *to) {
    if (below(to))
        note(CREATED, 0, 0, 0, to, NULL, 0);
    return real_link(from, to);
}

int linkat(int from_at, const char *from, int to_at, const char *to, int flags) {
    char path[PATH_MAX * 2];
    absolute(to_at, to, path);
    if (below(path))
        note(CREATED, 0, 0, 0, path, NULL, 0);
    return real_linkat(from_at, from, to_at, to, flags);
}

int mkdir(const char *path, mode_t mode) {
    int status = real_mkdir(path, mode);
    if (status == 0 && below(path))
        note(DIRECTORY_MADE, 0, 0, 0, path, NULL, 0);
    return status;
}
