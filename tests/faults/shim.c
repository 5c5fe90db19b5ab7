/* Counts the calls by which a process changes files under one folder, and makes one of them go wrong.

   Loaded with LD_PRELOAD; does nothing until faults_arm is called. A call counts when it changes a file, a name or what
   is on disk: write, sync, truncate, create, rename, unlink, mkdir, rmdir. See tests/faults/shim.py for the modes. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum mode { OFF, COUNT, KILL, TORN, FULL, FULL_SHORT, EIO_ONCE, EIO_ALWAYS };
enum kind { WRITE, SYNC, TRUNCATE, CREATE, RENAME, UNLINK, MKDIR, N_KINDS };
static const char *const NAMES[] = {"write", "sync", "truncate", "create", "rename", "unlink", "mkdir"};
enum verdict { GO, HALF, FAIL };

static volatile int mode = OFF;
static long at;
static long seen, seen_growing, seen_syncs;
static char folder[4096], log_path[4096];
static size_t folder_length;

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

void faults_arm(int new_mode, long n, const char *under, const char *log) {
    snprintf(folder, sizeof folder, "%s", under);
    folder_length = strlen(folder);
    snprintf(log_path, sizeof log_path, "%s", log);
    seen = seen_growing = seen_syncs = 0;
    at = n;
    mode = new_mode;
}

/* Which: 0 all calls, 1 those that need room, 2 syncs. */
long faults_seen(int which) { return which == 0 ? seen : which == 1 ? seen_growing : seen_syncs; }

static int under(const char *path) {
    return strncmp(path, folder, folder_length) == 0 && (path[folder_length] == '/' || !path[folder_length]);
}

static void absolute(int at_fd, const char *path, char *out, size_t size) {
    char base[4096] = "";
    if (path[0] == '/') { snprintf(out, size, "%s", path); return; }
    if (at_fd == AT_FDCWD) { if (!getcwd(base, sizeof base)) base[0] = 0; }
    else {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", at_fd);
        ssize_t n = readlink(link, base, sizeof base - 1);
        base[n > 0 ? n : 0] = 0;
    }
    snprintf(out, size, "%.4000s/%.4000s", base, path);
}

static void tell(enum kind kind, const char *path) {
    char line[8300];
    int n = snprintf(line, sizeof line, "%s %s\n", NAMES[kind], path + folder_length);
    long fd = syscall(SYS_openat, AT_FDCWD, log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd >= 0) { syscall(SYS_write, fd, line, n); syscall(SYS_close, fd); }
}

static void die(void) { kill(getpid(), SIGKILL); for (;;) pause(); }

static enum verdict judge(enum kind kind, const char *path, int grows, size_t length) {
    if (mode == OFF || !under(path)) return GO;
    long n = __sync_add_and_fetch(&seen, 1);
    long n_growing = grows ? __sync_add_and_fetch(&seen_growing, 1) : 0;
    long n_syncs = kind == SYNC ? __sync_add_and_fetch(&seen_syncs, 1) : 0;
    switch (mode) {
    case KILL:
        if (n == at) { tell(kind, path); die(); }
        return GO;
    case TORN:
        if (!grows || n_growing != at) return GO;
        tell(kind, path);
        if (kind == WRITE && length > 1) return HALF;
        die();
        return GO;
    case FULL:
    case FULL_SHORT:
        if (!grows || n_growing < at) return GO;
        if (n_growing == at) tell(kind, path);
        if (n_growing == at && mode == FULL_SHORT && kind == WRITE && length > 1) return HALF;
        errno = ENOSPC;
        return FAIL;
    case EIO_ONCE:
    case EIO_ALWAYS:
        if (kind != SYNC || n_syncs < at || (mode == EIO_ONCE && n_syncs > at)) return GO;
        if (n_syncs == at) tell(kind, path);
        errno = EIO;
        return FAIL;
    default:
        return GO;
    }
}

static enum verdict judge_fd(enum kind kind, int fd, int grows, size_t length) {
    if (mode == OFF) return GO;
    int saved = errno;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = 0;
    errno = saved;
    return judge(kind, path, grows, length);
}

static enum verdict judge_path(enum kind kind, int at_fd, const char *name, int grows) {
    if (mode == OFF) return GO;
    char path[8200];
    absolute(at_fd, name, path, sizeof path);
    return judge(kind, path, grows, 0);
}

static void after_half(void) { if (mode == TORN) die(); }

ssize_t write(int fd, const void *data, size_t length) {
    REAL(ssize_t, "write", int, const void *, size_t);
    enum verdict verdict = judge_fd(WRITE, fd, 1, length);
    if (verdict == FAIL) return -1;
    ssize_t n = real(fd, data, verdict == HALF ? length / 2 : length);
    if (verdict == HALF) after_half();
    return n;
}

