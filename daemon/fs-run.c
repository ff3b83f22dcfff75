// SPDX-License-Identifier: GPL-2.0
/*
 * The life of a mount: session, daemon, loop, end.
 *
 * A daemon's parent stays until the child's INIT handler has run: only then
 * is it known that the mount works and who serves the regions, and the child
 * can still say so on stderr.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs.h"
#include "stats.h"

static int check_mountpoint(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0) {
		fs_error("mount point '%s': %s", path, strerror(errno));
		return FS_FAILED;
	}
	if (!S_ISDIR(st.st_mode)) {
		fs_error("mount point '%s' is not a directory", path);
		return FS_FAILED;
	}
	return FS_OK;
}

static int open_stats(struct fs *fs)
{
	if (!fs->stats_path)
		return FS_OK;
	/* A FIFO that nobody reads must not keep us waiting. */
	fs->stats_fd = open(fs->stats_path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0644);
	if (fs->stats_fd < 0) {
		fs_error("stats file '%s': %s", fs->stats_path, strerror(errno));
		return FS_FAILED;
	}
	return FS_OK;
}

/* Each backing is a descriptor; the default limit is for programs that use select(). */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int fs_prepare(struct fs *fs, const struct fuse_lowlevel_ops *ops, size_t ops_size)
{
	int ret;

	fs->session = fuse_session_new(&fs->args, ops, ops_size, fs);
	if (!fs->session) {
		/* libfuse has said which option it was. */
		fputs("Try 'regionfs --help'.\n", stderr);
		return FS_USAGE;
	}
	raise_descriptor_limit();
	ret = check_mountpoint(fs->mountpoint);
	return ret ? ret : open_stats(fs);
}

/* Without the kernel, if it does not take all backings. 0 or a negative errno. */
static int open_regions(struct fs *fs)
{
	struct fuse_regions_config config = {
		.flags = fs->noregions ? FUSE_REGIONS_USER_MODE : 0,
		.max_stack_depth = fs->stack_depth,
	};
	int err = fuse_regions_open(fs->session, &config, &fs->conn);

	if (err || fuse_regions_mode(fs->conn) != FUSE_REGIONS_MODE_KERNEL || fs_lend_try(fs))
		return err;
	fuse_regions_close(fs->conn);
	fs->conn = NULL;
	config.flags = FUSE_REGIONS_USER_MODE;
	return fuse_regions_open(fs->session, &config, &fs->conn);
}

bool fs_init(struct fs *fs, struct fuse_conn_info *conn)
{
	int err = open_regions(fs);

	if (err) {
		fs_error("cannot start: %s", strerror(-err));
		fs->init_failed = true;
		fuse_session_exit(fs->session);
		return false;
	}
	/* Truncation comes as a SETATTR of its own, in its own handler. */
	conn->want &= ~FUSE_CAP_ATOMIC_O_TRUNC;
	conn->want |= conn->capable & (FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_READ);
	return true;
}

static void detach_from_terminal(void)
{
	int null = open("/dev/null", O_RDWR);

	if (chdir("/") < 0 || null < 0)
		return;
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	if (null > STDERR_FILENO)
		close(null);
}

void fs_ready(struct fs *fs)
{
	if (fuse_regions_mode(fs->conn) == FUSE_REGIONS_MODE_KERNEL)
		fs_error("regions served by the kernel");
	else
		fs_error("regions served by this process: %s",
			 fs->reason[0] ? fs->reason : fuse_regions_reason(fs->conn));
	atomic_store(&fs->ready, true);
	stats_write(fs);
	if (fs->ready_fd < 0)
		return;
	detach_from_terminal();
	/* When the parent is gone nobody needs to know. */
	if (write(fs->ready_fd, "", 1) < 0)
		return;
	close(fs->ready_fd);
	fs->ready_fd = -1;
}

