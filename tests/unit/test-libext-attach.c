// SPDX-License-Identifier: GPL-2.0
/* How libfuse-regions finds the module, and what it says when it can't use it. */
#include "unit.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fuse_lowlevel.h>
#include <linux/fuse.h>

#include "attach.h"
#include "fuse_regions.h"

/* What the kernel says: 0, or an errno */
static struct {
	int open_module;
	int open_dev_fuse;
	int clone;
	int attach;
	int backing_open;
	uint32_t abi_version; /* with EPROTONOSUPPORT */
	uint64_t features;
	uint32_t max_stack_depth; /* that was asked for */
	unsigned int backing_opened;
	int last_id; /* of backings */
	int closed_id;
} kernel;

/* Descriptors that the library has open: all are of memory */
static int module_fd, fuse_fd;

static int answer(int err)
{
	errno = err;
	return err ? -1 : 0;
}

int attach_open(const char *path, int flags, ...)
{
	ck_assert_int_eq(flags & (O_RDWR | O_CLOEXEC), O_RDWR | O_CLOEXEC);
	if (!strncmp(path, "/proc/self/fd/", 14))
		return open(path, flags);
	if (!strcmp(path, FUSE_REGIONS_DEVICE)) {
		if (kernel.open_module)
			return answer(kernel.open_module);
		module_fd = memfd_create("module", MFD_CLOEXEC);
		return module_fd;
	}
	ck_assert_str_eq(path, "/dev/fuse");
	if (kernel.open_dev_fuse)
		return answer(kernel.open_dev_fuse);
	fuse_fd = memfd_create("fuse", MFD_CLOEXEC);
	return fuse_fd;
}

static int do_attach(struct fuse_regions_attach *attach)
{
	ck_assert_int_eq(attach->fd, fuse_fd);
	ck_assert_uint_eq(attach->abi_version, FUSE_REGIONS_ABI_VERSION);
	kernel.max_stack_depth = attach->max_stack_depth;
	if (kernel.attach == EPROTONOSUPPORT)
		attach->abi_version = kernel.abi_version;
	if (kernel.attach)
		return answer(kernel.attach);
	attach->features = kernel.features;
	attach->max_backings = 3;
	attach->max_regions = 5;
	attach->max_records = 7;
	attach->notify_code = FUSE_NOTIFY_PASSTHROUGH;
	return 0;
}

int attach_ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	switch (request) {
	case FUSE_REGIONS_IOC_ATTACH:
		ck_assert_int_eq(fd, module_fd);
		return do_attach(arg);
	case FUSE_DEV_IOC_CLONE:
		ck_assert_int_eq(fd, fuse_fd);
		return answer(kernel.clone);
	case FUSE_REGIONS_IOC_BACKING_OPEN:
		ck_assert_int_eq(fd, fuse_fd);
		kernel.backing_opened++;
		return answer(kernel.backing_open) ?: ++kernel.last_id;
	case FUSE_REGIONS_IOC_BACKING_CLOSE:
		kernel.closed_id = *(int *)arg;
		return 0;
	}
	ck_abort_msg("ioctl %#lx", request);
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static struct fuse_regions_conn *conn;

/* Each is found once only: nothing stays open of what could not be used. */
static void open_conn(uint32_t depth)
{
	const struct fuse_regions_config config = { .max_stack_depth = depth };

	module_fd = fuse_fd = -1;
	/* Nothing in here looks into a session but for its descriptor */
	ck_assert_int_eq(fuse_regions_open((void *)&kernel, &config, &conn), 0);
	ck_assert(!is_open(module_fd));
}

int fuse_session_fd(struct fuse_session *se)
{
	ck_assert_ptr_eq((void *)se, &kernel);
	return 77;
}

static void user_mode_because(const char *reason)
{
	struct fuse_regions_info info;

	open_conn(0);
	ck_assert(!is_open(fuse_fd));
	ck_assert_int_eq(fuse_regions_mode(conn), FUSE_REGIONS_MODE_USER);
	ck_assert_str_eq(fuse_regions_reason(conn), reason);
	fuse_regions_get_info(conn, &info);
	ck_assert_uint_eq(info.features, 0);
	ck_assert_uint_eq(info.abi_version, 0);
	ck_assert_uint_eq(info.max_records, 16384);
	/* and that works */
	ck_assert_int_eq(fuse_regions_unbind(conn, 5, 0, 0), 0);
	fuse_regions_close(conn);
}

static void setup(void)
{
	memset(&kernel, 0, sizeof(kernel));
	kernel.features = FUSE_REGIONS_FEATURE_READ | FUSE_REGIONS_FEATURE_WRITE;
}

START_TEST(no_module)
{
	static const int errs[] = { ENOENT, ENXIO, ENODEV };

	for (unsigned int i = 0; i < COUNT(errs); i++) {
		kernel.open_module = errs[i];
		user_mode_because("the fuse_regions module is not loaded "
				  "(there is no /dev/fuse_regions)");
	}
}
END_TEST

START_TEST(module_that_may_not_be_opened)
{
	kernel.open_module = EACCES;
	user_mode_because("cannot open /dev/fuse_regions: Permission denied");
}
END_TEST

START_TEST(no_second_dev_fuse)
{
	kernel.open_dev_fuse = EMFILE;
	user_mode_because("cannot open /dev/fuse: Too many open files");
}
END_TEST

