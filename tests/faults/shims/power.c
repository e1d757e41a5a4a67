/*
 * A disk that loses power, as near as one process can play it: LD_PRELOAD this.
 *
 * SHIM_ROOT is a folder, SHIM_SHADOW another one on any disk. SHADOW/tree holds at each moment what a
 * machine would have kept of ROOT at the worst: of each file the bytes up to its last fsync or fdatasync,
 * and names up to the last fsync of their directory. SHADOW/ready says that it is complete: it is made from
 * ROOT before main() runs.
 *
 * SHIM_EARLY (0 to 100, default 0) is how many of 100 written pages reach the disk before anyone asked for
 * it, as writeback does: so bytes that were never synced can be there, or a part of them.
 *
 * Bytes lie in SHADOW/files/N, a number for each file that ever was; SHADOW/tree has hard links to them.
 * So a file that was synced, and whose name was not, is there without a name, and is lost.
 *
 * Not played: bytes written through mmap, O_SYNC, and calls that do not go through libc.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FILES = 4096, DIRS = 512, RANGES = 256, PAGE = 4096 };

struct range { off_t from, to; };

/* A file of ROOT, by its inode as long as it lives. */
struct file {
    ino_t ino;
    unsigned id;
    int whole; /* all of it is dirty */
    int n;
    struct range dirty[RANGES];
};

/* A directory that the shadow has, by its inode: a directory can be renamed with all that is in it. */
struct dir {
    ino_t ino;
    char there[PATH_MAX];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX], shadow[PATH_MAX];
static size_t root_len;
static dev_t root_dev;
static struct file *files[FILES];
static struct dir *dirs[DIRS];
static unsigned n_ids, early;
static unsigned long long chance = 88172645463325252ULL;
static int armed;

static void die(const char *what) {
    dprintf(2, "power shim: %s: %s\n", what, strerror(errno));
    _exit(99);
}

/* The system itself, not through anything that is wrapped here. */
static int sys_open(const char *path, int flags, mode_t mode) {
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, mode);
}
static ssize_t sys_pwrite(int fd, const void *bytes, size_t n, off_t at) {
    return syscall(SYS_pwrite64, fd, bytes, n, at);
}

static struct file *of_ino(ino_t ino) {
    for (size_t i = ino % FILES, tries = 0; tries < FILES; i = (i + 1) % FILES, tries++) {
        if (!files[i]) return NULL;
        if (files[i]->ino == ino) return files[i];
    }
    return NULL;
}

/* A new file: what this inode was before is another one. */
static struct file *begin(ino_t ino) {
    struct file *file = of_ino(ino);
    if (!file) {
        size_t i = ino % FILES, tries = 0;
        while (files[i]) {
            i = (i + 1) % FILES;
            if (++tries == FILES) { errno = ENFILE; die("too many files"); }
        }
        file = files[i] = calloc(1, sizeof *file);
        if (!file) die("memory");
    }
    memset(file, 0, sizeof *file);
    file->ino = ino;
    file->id = ++n_ids;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/files/%u", shadow, file->id);
    int fd = sys_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0) die(path);
    close(fd);
    return file;
}

static void copy(int from, int to, off_t at, off_t end) {
    char bytes[65536];
    while (at < end) {
        size_t want = (size_t)(end - at) < sizeof bytes ? (size_t)(end - at) : sizeof bytes;
        ssize_t n = pread(from, bytes, want, at);
        if (n < 0) die("read");
        if (n == 0) return;
        if (sys_pwrite(to, bytes, (size_t)n, at) != n) die("write to the shadow");
        at += n;
    }
}

static int open_shadow(const struct file *file) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/files/%u", shadow, file->id);
    int fd = sys_open(path, O_WRONLY, 0);
    if (fd < 0) die(path);
    return fd;
}

