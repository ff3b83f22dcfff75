// SPDX-License-Identifier: GPL-2.0
/* L2: what is still under way in FUSE's own functions when the module goes. */
#define _GNU_SOURCE
#include <sys/wait.h>

#include "harness.h"

#define SIZE (16 * PAGE)

/*
 * A file that was opened before its server attached is not the module's, though
 * its inode is: a write to it waits for a READ while all that was attached goes.
 */
TEST(l2_unload_beside_a_write_that_waits)
{
	struct srv *s = srv_new(&(struct srv_opts){
		.no_attach = true, .keep_session = true, .writeback = true, .threads = true });
	struct tfile *f = srv_store_file(s, "f", SIZE);
	struct fuse_regions_attach arg;
	struct backing *b;
	pid_t pid;
	int fd;

	close(raw_device());
	srv_start(s);
	fd = srv_open(f, O_RDWR);
	arg = raw_attach_arg(s->ctl);
	CHECK_ZERO(raw_attach(&arg));
	b = backing_new(SIZE);
	srv_register(s, b);
	CHECK_ZERO(region_bind(f, 0, 4 * PAGE, b, 0, RW));
	f->hang = 1u << OP_READ;
	pid = test_fork();
	if (!pid) {
		close(s->ctl);
		CHECK_EQ(pwrite(fd, "some", 4, 9 * PAGE + 10), 4);
		_exit(0);
	}
	srv_until_hanging(f);
	srv_close_ctl(s);
	CHECK_ZERO(module_unload());
	sleep_ms(100);
	f->hang = 0;
	CHECK_EQ(wait_exit(pid), 0);
	close(fd);
	CHECK_ZERO(module_load());
}
