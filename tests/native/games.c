/* To be loaded before all other libraries (LD_PRELOAD): plays one of the games that a user's environment can play with a
 * command. GAME names it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool playing(const char *game)
{
	const char *wanted = getenv("GAME");
	return wanted && !strcmp(wanted, game);
}

static bool in_child;

/* No process can be started. */
pid_t fork(void)
{
	static pid_t (*real)(void);
	if (playing("fork")) {
		errno = EAGAIN;
		return -1;
	}
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "fork");
	pid_t pid = real();
	in_child = pid == 0;
	return pid;
}

/* No pipe can be opened. */
int pipe2(int ends[2], int flags)
{
	static int (*real)(int *, int);
	if (playing("pipe")) {
		errno = EMFILE;
		return -1;
	}
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "pipe2");
	return real(ends, flags);
}

/* The child has no memory. */
extern void *__libc_malloc(size_t);
void *malloc(size_t size)
{
	if (in_child && playing("memory"))
		return NULL;
	return __libc_malloc(size);
}

/* The child never gets on. */
int setrlimit(int resource, const void *limit)
{
	static int (*real)(int, const void *);
	while (in_child && playing("hang"))
		pause();
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "setrlimit");
	return real(resource, limit);
}
int setrlimit64(int resource, const void *limit) { return setrlimit(resource, limit); }

/* The child is ended by a signal. */
ssize_t write(int fd, const void *bytes, size_t length)
{
	static ssize_t (*real)(int, const void *, size_t);
	if (in_child && playing("crash"))
		*(volatile int *)8 = 0;
	if (in_child && playing("babble"))
		memset((void *)bytes, 0xa5, length);
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "write");
	return real(fd, bytes, length);
}

/* Slurm takes no change of an option. */
int slurm_option_set(void *opt, const char *name, const char *value, bool early)
{
	static int (*real)(void *, const char *, const char *, bool);
	if (playing("options"))
		return -1;
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "slurm_option_set");
	return real(opt, name, value, early);
}

/* A release of Slurm that nobody has seen yet. */
long slurm_api_version(void)
{
	static long (*real)(void);
	if (playing("newer"))
		return 99L << 16;
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "slurm_api_version");
	return real ? real() : 0;
}