/* The bytes of a file are on the disk now. */
static void sync_bytes(int fd, struct file *file, off_t size) {
    if (!file->whole && file->n == 0) return;
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int from = sys_open(path, O_RDONLY, 0), to = open_shadow(file);
    if (from < 0) die("read what is to be synced");
    if (file->whole) {
        copy(from, to, 0, size);
    } else {
        for (int i = 0; i < file->n; i++) copy(from, to, file->dirty[i].from, file->dirty[i].to);
    }
    if (syscall(SYS_ftruncate, to, size) != 0) die("truncate the shadow");
    close(from);
    close(to);
    file->whole = file->n = 0;
}

static int sys_mkdir(const char *path) { return (int)syscall(SYS_mkdirat, AT_FDCWD, path, 0755); }

static int exists(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0;
}

static struct dir *dir_of(ino_t ino) {
    for (int i = 0; i < DIRS && dirs[i]; i++) {
        if (dirs[i]->ino == ino) return dirs[i];
    }
    return NULL;
}

static struct dir *note_dir(ino_t ino, const char *there) {
    struct dir *dir = dir_of(ino);
    for (int i = 0; i < DIRS && !dir; i++) {
        if (!dirs[i] && !(dirs[i] = calloc(1, sizeof *dirs[i]))) die("memory");
        if (dirs[i]->ino == 0) dir = dirs[i];
    }
    if (!dir) { errno = ENFILE; die("too many directories"); }
    dir->ino = ino;
    snprintf(dir->there, sizeof dir->there, "%s", there);
    return dir;
}

/* Where the shadow has a directory; one whose own name is not on the disk lies in SHADOW/gone. */
static struct dir *keep_dir(ino_t ino) {
    struct dir *dir = dir_of(ino);
    if (dir) return dir;
    char gone[PATH_MAX];
    snprintf(gone, sizeof gone, "%s/gone/%u", shadow, ++n_ids);
    if (sys_mkdir(gone) != 0) die(gone);
    return note_dir(ino, gone);
}

/* A directory of the shadow moves, with all that is in it. */
static void move_dir(const char *from, const char *to) {
    char path[PATH_MAX];
    size_t n = strlen(from);
    if (syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to) != 0) die(from);
    for (int i = 0; i < DIRS && dirs[i]; i++) {
        const char *there = dirs[i]->there;
        if (strncmp(there, from, n) != 0 || (there[n] != 0 && there[n] != '/')) continue;
        if (snprintf(path, sizeof path, "%s%s", to, there + n) >= (int)sizeof path) die("a long name");
        memcpy(dirs[i]->there, path, sizeof path);
    }
}

/* The shadow has this name no more. What was in a directory may come back under another one. */
static void drop_name(const char *there) {
    char gone[PATH_MAX];
    struct stat st;
    if (lstat(there, &st) != 0) die(there);
    if (!S_ISDIR(st.st_mode)) {
        if (syscall(SYS_unlinkat, AT_FDCWD, there, 0) != 0) die(there);
        return;
    }
    snprintf(gone, sizeof gone, "%s/gone/%u", shadow, ++n_ids);
    move_dir(there, gone);
}

/* A directory has this name now. */
static void bring_dir(ino_t ino, const char *there) {
    struct dir *dir = keep_dir(ino);
    if (!strcmp(dir->there, there)) return;
    if (exists(there)) drop_name(there);
    char from[PATH_MAX];
    memcpy(from, dir->there, sizeof from);
    move_dir(from, there);
}

