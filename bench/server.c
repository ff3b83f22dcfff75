// SPDX-License-Identifier: GPL-2.0
/* bench-server: see server.h and the usage below. */

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server.h"

static const char usage[] =
	"usage: bench-server [OPTION…] BACKING MOUNTPOINT\n"
	"\n"
	"Serves BACKING, a file of 2^N blocks of 4096 bytes, as several files in the foreground:\n"
	"  region       one region            whole        the whole-file region\n"
	"  many         a region a block      passthrough  mainline's passthrough\n"
	"  server       splice, direct I/O    cached       splice, FUSE's page cache\n"
	"\n"
	"  --mode=library|raw|plain  regions by the library (default), by the bare interface, or none:\n"
	"                            then the mount is never attached to the module\n"
	"  --many=N                  regions in the file 'many' (1000000)\n"
	"  --shuffle                 bind these in no order\n"
	"  --report=FILE             write there what binding cost\n";

static int usage_error(const char *what)
{
	fprintf(stderr, "bench-server: %s\n%s", what, usage);
	return 2;
}

static int parse_mode(const char *name, enum mode *mode)
{
	static const char *const names[] = { "library", "raw", "plain" };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (strcmp(name, names[i]) == 0) {
			*mode = i;
			return 0;
		}
	}
	return -EINVAL;
}

static int parse(struct server *s, int argc, char **argv)
{
	static const struct option options[] = {
		{ "mode", required_argument, NULL, 'm' },
		{ "many", required_argument, NULL, 'n' },
		{ "shuffle", no_argument, NULL, 's' },
		{ "report", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	char *end;
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 'm':
			if (parse_mode(optarg, &s->mode))
				return usage_error("no such mode");
			break;
		case 'n':
			s->many = strtoull(optarg, &end, 10);
			if (*end || !s->many || s->many > UINT32_MAX)
				return usage_error("--many wants a number");
			break;
		case 's':
			s->shuffle = true;
			break;
		case 'r':
			s->report_path = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			exit(0);
		default:
			return usage_error("unknown option");
		}
	}
	return argc - optind == 2 ? 0 : usage_error("want BACKING and MOUNTPOINT");
}

static int open_files(struct server *s, const char *backing)
{
	struct stat st;
	uint64_t blocks;

	s->backing = open(backing, O_RDWR | O_CLOEXEC);
	if (s->backing < 0 || fstat(s->backing, &st) < 0) {
		perror(backing);
		return 1;
	}
	s->size = st.st_size;
	blocks = s->size / BLOCK;
	if (!blocks || s->size % BLOCK || (blocks & (blocks - 1)))
		return usage_error("BACKING's size is not 4096 times a power of two");
	s->report = s->report_path ? fopen(s->report_path, "we") : stderr;
	if (!s->report) {
		perror(s->report_path);
		return 1;
	}
	setlinebuf(s->report);
	return 0;
}

static int serve(struct server *s, char *program, const char *mountpoint)
{
	char *argv[] = { program, (char *)"-odefault_permissions,fsname=bench", NULL };
	struct fuse_args args = FUSE_ARGS_INIT(2, argv);
	int ret = 1;

	s->session = fuse_session_new(&args, &server_ops, sizeof(server_ops), s);
	if (!s->session)
		goto out;
	if (fuse_set_signal_handlers(s->session) < 0)
		goto err_session;
	if (fuse_session_mount(s->session, mountpoint) < 0)
		goto err_signals;
	ret = fuse_session_loop(s->session) < 0;
	detach(s);
	fuse_session_unmount(s->session);
err_signals:
	fuse_remove_signal_handlers(s->session);
err_session:
	fuse_session_destroy(s->session);
out:
	fuse_opt_free_args(&args);
	return ret;
}

int main(int argc, char **argv)
{
	struct server s = { .many = 1000000, .control = -1 };
	int ret = parse(&s, argc, argv);

	if (ret)
		return ret;
	ret = open_files(&s, argv[optind]);
	return ret ? ret : serve(&s, argv[0], argv[optind + 1]);
}
