/* dead-mount FOLDER: mounts a file system there whose server never answers, as a network file system does whose server is
 * gone. Says "ready", and takes it away again when standard input ends. Root only. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char options[128], byte;
	int server = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (argc != 2 || server < 0)
		return perror("/dev/fuse"), 1;
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", server);
	if (mount("dead", argv[1], "fuse.dead", MS_NOSUID | MS_NODEV, options))
		return perror("mount"), 1;
	puts("ready");
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		;
	umount2(argv[1], MNT_DETACH);
	return 0;
}