/* The names in a directory are on the disk now. */
static void sync_names(const char *dir, ino_t ino) {
    char there[PATH_MAX], name[PATH_MAX], real[PATH_MAX], target[PATH_MAX];
    snprintf(there, sizeof there, "%s", keep_dir(ino)->there);
    DIR *entries = opendir(there);
    if (!entries) die(there);
    for (struct dirent *entry; (entry = readdir(entries));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        if (snprintf(real, sizeof real, "%s/%s", dir, entry->d_name) >= (int)sizeof real) continue;
        if (snprintf(name, sizeof name, "%s/%s", there, entry->d_name) >= (int)sizeof name) continue;
        if (!exists(real)) drop_name(name);
    }
    closedir(entries);
    entries = opendir(dir);
    if (!entries) return;
    for (struct dirent *entry; (entry = readdir(entries));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        struct stat st, had;
        if (snprintf(real, sizeof real, "%s/%s", dir, entry->d_name) >= (int)sizeof real) continue;
        if (snprintf(name, sizeof name, "%s/%s", there, entry->d_name) >= (int)sizeof name) continue;
        if (lstat(real, &st) != 0) continue;
        if (S_ISDIR(st.st_mode)) {
            bring_dir(st.st_ino, name);
            continue;
        }
        struct file *file = of_ino(st.st_ino);
        if (!file || !S_ISREG(st.st_mode)) continue;
        snprintf(target, sizeof target, "%s/files/%u", shadow, file->id);
        if (stat(target, &st) != 0) die(target);
        if (lstat(name, &had) == 0 && had.st_ino == st.st_ino) continue;
        char link_path[PATH_MAX];
        snprintf(link_path, sizeof link_path, "%s/new", shadow);
        syscall(SYS_unlinkat, AT_FDCWD, link_path, 0);
        if (link(target, link_path) != 0) die(link_path);
        if (syscall(SYS_renameat, AT_FDCWD, link_path, AT_FDCWD, name) != 0) die(name);
    }
    closedir(entries);
}

/* Everything that is there when the process starts was kept. */
static void take(const char *dir) {
    char there[PATH_MAX], path[PATH_MAX], name[PATH_MAX], target[PATH_MAX];
    snprintf(there, sizeof there, "%s/tree%s", shadow, dir + root_len);
    struct stat of_dir;
    if (stat(dir, &of_dir) != 0 || sys_mkdir(there) != 0) die(there);
    note_dir(of_dir.st_ino, there);
    DIR *entries = opendir(dir);
    if (!entries) die(dir);
    for (struct dirent *entry; (entry = readdir(entries));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        struct stat st;
        if (snprintf(path, sizeof path, "%s/%s", dir, entry->d_name) >= (int)sizeof path) continue;
        if (lstat(path, &st) != 0) die(path);
        if (S_ISDIR(st.st_mode)) { take(path); continue; }
        struct file *file = begin(st.st_ino);
        int from = sys_open(path, O_RDONLY, 0), to = open_shadow(file);
        if (from < 0) die(path);
        copy(from, to, 0, st.st_size);
        if (syscall(SYS_ftruncate, to, st.st_size) != 0) die("truncate");
        close(from);
        close(to);
        snprintf(target, sizeof target, "%s/files/%u", shadow, file->id);
        if (snprintf(name, sizeof name, "%s/%s", there, entry->d_name) >= (int)sizeof name) continue;
        if (link(target, name) != 0) die(name);
    }
    closedir(entries);
}

__attribute__((constructor)) static void arm(void) {
    const char *of_root = getenv("SHIM_ROOT"), *of_shadow = getenv("SHIM_SHADOW");
    if (!of_root || !of_shadow || !realpath(of_root, root)) return;
    root_len = strlen(root);
    struct stat st;
    if (stat(root, &st) != 0) die(root);
    root_dev = st.st_dev;
    if (getenv("SHIM_EARLY")) early = (unsigned)atoi(getenv("SHIM_EARLY"));
    if (getenv("SHIM_SEED")) chance ^= strtoull(getenv("SHIM_SEED"), NULL, 10);
    char path[PATH_MAX];
    if (sys_mkdir(of_shadow) != 0) die(of_shadow);
    if (!realpath(of_shadow, shadow)) die(of_shadow);
    snprintf(path, sizeof path, "%.4000s/files", shadow);
    if (sys_mkdir(path) != 0) die(path);
    snprintf(path, sizeof path, "%.4000s/gone", shadow);
    if (sys_mkdir(path) != 0) die(path);
    take(root);
    snprintf(path, sizeof path, "%.4000s/ready", shadow);
    int fd = sys_open(path, O_WRONLY | O_CREAT, 0644);
    if (fd < 0) die(path);
    close(fd);
    armed = 1;
}

