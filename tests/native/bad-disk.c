/* To be loaded before all other libraries (LD_PRELOAD): a disk that fails. Of everything that changes files below the folder BAD_DISK, the
 * call number BAD_AFTER fails with the error number BAD_ERROR, and all later ones as well unless BAD_ONCE is set. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int number(const char *name)
{
	const char *text = getenv(name);
	return text ? atoi(text) : 0;
}

static int fails(const char *path)
{
	static int calls;
	const char *folder = getenv("BAD_DISK");
	if (!folder || !path || strncmp(path, folder, strlen(folder)))
		return 0;
	calls++;
	if (getenv("BAD_ONCE") ? calls != number("BAD_AFTER") : calls < number("BAD_AFTER"))
		return 0;
	errno = number("BAD_ERROR");
	return 1;
}

static int fails_at(int fd)
{
	char link[64], path[PATH_MAX];
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t length = readlink(link, path, sizeof path - 1);
	if (length < 0)
		return 0;
	path[length] = 0;
	return fails(path);
}

#define REAL(name) (*(__typeof__(&name))real(#name))

static void *real(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

ssize_t write(int fd, const void *bytes, size_t n) { return fails_at(fd) ? -1 : REAL(write)(fd, bytes, n); }
ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at) { return fails_at(fd) ? -1 : REAL(pwrite)(fd, bytes, n, at); }
ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t at) { return fails_at(fd) ? -1 : REAL(pwrite64)(fd, bytes, n, at); }
int fsync(int fd) { return fails_at(fd) ? -1 : REAL(fsync)(fd); }
int fdatasync(int fd) { return fails_at(fd) ? -1 : REAL(fdatasync)(fd); }
int ftruncate(int fd, off_t size) { return fails_at(fd) ? -1 : REAL(ftruncate)(fd, size); }
int ftruncate64(int fd, off64_t size) { return fails_at(fd) ? -1 : REAL(ftruncate64)(fd, size); }
int unlink(const char *path) { return fails(path) ? -1 : REAL(unlink)(path); }
int rename(const char *from, const char *to) { return fails(from) ? -1 : REAL(rename)(from, to); }
