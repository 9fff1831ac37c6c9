/* A stand-in for the processes that load SPANK plugins: it loads one, calls its hooks in a context, and tells what happened.
 *
 *   host PLUGIN CONTEXT [--OPTION=VALUE | NAME=VALUE | @COMPONENT]...
 *
 * --OPTION=VALUE is passed to the option's callback; NAME=VALUE is an option of the job itself; @ begins the next component of a
 * heterogeneous job. CONFIG and LIMIT in the environment are the arguments of the plugin's line. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct spank_option {
	const char *name, *arginfo, *usage;
	int has_arg, val;
	int (*cb)(int val, const char *optarg, int remote);
};

static struct spank_option registered[64];
static int registered_count, context;
static char handle[16];

int spank_context(void) { return context; }

int spank_option_register(void *spank, struct spank_option *option)
{
	if (spank != handle || registered_count == 64)
		return 1;
	registered[registered_count++] = *option;
	return 0;
}

long slurm_api_version(void) { return API << 16; }

static void say(const char *level, const char *format, va_list arguments)
{
	printf("%s: ", level);
	vprintf(format, arguments);
	puts("");
}

#define LOG(level) \
	void slurm_##level(const char *format, ...) \
	{ \
		va_list arguments; \
		va_start(arguments, format); \
		say(#level, format, arguments); \
		va_end(arguments); \
	}
LOG(error)
LOG(info)

#ifndef NO_OPTIONS
char opt[1];
static struct { char *name, *value; } given[64];

static int find(const char *name, bool make)
{
	int i = 0;
	while (i < 63 && given[i].name && strcmp(given[i].name, name))
		i++;
	if (!given[i].name && make)
		given[i].name = strdup(name);
	return i;
}

char *slurm_option_get(void *o, const char *name)
{
	char *value = given[find(name, false)].value;
	return o == opt && value ? strdup(value) : NULL;
}

bool slurm_option_isset(void *o, const char *name) { return o == opt && given[find(name, false)].value; }

bool slurm_option_reset(void *o, const char *name)
{
	given[find(name, true)].value = NULL;
	return o == opt;
}

int slurm_option_set(void *o, const char *name, const char *value, bool early)
{
	given[find(name, true)].value = strdup(value);
	return o == opt && !early ? 0 : -1;
}
#endif

static int pass(const char *name, const char *value)
{
	for (int i = 0; i < registered_count; i++)
		if (!strcmp(registered[i].name, name))
			return registered[i].cb(registered[i].val, value, 0);
	return -99;
}

static int (*post_opt)(void *, int, char **);
static char *arguments[] = { "config=/nowhere/omnipilot.toml", "time_limit_ms=500", NULL };

static void decide(void)
{
	optind = 1 << 20;
	fflush(stdout);
	printf("post_opt: %d\n", post_opt(handle, 2, arguments));
}

static void take(char *argument)
{
	if (*argument == '@') {
		decide();
		return;
	}
	char *value = strchr(argument, '=');
	*value++ = 0;
	if (!strncmp(argument, "--", 2))
		printf("callback %s: %d\n", argument + 2, pass(argument + 2, value));
#ifndef NO_OPTIONS
	else
		slurm_option_set(opt, argument, value, false);
#endif
}

int main(int argc, char **argv)
{
	void *plugin = dlopen(argv[1], RTLD_NOW);
	if (!plugin)
		return puts(dlerror()), 99;
	context = atoi(argv[2]);
	int (*init)(void *, int, char **) = dlsym(plugin, "slurm_spank_init");
	post_opt = dlsym(plugin, "slurm_spank_init_post_opt");
	if (getenv("CONFIG"))
		arguments[0] = getenv("CONFIG");
	if (getenv("LIMIT"))
		arguments[1] = getenv("LIMIT");
	printf("name %s, type %s, version %#x\n", (char *)dlsym(plugin, "plugin_name"), (char *)dlsym(plugin, "plugin_type"),
	       *(unsigned *)dlsym(plugin, "plugin_version"));
	printf("init: %d\n", init(handle, 2, arguments));
	printf("options: %d\n", registered_count);
	for (int i = 3; i < argc; i++)
		take(argv[i]);
	decide();
#ifndef NO_OPTIONS
	for (int i = 0; i < 64 && given[i].name; i++)
		if (given[i].value)
			printf("job %s=%s\n", given[i].name, given[i].value);
#endif
	return 0;
}
