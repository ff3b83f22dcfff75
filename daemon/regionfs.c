// SPDX-License-Identifier: GPL-2.0
/* regionfs: files whose bytes are in other files. One program, two kinds of mount. */

#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fs.h"
#include "tablefs.h"
#include "tarfs.h"

static const char help[] =
	"usage: regionfs tar ARCHIVE MOUNTPOINT [OPTION...]\n"
	"       regionfs table FILE MOUNTPOINT [OPTION...]\n"
	"\n"
	"tar shows the members of an uncompressed tar archive, table the files that a text\n"
	"file puts together from parts of others. The bytes are read by the kernel where the\n"
	"fuse_regions module is loaded, and by this process where it is not.\n"
	"\n"
	"  -f                 stay in the foreground\n"
	"  -s                 handle one request at a time\n"
	"  -d, -o debug       print debug messages (stays in the foreground)\n"
	"  -o noregions       do not use the module\n"
	"  -o stats=FILE      write counts to FILE: at first, on SIGUSR1, at the end\n"
	"  -o max_threads=N   at most N threads\n"
	"  -o clone_fd        one /dev/fuse for each thread\n"
	"  -o OPTION,...      mount options: ro, allow_other, fsname=NAME, ...\n"
	"  -h, --help         this\n"
	"  -V, --version      the versions of regionfs and libfuse\n";

struct command {
	const char *name;
	int (*run)(struct fs *fs);
};

static const struct command commands[] = {
	{ "tar", tarfs_main },
	{ "table", tablefs_main },
};

/* Else a backing could be what messages go to. */
static void occupy_standard_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

/* What was printed has arrived: an exit status */
static int printed(int ret)
{
	return ret < 0 || fflush(stdout) ? FS_FAILED : FS_OK;
}

static bool asked_for(int argc, char **argv, const char *brief, const char *full)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--"); i++)
		if (!strcmp(argv[i], brief) || !strcmp(argv[i], full))
			return true;
	return false;
}

static int run(const struct command *command, int argc, char **argv)
{
	struct fs fs;
	int ret = fs_parse(&fs, command->name, argc, argv);

	if (!ret)
		ret = command->run(&fs);
	fs_free(&fs);
	return ret;
}

int main(int argc, char **argv)
{
	occupy_standard_descriptors();
	/* libarchive turns the names in archives into the locale's characters. */
	if (!setlocale(LC_CTYPE, "C.UTF-8"))
		setlocale(LC_CTYPE, "");
	if (asked_for(argc, argv, "-h", "--help"))
		return printed(fputs(help, stdout));
	if (asked_for(argc, argv, "-V", "--version"))
		return printed(
			printf("regionfs " REGIONFS_VERSION ", libfuse %s\n", fuse_pkgversion()));
	if (argc < 2)
		return fs_usage_error("no command given");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(argv[1], commands[i].name))
			return run(&commands[i], argc - 1, argv + 1);
	return fs_usage_error("unknown command '%s'", argv[1]);
}
