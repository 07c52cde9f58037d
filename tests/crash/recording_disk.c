/* LD_PRELOAD: writes down, in their order, all changes to the files in one folder and what was flushed of them.
 *
 * RECORD_FOLDER is the folder (absolute, without a slash at its end), RECORD_LOG the file that the records are appended
 * to. Nothing is really flushed: whoever reads the records decides what a power cut at some moment leaves. Files in
 * *-shm are left out: they are shared memory, which no database reads after a power cut.
 *
 * A record: struct Record, then `length` bytes.
 *   C  a file was made (its name)      W  bytes were written at `where`      T  the file has `where` bytes now
 *   U  a name was removed (its name)   S  the file was flushed               D  the folder was flushed
 */
#define _GNU_SOURCE
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

#define FILES 1024

struct Record {
    char kind[8];
    uint64_t file, where, length;
};

enum Kind { OTHER, FILE_INSIDE, THE_FOLDER };

static struct {
    enum Kind kind;
    uint64_t file;
} opened[FILES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *folder;
static size_t folder_length;
static int record_fd = -1;

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (found == NULL) abort();
    return found;
}

__attribute__((constructor)) static void begin(void) {
    folder = getenv("RECORD_FOLDER");
    const char *log = getenv("RECORD_LOG");
    if (folder == NULL || log == NULL) abort();
    folder_length = strlen(folder);
    record_fd = REAL(open64)(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (record_fd < 0) abort();
}

static void record(char kind, uint64_t file, uint64_t where, const void *data, size_t length) {
    struct Record head = {{kind}, file, where, length};
    struct iovec parts[2] = {{&head, sizeof head}, {(void *)data, length}};
    if (writev(record_fd, parts, 2) != (ssize_t)(sizeof head + length)) abort();
}

/* The name inside of the folder, or NULL. */
static const char *inside(const char *path) {
    if (folder == NULL || strncmp(path, folder, folder_length) != 0 || path[folder_length] != '/') return NULL;
    const char *name = path + folder_length + 1;
    size_t length = strlen(name);
    return length >= 4 && strcmp(name + length - 4, "-shm") == 0 ? NULL : name;
}

static int opening(int fd, const char *path, const char *name, int is_new, int flags) {
    if (fd < 0) return fd;
    if (fd >= FILES) abort();
    opened[fd].kind = OTHER;
    if (name != NULL) {
        struct stat found;
        if (fstat(fd, &found) != 0) abort();
        opened[fd].kind = FILE_INSIDE;
        opened[fd].file = found.st_ino;
        if (is_new) record('C', found.st_ino, 0, name, strlen(name));
        if (!is_new && (flags & O_TRUNC)) record('T', found.st_ino, 0, NULL, 0);
    } else if (folder != NULL && strcmp(path, folder) == 0) {
        opened[fd].kind = THE_FOLDER;
    }
    return fd;
}

#define OPEN(symbol)                                                                          \
    int symbol(const char *path, int flags, ...) {                                            \
        va_list more;                                                                         \
        va_start(more, flags);                                                                \
        mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;                             \
        va_end(more);                                                                         \
        pthread_mutex_lock(&lock);                                                            \
        const char *name = inside(path);                                                      \
        int is_new = name != NULL && (flags & O_CREAT) && access(path, F_OK) != 0;            \
        int fd = opening(REAL(symbol)(path, flags, mode), path, name, is_new, flags);         \
        int error = errno;                                                                    \
        pthread_mutex_unlock(&lock);                                                          \
        errno = error;                                                                        \
        return fd;                                                                            \
    }
OPEN(open)
OPEN(open64)

int close(int fd) {
    pthread_mutex_lock(&lock);
    if (fd >= 0 && fd < FILES) opened[fd].kind = OTHER;
    int done = REAL(close)(fd);
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

static enum Kind kind_of(int fd) { return fd >= 0 && fd < FILES ? opened[fd].kind : OTHER; }

#define PWRITE(symbol, offset_type)                                                           \
    ssize_t symbol(int fd, const void *data, size_t length, offset_type where) {              \
        pthread_mutex_lock(&lock);                                                            \
        ssize_t done = REAL(symbol)(fd, data, length, where);                                 \
        int error = errno;                                                                    \
        if (done > 0 && kind_of(fd) == FILE_INSIDE) record('W', opened[fd].file, where, data, done); \
        pthread_mutex_unlock(&lock);                                                          \
        errno = error;                                                                        \
        return done;                                                                          \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define FTRUNCATE(symbol, offset_type)                                                        \
    int symbol(int fd, offset_type size) {                                                    \
        pthread_mutex_lock(&lock);                                                            \
        int done = REAL(symbol)(fd, size);                                                    \
        int error = errno;                                                                    \
        if (done == 0 && kind_of(fd) == FILE_INSIDE) record('T', opened[fd].file, size, NULL, 0); \
        pthread_mutex_unlock(&lock);                                                          \
        errno = error;                                                                        \
        return done;                                                                          \
    }
FTRUNCATE(ftruncate, off_t)
FTRUNCATE(ftruncate64, off64_t)

static int flushed(int fd, int (*otherwise)(int)) {
    pthread_mutex_lock(&lock);
    enum Kind kind = kind_of(fd);
    if (kind == FILE_INSIDE) record('S', opened[fd].file, 0, NULL, 0);
    if (kind == THE_FOLDER) record('D', 0, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    return kind == OTHER ? otherwise(fd) : 0;
}

int fsync(int fd) { return flushed(fd, REAL(fsync)); }

int fdatasync(int fd) { return flushed(fd, REAL(fdatasync)); }

int unlink(const char *path) {
    pthread_mutex_lock(&lock);
    const char *name = inside(path);
    int done = REAL(unlink)(path);
    int error = errno;
    if (done == 0 && name != NULL) record('U', 0, 0, name, strlen(name));
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}