#define PWRITE(name, offset_type) \
    ssize_t name(int fd, const void *data, size_t length, offset_type offset) { \
        REAL(ssize_t, #name, int, const void *, size_t, offset_type); \
        enum verdict verdict = judge_fd(WRITE, fd, 1, length); \
        if (verdict == FAIL) return -1; \
        ssize_t n = real(fd, data, verdict == HALF ? length / 2 : length, offset); \
        if (verdict == HALF) after_half(); \
        return n; \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t writev(int fd, const struct iovec *pieces, int n_pieces) {
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    enum verdict verdict = judge_fd(WRITE, fd, 1, n_pieces > 0 ? pieces[0].iov_len : 0);
    if (verdict == FAIL) return -1;
    if (verdict == HALF) {
        struct iovec half = {pieces[0].iov_base, pieces[0].iov_len / 2};
        ssize_t n = real(fd, &half, 1);
        after_half();
        return n;
    }
    return real(fd, pieces, n_pieces);
}

#define SYNCS(name) \
    int name(int fd) { \
        REAL(int, #name, int); \
        return judge_fd(SYNC, fd, 0, 0) == FAIL ? -1 : real(fd); \
    }
SYNCS(fsync)
SYNCS(fdatasync)

#define TRUNCATES(name, offset_type) \
    int name(int fd, offset_type length) { \
        REAL(int, #name, int, offset_type); \
        struct stat now; \
        int grows = mode != OFF && fstat(fd, &now) == 0 && length > now.st_size; \
        return judge_fd(TRUNCATE, fd, grows, 0) == FAIL ? -1 : real(fd, length); \
    }
TRUNCATES(ftruncate, off_t)
TRUNCATES(ftruncate64, off64_t)

#define ALLOCATES(name, offset_type) \
    int name(int fd, offset_type offset, offset_type length) { \
        REAL(int, #name, int, offset_type, offset_type); \
        return judge_fd(TRUNCATE, fd, 1, 0) == FAIL ? ENOSPC : real(fd, offset, length); \
    }
ALLOCATES(posix_fallocate, off_t)
ALLOCATES(posix_fallocate64, off64_t)

static int is_new(int at_fd, const char *path) {
    struct stat now;
    int saved = errno, there = fstatat(at_fd, path, &now, 0) == 0;
    errno = saved;
    return !there;
}

/* Only what makes a file or empties one changes anything. */
static enum verdict judge_open(int at_fd, const char *path, int flags) {
    if (mode == OFF) return GO;
    int creates = (flags & O_CREAT) && is_new(at_fd, path);
    if (!creates && !(flags & O_TRUNC)) return GO;
    return judge_path(CREATE, at_fd, path, creates);
}

#define OPENS(name) \
    int name(const char *path, int flags, ...) { \
        REAL(int, #name, const char *, int, ...); \
        va_list rest; va_start(rest, flags); \
        int rights = flags & O_CREAT ? va_arg(rest, int) : 0; \
        va_end(rest); \
        return judge_open(AT_FDCWD, path, flags) == FAIL ? -1 : real(path, flags, rights); \
    }
OPENS(open)
OPENS(open64)

#define OPENS_AT(name) \
    int name(int at_fd, const char *path, int flags, ...) { \
        REAL(int, #name, int, const char *, int, ...); \
        va_list rest; va_start(rest, flags); \
        int rights = flags & O_CREAT ? va_arg(rest, int) : 0; \
        va_end(rest); \
        return judge_open(at_fd, path, flags) == FAIL ? -1 : real(at_fd, path, flags, rights); \
    }
OPENS_AT(openat)
OPENS_AT(openat64)

int rename(const char *from, const char *to) {
    REAL(int, "rename", const char *, const char *);
    return judge_path(RENAME, AT_FDCWD, to, 0) == FAIL ? -1 : real(from, to);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to) {
    REAL(int, "renameat", int, const char *, int, const char *);
    return judge_path(RENAME, to_fd, to, 0) == FAIL ? -1 : real(from_fd, from, to_fd, to);
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned int flags) {
    REAL(int, "renameat2", int, const char *, int, const char *, unsigned int);
    return judge_path(RENAME, to_fd, to, 0) == FAIL ? -1 : real(from_fd, from, to_fd, to, flags);
}

int unlink(const char *path) {
    REAL(int, "unlink", const char *);
    return judge_path(UNLINK, AT_FDCWD, path, 0) == FAIL ? -1 : real(path);
}

int unlinkat(int at_fd, const char *path, int flags) {
    REAL(int, "unlinkat", int, const char *, int);
    return judge_path(UNLINK, at_fd, path, 0) == FAIL ? -1 : real(at_fd, path, flags);
}

int rmdir(const char *path) {
    REAL(int, "rmdir", const char *);
    return judge_path(UNLINK, AT_FDCWD, path, 0) == FAIL ? -1 : real(path);
}

int mkdir(const char *path, mode_t rights) {
    REAL(int, "mkdir", const char *, mode_t);
    return judge_path(MKDIR, AT_FDCWD, path, 1) == FAIL ? -1 : real(path, rights);
}

int mkdirat(int at_fd, const char *path, mode_t rights) {
    REAL(int, "mkdirat", int, const char *, mode_t);
    return judge_path(MKDIR, at_fd, path, 1) == FAIL ? -1 : real(at_fd, path, rights);
}
