// A library that tests/faults/run preloads into the program, to make calls of the system fail, clocks jump,
// and a disk lose what was not synchronised. The environment chooses:
//   FAULT_CALL=write|fsync|malloc FAULT_AT=n   the nth call fails, and with FAULT_FOR_EVER=1 all after it.
//                      The file FAULT_SEEN is made when it does; with FAULT_ALONE=1 the program's children have
//                      no faults. A call of fwrite() or fflush() is a write, since stdio's own writes do not
//                      come by here.
//   FAULT_NETWORK=1    each folder seems to be on a network file system
//   FAULT_CLOCK=1      the time of day jumps an hour back and forth
//   FAULT_DISK=FOLDER  at every fsync the file is copied there: this is what a power loss would leave.
//                      A file that was removed before is gone there too, as with the journals of ext4,
//                      XFS and Btrfs, which keep the order of the changes of a folder.
// Calls are counted from the first look at MOEHILL_SIMD on, which the program takes after its libraries are
// loaded.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

static atomic_long calls, jumps;
static atomic_int counting;
static long fail_at = -1;
static int for_ever;
static char kind[16], seen[4096];

char* getenv(const char* name) {
  static char* (*real)(const char*);
  if (!real) real = (char* (*)(const char*))dlsym(RTLD_NEXT, "getenv");
  if (!counting && strcmp(name, "MOEHILL_SIMD") == 0) {
    const char* call = real("FAULT_CALL");
    if (call) snprintf(kind, sizeof kind, "%s", call);
    const char* at = real("FAULT_AT");
    if (at) fail_at = atol(at);
    for_ever = real("FAULT_FOR_EVER") != NULL;
    const char* where = real("FAULT_SEEN");
    if (where) snprintf(seen, sizeof seen, "%s", where);
    if (real("FAULT_ALONE")) unsetenv("LD_PRELOAD");
    counting = 1;
  }
  return real(name);
}

static int fails(const char* what) {
  if (!counting || fail_at < 0 || strcmp(kind, what) != 0) return 0;
  const long n = ++calls;
  if (n != fail_at && !(for_ever && n > fail_at)) return 0;
  if (n == fail_at && seen[0]) close(open(seen, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  return 1;
}

ssize_t write(int file, const void* data, size_t bytes) {
  static ssize_t (*real)(int, const void*, size_t);
  if (!real) real = (ssize_t (*)(int, const void*, size_t))dlsym(RTLD_NEXT, "write");
  if (file > 2 && fails("write")) return errno = ENOSPC, -1;
  return real(file, data, bytes);
}
size_t fwrite(const void* data, size_t size, size_t n, FILE* stream) {
  static size_t (*real)(const void*, size_t, size_t, FILE*);
  if (!real) real = (size_t (*)(const void*, size_t, size_t, FILE*))dlsym(RTLD_NEXT, "fwrite");
  if (fileno(stream) > 2 && fails("write")) return errno = ENOSPC, 0;
  return real(data, size, n, stream);
}
int fflush(FILE* stream) {
  static int (*real)(FILE*);
  if (!real) real = (int (*)(FILE*))dlsym(RTLD_NEXT, "fflush");
  if (stream && fileno(stream) > 2 && fails("write")) return errno = ENOSPC, EOF;
  return real(stream);
}
static ssize_t pwrite_of(const char* name, int file, const void* data, size_t bytes, off_t at) {
  ssize_t (*real)(int, const void*, size_t, off_t) = (ssize_t (*)(int, const void*, size_t, off_t))dlsym(RTLD_NEXT, name);
  if (fails("write")) return errno = ENOSPC, -1;
  return real(file, data, bytes, at);
}
ssize_t pwrite(int file, const void* data, size_t bytes, off_t at) { return pwrite_of("pwrite", file, data, bytes, at); }
ssize_t pwrite64(int file, const void* data, size_t bytes, off_t at) { return pwrite_of("pwrite64", file, data, bytes, at); }

static char removed[16][256];  // names, until the next fsync
static atomic_int num_removed;
int unlink(const char* path) {
  static int (*real)(const char*);
  if (!real) real = (int (*)(const char*))dlsym(RTLD_NEXT, "unlink");
  const int status = real(path);
  const char* name = strrchr(path, '/');
  if (status == 0 && secure_getenv("FAULT_DISK") && num_removed < 16)
    snprintf(removed[num_removed++], sizeof removed[0], "%s", name ? name + 1 : path);
  return status;
}

// Copies the present content of the file into FAULT_DISK, in one step.
static void keep(int file) {
  const char* disk = secure_getenv("FAULT_DISK");
  char link[64], path[4096], kept[5000], half[5100];
  if (!disk) return;
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  const ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return;
  path[length] = 0;
  const char* name = strrchr(path, '/');
  struct stat status;
  if (!name || fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) return;
  snprintf(kept, sizeof kept, "%s%s", disk, name);
  snprintf(half, sizeof half, "%s.half", kept);
  for (int i = 0; i < num_removed; ++i) {
    char gone[5000];
    snprintf(gone, sizeof gone, "%s/%s", disk, removed[i]);
    remove(gone);
  }
  num_removed = 0;
  const int from = open(link, O_RDONLY), to = open(half, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  char data[1 << 16];
  ssize_t n;
  ssize_t (*real)(int, const void*, size_t) = (ssize_t (*)(int, const void*, size_t))dlsym(RTLD_NEXT, "write");
  while (from >= 0 && to >= 0 && (n = read(from, data, sizeof data)) > 0) {
    if (real(to, data, (size_t)n) != n) break;
  }
  close(from);
  close(to);
  rename(half, kept);
}
static int sync_of(const char* name, int file) {
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
  if (fails("fsync")) return errno = EIO, -1;
  const int status = real(file);
  if (status == 0) keep(file);
  return status;
}
int fsync(int file) { return sync_of("fsync", file); }
int fdatasync(int file) { return sync_of("fdatasync", file); }

void* malloc(size_t bytes) {
  static void* (*real)(size_t);
  if (!real) real = (void* (*)(size_t))dlsym(RTLD_NEXT, "malloc");
  if (fails("malloc")) return errno = ENOMEM, NULL;
  return real(bytes);
}

static long jump(void) {
  return secure_getenv("FAULT_CLOCK") ? (++jumps % 2 ? 3600 : -3600) : 0;
}
int clock_gettime(clockid_t clock, struct timespec* time) {
  static int (*real)(clockid_t, struct timespec*);
  if (!real) real = (int (*)(clockid_t, struct timespec*))dlsym(RTLD_NEXT, "clock_gettime");
  const int status = real(clock, time);
  if (clock == CLOCK_REALTIME) time->tv_sec += jump();
  return status;
}
int gettimeofday(struct timeval* time, void* zone) {
  static int (*real)(struct timeval*, void*);
  if (!real) real = (int (*)(struct timeval*, void*))dlsym(RTLD_NEXT, "gettimeofday");
  const int status = real(time, zone);
  if (status == 0) time->tv_sec += jump();
  return status;
}

int statfs(const char* path, struct statfs* system) {
  static int (*real)(const char*, struct statfs*);
  if (!real) real = (int (*)(const char*, struct statfs*))dlsym(RTLD_NEXT, "statfs");
  const int status = real(path, system);
  if (getenv("FAULT_NETWORK")) system->f_type = 0x6969;  // NFS
  return status;
}