START_TEST(session_that_can_not_be_cloned)
{
	kernel.clone = EINVAL;
	user_mode_because("cannot clone the session's /dev/fuse: Invalid argument");
}
END_TEST

START_TEST(attach_that_is_refused)
{
	kernel.attach = EBUSY;
	user_mode_because("cannot attach to the fuse_regions module: Device or resource busy");
}
END_TEST

START_TEST(other_version)
{
	kernel.attach = EPROTONOSUPPORT;
	kernel.abi_version = 9;
	user_mode_because("the fuse_regions module speaks version 9 of the interface, "
			  "this library 1");
}
END_TEST

START_TEST(module_that_does_not_read)
{
	kernel.features = FUSE_REGIONS_FEATURE_WRITE;
	user_mode_because("the fuse_regions module does not serve reads on this kernel");
}
END_TEST

START_TEST(no_privilege_to_register)
{
	kernel.backing_open = EPERM;
	user_mode_because("cannot register files with the kernel: Operation not permitted");
}
END_TEST

START_TEST(asked_not_to_look)
{
	const struct fuse_regions_config config = { .flags = FUSE_REGIONS_USER_MODE };

	module_fd = -1;
	ck_assert_int_eq(fuse_regions_open(NULL, &config, &conn), 0);
	ck_assert_int_eq(module_fd, -1);
	ck_assert_str_eq(fuse_regions_reason(conn), "asked to");
	fuse_regions_close(conn);
}
END_TEST

/* What can't be told now is told when a file is registered. */
START_TEST(trial_that_fails_otherwise)
{
	kernel.backing_open = ENOSPC;
	open_conn(0);
	ck_assert_int_eq(fuse_regions_mode(conn), FUSE_REGIONS_MODE_KERNEL);
	fuse_regions_close(conn);
}
END_TEST

START_TEST(attached)
{
	struct fuse_regions_info info;

	open_conn(2);
	ck_assert(is_open(fuse_fd));
	ck_assert_int_eq(fuse_regions_mode(conn), FUSE_REGIONS_MODE_KERNEL);
	ck_assert_str_eq(fuse_regions_reason(conn), "");
	ck_assert_uint_eq(kernel.max_stack_depth, 2);
	fuse_regions_get_info(conn, &info);
	ck_assert_uint_eq(info.abi_version, FUSE_REGIONS_ABI_VERSION);
	ck_assert_uint_eq(info.features, kernel.features);
	ck_assert_uint_eq(info.max_backings, 3);
	ck_assert_uint_eq(info.max_regions, 5);
	ck_assert_uint_eq(info.max_records, 7);
	/* the one that was registered as a trial is given back */
	ck_assert_int_eq(kernel.closed_id, kernel.last_id);
	ck_assert_uint_eq(info.backings, 0);
	fuse_regions_close(conn);
	ck_assert(!is_open(fuse_fd));
}
END_TEST

/* How many descriptors of @file there are that share its struct file, or do not */
static unsigned int count_descriptors(int file, bool shared)
{
	struct stat wanted, st;
	unsigned int nr = 0;

	ck_assert_int_eq(fstat(file, &wanted), 0);
	ck_assert_int_eq(fcntl(file, F_SETFL, O_RDWR | O_NONBLOCK), 0);
	for (int fd = 0; fd < 256; fd++)
		if (fd != file && fstat(fd, &st) == 0 && st.st_ino == wanted.st_ino &&
		    st.st_dev == wanted.st_dev)
			nr += shared == !!(fcntl(fd, F_GETFL) & O_NONBLOCK);
	return nr;
}

/* The kernel tells each struct file of lost bytes: the library's is not the module's. */
START_TEST(backing_with_a_file_of_its_own)
{
	int file = memfd_create("backing", MFD_CLOEXEC), id;

	open_conn(0);
	kernel.backing_opened = 0;
	id = fuse_regions_backing_open(conn, file);
	ck_assert_int_gt(id, 0);
	ck_assert_uint_eq(kernel.backing_opened, 1);
	ck_assert_uint_eq(count_descriptors(file, true), 0);
	ck_assert_uint_eq(count_descriptors(file, false), 1);
	fuse_regions_close(conn);
	ck_assert_uint_eq(count_descriptors(file, false), 0);
	close(file);
}
END_TEST

/* Does another process find @file locked? */
static bool is_locked(int file)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct flock lock = { .l_type = F_WRLCK };

		_exit(fcntl(file, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WEXITSTATUS(status);
}

/* To close a descriptor ends the process's locks of that file. */
START_TEST(backing_that_is_locked)
{
	int file = memfd_create("backing", MFD_CLOEXEC);
	struct flock lock = { .l_type = F_WRLCK };

	open_conn(0);
	ck_assert_int_eq(fcntl(file, F_SETLK, &lock), 0);
	ck_assert_int_gt(fuse_regions_backing_open(conn, file), 0);
	ck_assert(is_locked(file));
	fuse_regions_close(conn);
	close(file);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("libext attach");

	unit_tcase_with(suite, "user mode", setup, NULL, no_module, module_that_may_not_be_opened,
			no_second_dev_fuse, session_that_can_not_be_cloned, attach_that_is_refused,
			other_version, module_that_does_not_read, no_privilege_to_register,
			asked_not_to_look);
	unit_tcase_with(suite, "kernel mode", setup, NULL, trial_that_fails_otherwise, attached,
			backing_with_a_file_of_its_own, backing_that_is_locked);
	return unit_run(suite);
}