static int under_root(const char *path) {
    return !strncmp(path, root, root_len) && (path[root_len] == '/' || path[root_len] == 0);
}

/* The path that an open handle has now. */
static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, PATH_MAX - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return under_root(path);
}

static struct file *tracked(int fd, struct stat *st) {
    if (fstat(fd, st) != 0 || !S_ISREG(st->st_mode) || st->st_dev != root_dev) return NULL;
    return of_ino(st->st_ino);
}

static void mark(struct file *file, off_t from, off_t to) {
    if (file->whole) return;
    if (file->n && file->dirty[file->n - 1].to == from) {
        file->dirty[file->n - 1].to = to;
    } else if (file->n == RANGES) {
        file->whole = 1;
    } else {
        file->dirty[file->n++] = (struct range){from, to};
    }
}

static unsigned percent(void) {
    chance ^= chance << 13;
    chance ^= chance >> 7;
    chance ^= chance << 17;
    return (unsigned)(chance % 100);
}

/* Some pages of what was just written are written back at once. */
static void write_back(const struct file *file, const char *bytes, size_t n, off_t at) {
    if (!early) return;
    int to = open_shadow(file);
    for (size_t done = 0; done < n;) {
        size_t piece = PAGE - (size_t)((at + (off_t)done) % PAGE);
        if (piece > n - done) piece = n - done;
        if (percent() < early && sys_pwrite(to, bytes + done, piece, at + (off_t)done) < 0) die("early");
        done += piece;
    }
    close(to);
}

static void wrote(int fd, struct file *file, const struct iovec *io, int n_io, ssize_t n, off_t at) {
    (void)fd;
    mark(file, at, at + n);
    for (int i = 0; i < n_io && n > 0; i++) {
        size_t piece = io[i].iov_len < (size_t)n ? io[i].iov_len : (size_t)n;
        write_back(file, io[i].iov_base, piece, at);
        at += (off_t)piece;
        n -= (ssize_t)piece;
    }
}

/* at < 0: where the handle stands. */
static ssize_t do_write(int fd, const struct iovec *io, int n_io, off_t at) {
    struct stat st;
    if (!armed) {
        return at < 0 ? syscall(SYS_writev, fd, io, n_io) : syscall(SYS_pwritev, fd, io, n_io, at, 0);
    }
    pthread_mutex_lock(&lock);
    struct file *file = tracked(fd, &st);
    ssize_t n;
    if (!file) {
        pthread_mutex_unlock(&lock);
        return at < 0 ? syscall(SYS_writev, fd, io, n_io) : syscall(SYS_pwritev, fd, io, n_io, at, 0);
    }
    n = at < 0 ? syscall(SYS_writev, fd, io, n_io) : syscall(SYS_pwritev, fd, io, n_io, at, 0);
    int error = errno;
    if (n > 0) {
        off_t from = at >= 0 ? at : lseek(fd, 0, SEEK_CUR) - n;
        wrote(fd, file, io, n_io, n, from);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return n;
}

ssize_t write(int fd, const void *bytes, size_t n) {
    struct iovec io = {(void *)bytes, n};
    return do_write(fd, &io, 1, -1);
}
ssize_t writev(int fd, const struct iovec *io, int n_io) { return do_write(fd, io, n_io, -1); }
ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t at) {
    struct iovec io = {(void *)bytes, n};
    return do_write(fd, &io, 1, at);
}
ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at) { return pwrite64(fd, bytes, n, at); }
ssize_t pwritev64(int fd, const struct iovec *io, int n_io, off64_t at) {
    return do_write(fd, io, n_io, at);
}
ssize_t pwritev(int fd, const struct iovec *io, int n_io, off_t at) { return do_write(fd, io, n_io, at); }

