// SPDX-License-Identifier: GPL-2.0
/* I4: a mount of a block device has no regions: its blocks may be smaller than pages. */
#define _GNU_SOURCE
#include "harness.h"

#define SIZE (16 * PAGE)

static void remove_loop(void *dev)
{
	sh("losetup -d %s; rm -f /dev/shm/fr-loop", (char *)dev);
	free(dev);
}

TEST(i4_fuseblk_eopnotsupp)
{
	static char opts[128];
	char *dev = calloc(1, 64);
	struct backing *b;
	struct srv *s;
	struct tfile *f;
	FILE *out;
	int fd;

	if (sh("modprobe -q loop; truncate -s 1M /dev/shm/fr-loop && "
	       "losetup -f --show /dev/shm/fr-loop >/dev/shm/fr-loop.name"))
		SKIP("no loop devices");
	out = fopen("/dev/shm/fr-loop.name", "r");
	CHECK(out && fscanf(out, "%63s", dev) == 1);
	fclose(out);
	unlink("/dev/shm/fr-loop.name");
	test_at_end(remove_loop, dev);
	snprintf(opts, sizeof(opts), "blkdev,fsname=%s", dev);
	s = srv_new(&(struct srv_opts){ .mount_opts = opts });
	f = srv_file(s, "f", SIZE);
	srv_start(s);
	CHECK_ZERO(sh("grep -q '^%s %s fuseblk' /proc/mounts", dev, s->mnt));
	b = backing_new(SIZE);
	srv_register(s, b);
	fd = srv_open(f, O_RDONLY);
	expect_file(f, fd, 3 * PAGE);
	CHECK_NEG(region_bind(f, 0, PAGE, b, 0, 0), EOPNOTSUPP);
	CHECK_NEG(region_bind(f, 0, 0, b, 0, 0), EOPNOTSUPP);
	CHECK_NEG(region_unbind(f, 0, 0), EOPNOTSUPP);
	expect_file(f, fd, 3 * PAGE);
	close(fd);
	srv_stop(s);
}
