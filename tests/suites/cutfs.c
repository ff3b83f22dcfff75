// SPDX-License-Identifier: GPL-2.0
/* The program: command line, life of the mount, and the thread that binds. */

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cutfs.h"

struct cutfs cutfs = {
	.root = { .fd = -1, .lock = PTHREAD_RWLOCK_INITIALIZER },
	.binds = 8,
	.ready_fd = -1,
};

static pthread_t churner;
static _Atomic bool churning;

/*
 * A message may have to wait for what was stored before it to reach us, so that whoever writes it
 * is let in; unless bytes are being moved.
 */
static void lock_to_bind(struct node *node)
{
	if (cutfs.move)
		pthread_rwlock_wrlock(&node->lock);
	else
		pthread_rwlock_rdlock(&node->lock);
}

static void *churn(void *arg)
{
	unsigned int seed = 1;

	while (churning) {
		struct timespec pause = { .tv_nsec = 8000000 };
		struct node *node = node_get_any((unsigned int)rand_r(&seed));

		for (unsigned int i = 0; node && i < cutfs.binds; i++) {
			lock_to_bind(node);
			if (node->content)
				bind_something(node, &seed);
			pthread_rwlock_unlock(&node->lock);
		}
		if (node)
			node_put(node);
		nanosleep(&pause, NULL);
	}
	return arg;
}

