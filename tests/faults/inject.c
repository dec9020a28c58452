/* Preloaded into a process: counts the calls that change files below a folder, and makes one of them fail.
 *
 * fault_arm(root, call, error, log): call number `call` (from 1) fails with errno `error`, or kills the process if
 * error is -1; call 0 only counts. Every counted call is written to `log` as "number operation path". */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static char root[PATH_MAX];
static size_t root_length;
static int armed, fault_call, fault_error, log_fd = -1;
static int *calls; /* shared with the processes that this one forks */

#define REAL(name) __typeof__(name) *real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

void fault_arm(const char *folder, int call, int error, const char *log) {
    strncpy(root, folder, sizeof root - 1);
    root_length = strlen(root);
    fault_call = call;
    fault_error = error;
    if (!calls) calls = mmap(NULL, sizeof *calls, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    *calls = 0;
    __typeof__(open) *real_open = (__typeof__(open) *)dlsym(RTLD_NEXT, "open");
    log_fd = real_open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    armed = 1;
}

static int fails(const char *operation, const char *path) {
    if (!armed || strncmp(path, root, root_length) != 0) return 0;
    int number = __sync_add_and_fetch(calls, 1);
    char line[PATH_MAX + 64];
    int length = snprintf(line, sizeof line, "%d %s %s\n", number, operation, path + root_length);
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    if (log_fd >= 0) (void)!real(log_fd, line, length);
    if (number != fault_call) return 0;
    if (fault_error < 0) kill(getpid(), SIGKILL);
    errno = fault_error;
    return 1;
}

static const char *path_of(int fd, char *buffer) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = armed ? readlink(link, buffer, PATH_MAX - 1) : -1;
    buffer[length < 0 ? 0 : length] = 0;
    return buffer;
}

static const char *at(int folder, const char *path, char *buffer) {
    if (!path || path[0] == '/') return path ? path : "";
    if (folder == AT_FDCWD) {
        if (!getcwd(buffer, PATH_MAX)) buffer[0] = 0;
    } else {
        path_of(folder, buffer);
    }
    strncat(buffer, "/", PATH_MAX - strlen(buffer) - 1);
    strncat(buffer, path, PATH_MAX - strlen(buffer) - 1);
    return buffer;
}

#define FAIL_PATH(operation, folder, path) \
    do { char buffer[PATH_MAX]; if (armed && fails(operation, at(folder, path, buffer))) return -1; } while (0)
#define FAIL_FD(operation, fd) \
    do { char buffer[PATH_MAX]; if (armed && fails(operation, path_of(fd, buffer))) return -1; } while (0)
#define WRITES(flags) ((flags) & (O_CREAT | O_TRUNC))

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        mode_t mode = 0; va_list list; va_start(list, flags); mode = va_arg(list, mode_t); va_end(list); \
        if (WRITES(flags)) FAIL_PATH("open", AT_FDCWD, path); \
        REAL(name); return real(path, flags, mode); }
OPEN(open)
OPEN(open64)
#define OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        mode_t mode = 0; va_list list; va_start(list, flags); mode = va_arg(list, mode_t); va_end(list); \
        if (WRITES(flags)) FAIL_PATH("open", folder, path); \
        REAL(name); return real(folder, path, flags, mode); }
OPENAT(openat)
OPENAT(openat64)
FILE *fopen(const char *path, const char *mode) {
    char buffer[PATH_MAX];
    if (armed && strpbrk(mode, "wa") && fails("open", at(AT_FDCWD, path, buffer))) return NULL;
    REAL(fopen); return real(path, mode);
}
FILE *fopen64(const char *path, const char *mode) {
    char buffer[PATH_MAX];
    if (armed && strpbrk(mode, "wa") && fails("open", at(AT_FDCWD, path, buffer))) return NULL;
    REAL(fopen64); return real(path, mode);
}

ssize_t write(int fd, const void *data, size_t size) { FAIL_FD("write", fd); REAL(write); return real(fd, data, size); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    FAIL_FD("write", fd); REAL(pwrite); return real(fd, data, size, offset); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    FAIL_FD("write", fd); REAL(pwrite64); return real(fd, data, size, offset); }
ssize_t writev(int fd, const struct iovec *parts, int count) {
    FAIL_FD("write", fd); REAL(writev); return real(fd, parts, count); }
ssize_t sendfile(int out, int in, off_t *offset, size_t count) {
    FAIL_FD("write", out); REAL(sendfile); return real(out, in, offset, count); }
ssize_t copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at, size_t size, unsigned flags) {
    FAIL_FD("write", out); REAL(copy_file_range); return real(in, in_at, out, out_at, size, flags); }
/* A sync that does not fail writes nothing to the disk: the tests do not cut the power, and it would cost most time. */
int fsync(int fd) { FAIL_FD("sync", fd); return 0; }
int fdatasync(int fd) { FAIL_FD("sync", fd); return 0; }
int ftruncate(int fd, off_t size) { FAIL_FD("write", fd); REAL(ftruncate); return real(fd, size); }
int ftruncate64(int fd, off64_t size) { FAIL_FD("write", fd); REAL(ftruncate64); return real(fd, size); }
int rename(const char *from, const char *to) { FAIL_PATH("rename", AT_FDCWD, to); REAL(rename); return real(from, to); }
int renameat(int a, const char *from, int b, const char *to) {
    FAIL_PATH("rename", b, to); REAL(renameat); return real(a, from, b, to); }
int link(const char *from, const char *to) { FAIL_PATH("rename", AT_FDCWD, to); REAL(link); return real(from, to); }
int linkat(int a, const char *from, int b, const char *to, int flags) {
    FAIL_PATH("rename", b, to); REAL(linkat); return real(a, from, b, to, flags); }
int truncate(const char *path, off_t size) { FAIL_PATH("write", AT_FDCWD, path); REAL(truncate); return real(path, size); }
int symlink(const char *from, const char *to) { FAIL_PATH("rename", AT_FDCWD, to); REAL(symlink); return real(from, to); }
int mkdir(const char *path, mode_t mode) { FAIL_PATH("mkdir", AT_FDCWD, path); REAL(mkdir); return real(path, mode); }
int mkdirat(int folder, const char *path, mode_t mode) {
    FAIL_PATH("mkdir", folder, path); REAL(mkdirat); return real(folder, path, mode); }
int unlink(const char *path) { FAIL_PATH("delete", AT_FDCWD, path); REAL(unlink); return real(path); }
int unlinkat(int folder, const char *path, int flags) {
    FAIL_PATH("delete", folder, path); REAL(unlinkat); return real(folder, path, flags); }
int rmdir(const char *path) { FAIL_PATH("delete", AT_FDCWD, path); REAL(rmdir); return real(path); }