static void all_dirty(int fd) {
    struct stat st;
    pthread_mutex_lock(&lock);
    struct file *file = armed ? tracked(fd, &st) : NULL;
    if (file) file->whole = 1;
    pthread_mutex_unlock(&lock);
}

int ftruncate64(int fd, off64_t size) {
    int result = (int)syscall(SYS_ftruncate, fd, size);
    if (result == 0) all_dirty(fd);
    return result;
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }
int fallocate64(int fd, int mode, off64_t at, off64_t n) {
    int result = (int)syscall(SYS_fallocate, fd, mode, at, n);
    if (result == 0) all_dirty(fd);
    return result;
}
int fallocate(int fd, int mode, off_t at, off_t n) { return fallocate64(fd, mode, at, n); }
ssize_t copy_file_range(int in, off64_t *at_in, int out, off64_t *at_out, size_t n, unsigned flags) {
    ssize_t result = syscall(SYS_copy_file_range, in, at_in, out, at_out, n, flags);
    if (result > 0) all_dirty(out);
    return result;
}
ssize_t sendfile64(int out, int in, off64_t *at, size_t n) {
    ssize_t result = syscall(SYS_sendfile, out, in, at, n);
    if (result > 0) all_dirty(out);
    return result;
}
ssize_t sendfile(int out, int in, off_t *at, size_t n) { return sendfile64(out, in, at, n); }

static int do_open(int dir, const char *path, int flags, mode_t mode) {
    if (!armed || !(flags & (O_CREAT | O_TRUNC))) {
        return (int)syscall(SYS_openat, dir, path, flags, mode);
    }
    pthread_mutex_lock(&lock);
    struct stat st;
    char real[PATH_MAX];
    int was_there = fstatat(dir, path, &st, 0) == 0;
    int fd = (int)syscall(SYS_openat, dir, path, flags, mode);
    int error = errno;
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_dev == root_dev && path_of(fd, real)) {
        struct file *file = was_there ? of_ino(st.st_ino) : begin(st.st_ino);
        if (file && (flags & O_TRUNC)) file->whole = 1;
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return fd;
}

#define MODE                                   \
    mode_t mode = 0;                           \
    if (flags & (O_CREAT | O_TMPFILE)) {       \
        va_list arguments;                     \
        va_start(arguments, flags);            \
        mode = (mode_t)va_arg(arguments, int); \
        va_end(arguments);                     \
    }
int open64(const char *path, int flags, ...) { MODE return do_open(AT_FDCWD, path, flags, mode); }
int open(const char *path, int flags, ...) { MODE return do_open(AT_FDCWD, path, flags, mode); }
int openat64(int dir, const char *path, int flags, ...) { MODE return do_open(dir, path, flags, mode); }
int openat(int dir, const char *path, int flags, ...) { MODE return do_open(dir, path, flags, mode); }

/* A new directory: what this inode was before is another one. */
int mkdir(const char *path, mode_t mode) {
    struct stat st;
    pthread_mutex_lock(&lock);
    int result = (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    int error = errno;
    if (armed && result == 0 && under_root(path) && stat(path, &st) == 0) {
        struct dir *dir = dir_of(st.st_ino);
        if (dir) dir->ino = 0;
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

static int do_sync(int fd) {
    struct stat st;
    char path[PATH_MAX];
    if (!armed) return (int)syscall(SYS_fsync, fd);
    pthread_mutex_lock(&lock);
    struct file *file = tracked(fd, &st);
    if (file) {
        sync_bytes(fd, file, st.st_size);
    } else if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) && path_of(fd, path)) {
        sync_names(path, st.st_ino);
    }
    pthread_mutex_unlock(&lock);
    return 0;
}
int fsync(int fd) { return do_sync(fd); }
int fdatasync(int fd) { return do_sync(fd); }
