/* A stand-in for the processes of Slurm that load SPANK plugins. It loads one as Slurm does, forbids itself every system call but
 * writing to standard output and ending, and calls the hooks: any other call ends it by SIGSYS.
 *
 *   spank-host PLUGIN CONTEXT   CONTEXT as in spank.h: 0 error, 1 local, 2 remote, 3 allocator, 4 slurmd, 5 job script
 *   spank-host PLUGIN -1        proves that the ban works: opens a file instead of calling the hooks */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static int context, registered;
static char handle[16];

char opt[1];
int spank_context(void) { return context; }
long slurm_api_version(void) { return 38 << 16; }
void slurm_error(const char *format, ...) { (void)format; }
void slurm_info(const char *format, ...) { (void)format; }

int spank_option_register(void *spank, void *option)
{
	(void)option;
	registered++;
	return spank == handle ? 0 : 1;
}

static void forbid_system_calls(void)
{
	struct sock_filter rules[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog program = { sizeof(rules) / sizeof(*rules), rules };
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
		perror("seccomp");
		exit(98);
	}
}

typedef int (*hook)(void *, int, char **);

int main(int argc, char **argv)
{
	static char buffer[4096];
	char *arguments[] = { "config=/nowhere/omnipilot.toml", NULL };
	void *plugin = argc == 3 ? dlopen(argv[1], RTLD_LAZY) : NULL;
	if (!plugin)
		return fprintf(stderr, "%s\n", argc == 3 ? dlerror() : "usage: spank-host PLUGIN CONTEXT"), 99;
	static const char *const names[] = {
		"slurm_spank_init", "slurm_spank_job_prolog", "slurm_spank_init_post_opt", "slurm_spank_local_user_init",
		"slurm_spank_user_init", "slurm_spank_task_init_privileged", "slurm_spank_task_init", "slurm_spank_task_post_fork",
		"slurm_spank_task_exit", "slurm_spank_job_epilog", "slurm_spank_slurmd_exit", "slurm_spank_exit",
	};
	enum { COUNT = sizeof(names) / sizeof(*names) };
	hook hooks[COUNT];
	for (int i = 0; i < COUNT; i++)
		hooks[i] = (hook)dlsym(plugin, names[i]);
	context = atoi(argv[2]);
	setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
	forbid_system_calls();
	if (context == -1)
		return open("/dev/null", O_RDONLY);
	for (int i = 0; i < COUNT; i++)
		if (hooks[i])
			printf("%s %d\n", names[i], hooks[i](handle, 1, arguments));
	printf("options %d\n", registered);
	fflush(stdout);
	_exit(0);
}