/* The parent's part; the exit status that the user sees. */
static int wait_for_child(pid_t child, int ready_fd)
{
	int status;
	char byte;

	if (read(ready_fd, &byte, 1) == 1)
		return FS_OK;
	if (waitpid(child, &status, 0) != child)
		return FS_FAILED;
	if (WIFSIGNALED(status))
		fs_error("died before it had mounted: %s", strsignal(WTERMSIG(status)));
	return WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : FS_FAILED;
}

/* In the child: 0. In the parent: never returns. */
static int become_daemon(struct fs *fs)
{
	int ends[2];
	pid_t child;

	if (pipe2(ends, O_CLOEXEC) < 0) {
		fs_error("pipe: %s", strerror(errno));
		return FS_FAILED;
	}
	fflush(NULL);
	child = fork();
	if (child < 0) {
		fs_error("fork: %s", strerror(errno));
		return FS_FAILED;
	}
	if (child) {
		close(ends[1]);
		_exit(wait_for_child(child, ends[0]));
	}
	close(ends[0]);
	fs->ready_fd = ends[1];
	setsid();
	return FS_OK;
}

static int loop(struct fs *fs)
{
	struct fuse_loop_config *config;
	int ret;

	if (fs->single_thread)
		return fuse_session_loop(fs->session);
	config = fuse_loop_cfg_create();
	if (!config)
		return -ENOMEM;
	fuse_loop_cfg_set_clone_fd(config, fs->clone_fd);
	if (fs->max_threads)
		fuse_loop_cfg_set_max_threads(config, fs->max_threads);
	ret = fuse_session_loop_mt(fs->session, config);
	fuse_loop_cfg_destroy(config);
	return ret;
}

static int serve(struct fs *fs)
{
	struct stats_thread *stats;
	int ret;

	stats = stats_start(fs);
	if (!stats) {
		fs_error("cannot start a thread: %s", strerror(errno));
		return FS_FAILED;
	}
	ret = loop(fs);
	stats_stop(stats);
	stats_write(fs);
	/* Above 0 it is the signal that asked us to end, which is a good end. */
	return ret < 0 || fs->init_failed ? FS_FAILED : FS_OK;
}

static int mount_and_serve(struct fs *fs)
{
	int ret = FS_FAILED;

	if (fuse_set_signal_handlers(fs->session)) {
		fs_error("cannot set signal handlers");
		return FS_FAILED;
	}
	/* A write over our limit on file sizes fails; that of others is no reason to die. */
	signal(SIGXFSZ, SIG_IGN);
	if (fuse_session_mount(fs->session, fs->mountpoint) == 0) {
		ret = serve(fs);
		fuse_regions_close(fs->conn);
		fs->conn = NULL;
		fuse_session_unmount(fs->session);
	} else {
		fs_error("cannot mount on '%s'", fs->mountpoint);
	}
	fuse_remove_signal_handlers(fs->session);
	return ret;
}

/* chdir("/") comes before the unmount, which needs the name of the mount point. */
static int make_mountpoint_absolute(struct fs *fs)
{
	char *path = realpath(fs->mountpoint, NULL);

	if (!path) {
		fs_error("mount point '%s': %s", fs->mountpoint, strerror(errno));
		return FS_FAILED;
	}
	free(fs->mountpoint);
	fs->mountpoint = path;
	return FS_OK;
}

int fs_run(struct fs *fs)
{
	int ret = make_mountpoint_absolute(fs);

	if (!ret && !fs->foreground && !fs->debug)
		ret = become_daemon(fs);
	return ret ? ret : mount_and_serve(fs);
}

void fs_free(struct fs *fs)
{
	if (fs->session)
		fuse_session_destroy(fs->session);
	fuse_opt_free_args(&fs->args);
	fs_lend_end(fs);
	if (fs->stats_fd >= 0)
		close(fs->stats_fd);
	if (fs->ready_fd >= 0)
		close(fs->ready_fd);
	free(fs->source);
	free(fs->mountpoint);
	free(fs->stats_path);
}
