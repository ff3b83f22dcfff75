// SPDX-License-Identifier: GPL-2.0
/*
 * What an unprivileged server can and can't do with an attached connection.
 *
 * Jann Horn's attack: a server without privileges makes a privileged program
 * write bytes of the server's choice to /dev/fuse, by giving it the descriptor
 * as its stdout or stderr. If such bytes could name a file descriptor of that
 * program, the server would read files that it may not open.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <termios.h>

#include "harness.h"

#define SIZE (16 * PAGE)

/* A secret that only root can open */
static struct backing *secret;

static struct tfile *file(void)
{
	struct tfile *f = srv_simple(SIZE);

	secret = backing_new(SIZE);
	close(srv_open(f, O_RDONLY));
	return f;
}

/* No byte of the secret shows in the file, and all are the server's own. */
static void nothing_leaked(struct tfile *f)
{
	expect_file(f, srv_open(f, O_RDONLY), 3 * PAGE);
	CHECK_EQ(module_param("live_backings"), 0);
}

/*
 * The privileged program: it has the secret open, and everything that it
 * writes to stdout is the attacker's. Returns what its write() returned.
 */
static int privileged_write(int ctl, const void *bytes, size_t len)
{
	pid_t pid = test_fork();

	if (pid == 0) {
		CHECK_EQ(getuid(), 0);
		CHECK(secret->fd >= 0);
		CHECK_EQ(dup2(ctl, STDOUT_FILENO), STDOUT_FILENO);
		_exit(write(STDOUT_FILENO, bytes, len) == (ssize_t)len ? 0 : errno);
	}
	return wait_exit(pid);
}

TEST(i2_attack_message_naming_a_descriptor)
{
	struct tfile *f = file();
	static const uint32_t flags[] = { FUSE_REGION_READ, FUSE_REGION_READ | FUSE_REGION_WRITE,
					  FUSE_REGION_READ | FUSE_REGION_REPLACE };

	/* Whatever number is given as backing id, none of it is a descriptor of the writer. */
	for (uint32_t id = 0; id < 64; id++) {
		struct fuse_passthrough_region rec = REC(0, SIZE, id, 0, flags[id % 3]);
		struct raw_msg *msg = raw_msg_new(f->nodeid, &rec, 1);
		int err = privileged_write(f->srv->ctl, msg, msg->out.len);

		if (err != ENOENT && err != EINVAL)
			FAIL("backing id %u: %s", id, strerror(err));
		free(msg);
	}
	nothing_leaked(f);
}

TEST(i2_attack_file_registered_with_another_server)
{
	struct tfile *f = file(), *victim = srv_simple(SIZE);
	uint32_t id;

	/* Ids begin alike on each connection; they mean nothing on another one. */
	srv_open(victim, O_RDONLY);
	id = srv_register(victim->srv, secret);
	for (uint32_t i = 1; i < id + 8; i++) {
		struct fuse_passthrough_region rec = REC(0, SIZE, i, 0, FUSE_REGION_READ);
		struct raw_msg *msg = raw_msg_new(f->nodeid, &rec, 1);

		CHECK_EQ(privileged_write(f->srv->ctl, msg, msg->out.len), ENOENT);
		free(msg);
	}
	expect_file(f, srv_open(f, O_RDONLY), 3 * PAGE);
}

/* The bytes of an ioctl's argument are only bytes when they are written. */
TEST(i2_attack_registration_by_write)
{
	struct tfile *f = file();
	struct {
		struct fuse_out_header out;
		struct fuse_regions_backing arg;
		uint32_t command;
	} forged = {
		.out = { .len = sizeof(forged), .error = FUSE_NOTIFY_PASSTHROUGH },
		.arg = { .fd = secret->fd },
		.command = FUSE_REGIONS_IOC_BACKING_OPEN,
	};

	CHECK(privileged_write(f->srv->ctl, &forged, sizeof(forged)) != 0);
	CHECK(privileged_write(f->srv->ctl, &forged.arg, sizeof(forged.arg)) != 0);
	nothing_leaked(f);
}

/* A program that has the channel as its stdout; its exit status says whether it could write. */
static int program_writes(int ctl, const char *command)
{
	pid_t pid = test_fork();

	if (pid == 0) {
		CHECK_EQ(dup2(ctl, STDOUT_FILENO), STDOUT_FILENO);
		execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(127);
	}
	return wait_exit(pid);
}

