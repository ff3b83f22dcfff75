// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "world.h"

#define NOBODY 65534
#define SHARED_EXT4 "/run/fr-test-ext4"

static void remove_dir(void *arg)
{
	rmdir(arg);
	free(arg);
}

const char *temp_dir(void)
{
	char *dir = strdup("/tmp/fr-dir-XXXXXX");

	CHECK(dir && mkdtemp(dir));
	test_at_end(remove_dir, dir);
	return dir;
}

static void unmount(void *arg)
{
	umount2(arg, MNT_DETACH);
}

const char *mount_tmpfs(void)
{
	const char *dir = temp_dir();

	CHECK_OK(mount("fr-test", dir, "tmpfs", 0, NULL));
	test_at_end(unmount, (void *)dir);
	return dir;
}

static void remove_file(void *arg)
{
	unlink(arg);
	free(arg);
}

/* 0, or the exit status of what failed */
static int make_fs(const char *type, const char *image, unsigned int mib, const char *where)
{
	return sh("truncate -s %uM %s && mkfs.%s -q %s && { modprobe -q -a loop %s; "
		  "mount -o loop %s %s; }",
		  mib, image, type, image, type, image, where);
}

static const char *mount_fs(const char *type, unsigned int mib)
{
	const char *dir = temp_dir();
	char *image;

	CHECK(asprintf(&image, "%s.img", dir) > 0);
	test_at_end(remove_file, image);
	if (make_fs(type, image, mib, dir))
		return NULL;
	test_at_end(unmount, (void *)dir);
	return dir;
}

const char *mount_ext4(unsigned int mib)
{
	const char *dir = mount_fs("ext4", mib);

	CHECK(dir);
	return dir;
}

const char *mount_xfs(void)
{
	const char *dir = mount_fs("xfs", 320);

	if (!dir)
		SKIP("no xfs");
	return dir;
}

const char *shared_ext4(void)
{
	struct stat here, above;

	mkdir(SHARED_EXT4, 0755);
	CHECK_OK(stat(SHARED_EXT4, &here));
	CHECK_OK(stat(SHARED_EXT4 "/..", &above));
	if (here.st_dev == above.st_dev)
		CHECK_ZERO(make_fs("ext4", SHARED_EXT4 ".img", 64, SHARED_EXT4));
	return SHARED_EXT4;
}

const char *mount_overlay(const char *lower)
{
	const char *layers = mount_tmpfs(), *dir = temp_dir();
	char opts[512], path[128];

	snprintf(path, sizeof(path), "%s/upper", layers);
	CHECK_OK(mkdir(path, 0755));
	snprintf(path, sizeof(path), "%s/work", layers);
	CHECK_OK(mkdir(path, 0755));
	snprintf(opts, sizeof(opts), "lowerdir=%s,upperdir=%s/upper,workdir=%s/work", lower, layers,
		 layers);
	if (mount("fr-test", dir, "overlay", 0, opts))
		return NULL;
	test_at_end(unmount, (void *)dir);
	return dir;
}

void unmount_soon(const char *where)
{
	uint64_t until = now_ms() + 5000;

	while (umount2(where, 0)) {
		if (errno != EBUSY || now_ms() > until)
			FAIL("cannot unmount %s: %m", where);
		sleep_ms(20);
	}
}

int sh(const char *fmt, ...)
{
	char command[2048];
	va_list ap;
	pid_t pid;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	pid = test_fork();
	CHECK_OK(pid);
	if (pid == 0) {
		execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(127);
	}
	return wait_exit(pid);
}

#define GROUP "/sys/fs/cgroup/fr-test"

/* Not by a shell: it would close files of servers that are no more, and wait for them. */
static void leave_memory_group(void *arg)
{
	FILE *from = fopen(GROUP "/cgroup.procs", "r");
	int to = open("/sys/fs/cgroup/cgroup.procs", O_WRONLY | O_CLOEXEC), pid;

	(void)arg;
	while (from && fscanf(from, "%d", &pid) == 1)
		dprintf(to, "%d", pid);
	if (from)
		fclose(from);
	close(to);
	rmdir(GROUP);
}

const char *join_memory_group(const char *limit)
{
	const char *value = limit ? strchr(limit, '=') : NULL;

	if (sh("grep -qw memory /sys/fs/cgroup/cgroup.controllers && "
	       "echo +memory >/sys/fs/cgroup/cgroup.subtree_control && mkdir -p " GROUP))
		SKIP("no memory control groups");
	test_at_end(leave_memory_group, NULL);
	if (value)
		CHECK_ZERO(sh("echo %s >" GROUP "/%.*s", value + 1, (int)(value - limit), limit));
	CHECK_ZERO(sh("echo %d >" GROUP "/cgroup.procs", getpid()));
	return GROUP;
}

void become_nobody(void)
{
	CHECK_OK(setgroups(0, NULL));
	CHECK_OK(setresgid(NOBODY, NOBODY, NOBODY));
	CHECK_OK(setresuid(NOBODY, NOBODY, NOBODY));
}

void drop_capability(int cap)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	CHECK_OK(syscall(SYS_capget, &head, data));
	data[cap / 32].effective &= ~(1u << (cap % 32));
	data[cap / 32].permitted &= ~(1u << (cap % 32));
	data[cap / 32].inheritable = 0;
	CHECK_OK(syscall(SYS_capset, &head, data));
}

void drop_caches(void)
{
	int fd = (int)CHECK_OK(open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC));

	CHECK_EQ(write(fd, "3", 1), 1);
	close(fd);
}

int module_load(void)
{
	int fd = (int)CHECK_OK(open(getenv("FUSE_REGIONS_KO"), O_RDONLY | O_CLOEXEC)), res;

	res = syscall(SYS_finit_module, fd, "", 0) ? -errno : 0;
	close(fd);
	return res;
}

static void load_again(void *arg)
{
	(void)arg;
	module_load();
}

int module_unload(void)
{
	static bool registered;
	const char *file = getenv("FUSE_REGIONS_KO");

	if (!file || access(file, R_OK))
		SKIP("FUSE_REGIONS_KO does not name the module's file");
	if (!registered)
		test_at_end(load_again, NULL);
	registered = true;
	return syscall(SYS_delete_module, "fuse_regions", O_NONBLOCK) ? -errno : 0;
}

static void *thread(void *arg)
{
	struct threads *t = arg;

	while (!__atomic_load_n(&t->stop, __ATOMIC_SEQ_CST)) {
		t->fn(t->arg);
		__atomic_add_fetch(&t->rounds, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

void threads_start(struct threads *t, int nr, void (*fn)(void *arg), void *arg)
{
	*t = (struct threads){ .nr = nr, .fn = fn, .arg = arg };
	CHECK(nr <= MAX_THREADS);
	for (int i = 0; i < nr; i++)
		CHECK_ZERO(pthread_create(&t->tid[i], NULL, thread, t));
}

void threads_progress(struct threads *t, uint64_t more)
{
	uint64_t until = __atomic_load_n(&t->rounds, __ATOMIC_SEQ_CST) + more;

	while (__atomic_load_n(&t->rounds, __ATOMIC_SEQ_CST) < until)
		sleep_ms(1);
}

void threads_stop(struct threads *t)
{
	__atomic_store_n(&t->stop, true, __ATOMIC_SEQ_CST);
	for (int i = 0; i < t->nr; i++)
		CHECK_ZERO(pthread_join(t->tid[i], NULL));
}