/* What is said from here on nobody reads, and who waits for our output to end must not wait. */
static void detach_from_terminal(void)
{
	int null = open("/dev/null", O_RDWR);

	for (int fd = 0; null >= 0 && fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
	if (null > STDERR_FILENO)
		close(null);
}

/* The mount works. When the parent is gone nobody needs to know. */
static void tell_parent(void)
{
	if (cutfs.ready_fd < 0)
		return;
	detach_from_terminal();
	if (write(cutfs.ready_fd, "", 1) < 0)
		return;
	close(cutfs.ready_fd);
	cutfs.ready_fd = -1;
}

static void give_up(const char *what, const char *why)
{
	fprintf(stderr, "cutfs: %s: %s\n", what, why);
	cutfs.failed = true;
	fuse_session_exit(cutfs.session);
}

static void cutfs_init(void *userdata, struct fuse_conn_info *conn)
{
	struct fuse_regions_config config = {
		.flags = cutfs.noregions ? FUSE_REGIONS_USER_MODE : 0,
	};
	int err = fuse_regions_open(cutfs.session, &config, &cutfs.conn);

	(void)userdata;
	if (err ||
	    (!cutfs.noregions && fuse_regions_mode(cutfs.conn) != FUSE_REGIONS_MODE_KERNEL)) {
		give_up("no regions", err ? strerror(-err) : fuse_regions_reason(cutfs.conn));
		return;
	}
	conn->want &= ~FUSE_CAP_ATOMIC_O_TRUNC;
	conn->want |= conn->capable & (FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_READ);
	churning = cutfs.churn || cutfs.move;
	err = churning ? pthread_create(&churner, NULL, churn, NULL) : 0;
	if (err) {
		churning = false;
		give_up("no thread to bind", strerror(err));
		return;
	}
	tell_parent();
}

const struct fuse_lowlevel_ops cutfs_ops = {
	.init = cutfs_init,
	.lookup = names_lookup,
	.forget = names_forget,
	.forget_multi = names_forget_multi,
	.mknod = names_mknod,
	.mkdir = names_mkdir,
	.symlink = names_symlink,
	.link = names_link,
	.unlink = names_unlink,
	.rmdir = names_rmdir,
	.rename = names_rename,
	.readlink = names_readlink,
	.create = names_create,
	.opendir = names_opendir,
	.readdir = names_readdir,
	.releasedir = names_releasedir,
	.getattr = attr_getattr,
	.setattr = attr_setattr,
	.statfs = attr_statfs,
	.getxattr = attr_getxattr,
	.listxattr = attr_listxattr,
	.setxattr = attr_setxattr,
	.removexattr = attr_removexattr,
	.ioctl = attr_ioctl,
	.open = data_open,
	.read = data_read,
	.write_buf = data_write_buf,
	.fsync = data_fsync,
	.fallocate = data_fallocate,
};

static const struct fuse_opt options[] = {
	{ "aligned", offsetof(struct cutfs, aligned), 1 },
	{ "noregions", offsetof(struct cutfs, noregions), 1 },
	{ "churn", offsetof(struct cutfs, churn), 1 },
	{ "move", offsetof(struct cutfs, move), 1 },
	{ "binds=%u", offsetof(struct cutfs, binds), 0 },
	{ "-f", offsetof(struct cutfs, foreground), 1 },
	FUSE_OPT_END,
};

static const char usage[] =
	"usage: cutfs [-f] [-o OPTION,...] DIRECTORY MOUNTPOINT\n"
	"\n"
	"Mounts DIRECTORY at MOUNTPOINT, with every file cut into regions over several\n"
	"backings. Its files are whole again when the mount ends.\n"
	"\n"
	"  -f           stay in the foreground\n"
	"  -o aligned   edges lie between pages, so that mappings may be written to\n"
	"  -o churn     regions are bound, cut and unbound all the time\n"
	"  -o move      the same, and bytes are moved to other places; not for mappings\n"
	"  -o binds=N   so many times every 8 ms (8)\n"
	"  -o noregions serve all of it from this process\n";

static int operand(void *data, const char *arg, int key, struct fuse_args *args)
{
	struct cutfs *fs = data;

	(void)args;
	if (key != FUSE_OPT_KEY_NONOPT)
		return 1;
	if (!fs->source)
		fs->source = strdup(arg);
	else if (!fs->mountpoint)
		fs->mountpoint = realpath(arg, NULL);
	else
		return -1;
	return 0;
}

/* Each file that is open takes five. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit = { 1 << 20, 1 << 20 };

	if (setrlimit(RLIMIT_NOFILE, &limit) < 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/*
 * The parent stays until INIT is here: only then is it known who serves the regions. It fails when
 * the child has failed, and taken its mount away.
 */
static int become_daemon(void)
{
	int ends[2];
	pid_t child;
	char byte;

	if (cutfs.foreground)
		return 0;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	child = fork();
	if (child < 0)
		return -errno;
	if (child) {
		close(ends[1]);
		if (read(ends[0], &byte, 1) == 1)
			_exit(0);
		waitpid(child, NULL, 0);
		_exit(1);
	}
	close(ends[0]);
	cutfs.ready_fd = ends[1];
	setsid();
	return chdir("/") < 0 ? -errno : 0;
}

static int serve(void)
{
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	int ret = 1;

	if (config && fuse_session_mount(cutfs.session, cutfs.mountpoint) == 0) {
		ret = fuse_session_loop_mt(cutfs.session, config) < 0 || cutfs.failed;
		if (churning) {
			churning = false;
			pthread_join(churner, NULL);
		}
		node_free_all();
		fuse_regions_close(cutfs.conn);
		fuse_session_unmount(cutfs.session);
	}
	if (config)
		fuse_loop_cfg_destroy(config);
	return ret;
}

int main(int argc, char **argv)
{
	struct fuse_args args = FUSE_ARGS_INIT(argc, argv);
	int ret = 1, err;

	if (argc == 2 && !strcmp(argv[1], "--help")) {
		fputs(usage, stdout);
		return 0;
	}
	if (fuse_opt_parse(&args, &cutfs, options, operand) < 0 || !cutfs.mountpoint) {
		fputs(usage, stderr);
		return 2;
	}
	/* first, for others to be able to overrule it */
	fuse_opt_insert_arg(&args, 1, "-oallow_other,default_permissions,fsname=cutfs");
	cutfs.root.fd = open(cutfs.source, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (cutfs.root.fd < 0) {
		fprintf(stderr, "cutfs: %s: %s\n", cutfs.source, strerror(errno));
		return 1;
	}
	err = become_daemon();
	if (err) {
		fprintf(stderr, "cutfs: no daemon: %s\n", strerror(-err));
		return 1;
	}
	umask(0);
	raise_descriptor_limit();
	cutfs.session = fuse_session_new(&args, &cutfs_ops, sizeof(cutfs_ops), NULL);
	if (cutfs.session && fuse_set_signal_handlers(cutfs.session) == 0) {
		ret = serve();
		fuse_remove_signal_handlers(cutfs.session);
	}
	if (cutfs.session)
		fuse_session_destroy(cutfs.session);
	fuse_opt_free_args(&args);
	return ret;
}