/* What programs do with their stdout of their own accord */
TEST(i2_attack_ioctls_of_ordinary_programs)
{
	static const char *const commands[] = {
		"cat /proc/self/status",
		"ls -l /proc",
		"stty -a <&1",
		"dd if=/dev/urandom bs=4096 count=50 status=none",
		"dd if=/dev/zero bs=1 count=1 status=none",
		"head -c 5000 /dev/zero",
	};
	struct tfile *f = file();
	pid_t pid = test_fork();

	if (pid == 0) {
		struct winsize size;
		struct termios term;
		int n;

		CHECK_ERR(ioctl(f->srv->ctl, TCGETS, &term), ENOTTY);
		CHECK_ERR(ioctl(f->srv->ctl, TIOCGWINSZ, &size), ENOTTY);
		CHECK_ERR(ioctl(f->srv->ctl, FIONREAD, &n), ENOTTY);
		_exit(0);
	}
	CHECK_EQ(wait_exit(pid), 0);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		/* all of it is refused, which shows that it came there */
		int status = program_writes(f->srv->ctl, commands[i]);

		if (status != 1 && status != 2)
			FAIL("%s: status %d", commands[i], status);
	}
	nothing_leaked(f);
}

/* A process without privileges that holds the channel: it may use what was registered, no more. */
TEST(i2_attack_unprivileged_holder)
{
	struct tfile *f = file();
	struct backing *b = backing_new(SIZE);
	pid_t pid;

	srv_register(f->srv, b);
	pid = test_fork();
	if (pid == 0) {
		become_nobody();
		CHECK_NEG(raw_backing_open(f->srv->ctl, secret->fd), EPERM);
		CHECK_NEG(raw_backing_open(f->srv->ctl, b->fd), EPERM);
		CHECK_NEG(region_bind(f, 0, PAGE, b, 0, 0), 0);
		CHECK_ZERO(raw_backing_close(f->srv->ctl, b->id));
		_exit(0);
	}
	CHECK_EQ(wait_exit(pid), 0);
	expect_file(f, srv_open(f, O_RDONLY), 3 * PAGE);
}

static void write_file(const char *path, const char *text)
{
	int fd = (int)CHECK_OK(open(path, O_WRONLY));

	CHECK_EQ(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

/*
 * A mount made by an ordinary user in a namespace of her own: all of FUSE works
 * there, and so do regions, but for the one thing that brings files in.
 */
TEST(i2_attack_user_namespace_server)
{
	int ready[2];
	pid_t pid;
	char byte;

	close(raw_device());
	CHECK_OK(pipe(ready));
	pid = test_fork();
	if (pid == 0) {
		int status = system("unshare --user --map-root-user --mount sh -c 'exit 0'");

		_exit(status ? TEST_SKIP : 0);
	}
	if (wait_exit(pid))
		SKIP("no user namespaces here");
	secret = backing_new(SIZE);
	pid = test_fork();
	if (pid == 0) {
		struct fuse_regions_attach arg;
		char opts[128];
		int session, ctl;

		CHECK_OK(unshare(CLONE_NEWUSER | CLONE_NEWNS));
		write_file("/proc/self/setgroups", "deny");
		write_file("/proc/self/uid_map", "0 0 1");
		write_file("/proc/self/gid_map", "0 0 1");
		session = raw_dev_fuse();
		snprintf(opts, sizeof(opts), "fd=%d,rootmode=40000,user_id=0,group_id=0", session);
		if (mount("fr-test", "/tmp", "fuse", MS_NODEV | MS_NOSUID, opts))
			SKIP("no FUSE mounts in user namespaces: %m");
		ctl = raw_dev_fuse();
		CHECK_ZERO(raw_clone(ctl, session));
		arg = raw_attach_arg(ctl);
		CHECK_ZERO(raw_attach(&arg));
		CHECK_NEG(raw_backing_open(ctl, secret->fd), EPERM);
		CHECK_EQ(write(ready[1], "x", 1), 1);
		_exit(0);
	}
	close(ready[1]);
	if (wait_exit(pid) == TEST_SKIP)
		SKIP("no FUSE mounts in user namespaces");
	CHECK_EQ(read(ready[0], &byte, 1), 1);
	CHECK_EQ(module_param("live_backings"), 0);
}

/* The server's reply to somebody's request can't carry a message either. */
TEST(i3_attack_message_inside_a_reply)
{
	struct tfile *f = file();
	struct backing *b = backing_new(SIZE);
	struct fuse_passthrough_region rec;
	struct raw_msg *msg;

	srv_register(f->srv, b);
	rec = REC(0, SIZE, b->id, 0, FUSE_REGION_READ);
	msg = raw_msg_new(f->nodeid, &rec, 1);
	for (uint64_t unique = 1; unique < 100; unique++) {
		msg->out.unique = unique;
		CHECK(raw_write(f->srv->ctl, msg, msg->out.len) < 0);
		msg->out.error = 0;
		CHECK(raw_write(f->srv->ctl, msg, msg->out.len) < 0);
		msg->out.error = FUSE_NOTIFY_PASSTHROUGH;
	}
	expect_file(f, srv_open(f, O_RDONLY), 3 * PAGE);
	free(msg);
}
