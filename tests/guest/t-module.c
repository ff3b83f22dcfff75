// SPDX-License-Identifier: GPL-2.0
/* L2, G6: loading and unloading the module, and FUSE without it. */
#define _GNU_SOURCE
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>

#include "harness.h"

#define SIZE (32 * PAGE)

/* Refused for as long as something uses it: the two errnos that there are for this */
static void unload_refused(void)
{
	int res = module_unload();

	if (res != -EWOULDBLOCK && res != -EBUSY)
		FAIL("unloading the module: %d", res);
}

/* References may be dropped a moment after the call that let go of them. */
static void unload_allowed(void)
{
	uint64_t until = now_ms() + 5000;
	int res;

	while ((res = module_unload()) && now_ms() < until)
		sleep_ms(20);
	if (res)
		FAIL("the module can't be unloaded: %d", res);
}

TEST(l2_unload_and_load)
{
	close(raw_device());
	unload_allowed();
	CHECK_ERR(open(FUSE_REGIONS_DEVICE, O_RDWR), ENOENT);
	CHECK_ZERO(module_load());
	close(raw_device());
	CHECK_NEG(module_load(), EEXIST);
}

/* The very first thing that a module sees is a region, of a file that nobody opened yet. */
TEST(l2_bind_before_any_open)
{
	struct srv *s = srv_new(&(struct srv_opts){ .no_attr_cache = true });
	struct tfile *f = srv_file(s, "f", SIZE);
	struct backing *b = backing_new(SIZE);
	struct stat st;
	char path[128];

	close(raw_device());
	unload_allowed();
	CHECK_ZERO(module_load());
	srv_start(s);
	srv_register(s, b);
	srv_path(path, sizeof(path), f);
	CHECK_OK(stat(path, &st));
	CHECK_ZERO(region_bind(f, 5, 5000, b, 0, 0));
	CHECK_OK(truncate(path, SIZE - 5));
	expect_file(f, srv_open(f, O_RDONLY), 3 * PAGE);
}

TEST(l2_refused_while_the_device_is_open)
{
	int dev = raw_device();

	unload_refused();
	close(dev);
	unload_allowed();
}

TEST(l2_refused_while_attached)
{
	struct tfile *f = srv_simple(SIZE);

	unload_refused();
	srv_close_ctl(f->srv);
	unload_allowed();
	/* the mount goes on without it */
	expect_file(f, srv_open(f, O_RDONLY), 3 * PAGE);
}

TEST(l2_refused_while_adopted_file_is_open)
{
	struct tfile *f = srv_simple(SIZE);
	struct backing *b = backing_new(SIZE);
	int fd = srv_open(f, O_RDONLY);

	srv_register(f->srv, b);
	CHECK_ZERO(region_bind(f, 5, 5000, b, 0, 0));
	srv_close_ctl(f->srv);
	unload_refused();
	expect_read(f, fd, 0, SIZE);
	close(fd);
	unload_allowed();
	model_unbind(f->model, 0, 0);
	expect_file(f, srv_open(f, O_RDONLY), 3 * PAGE);
}

TEST(l2_refused_while_mapped)
{
	struct tfile *f = srv_simple(SIZE);
	struct backing *b = backing_new(SIZE);
	int fd = srv_open(f, O_RDONLY);
	unsigned char *p;

	srv_register(f->srv, b);
	CHECK_ZERO(region_bind(f, 3 * PAGE, 5000, b, 0, 0));
	p = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	close(fd);
	srv_close_ctl(f->srv);
	unload_refused();
	expect_content(f, "mmap", 0, p, SIZE);
	munmap(p, SIZE);
	unload_allowed();
}

/* A mapping of the backing itself may or may not need the module; it works either way. */
TEST(l2_mapping_of_the_backing)
{
	struct tfile *f = srv_simple(SIZE);
	struct backing *b = backing_new(SIZE);
	int fd = srv_open(f, O_RDONLY), res;
	unsigned char *p;

	srv_register(f->srv, b);
	CHECK_ZERO(region_bind(f, 0, SIZE, b, 0, 0));
	p = mmap(NULL, 8 * PAGE, PROT_READ, MAP_SHARED, fd, PAGE);
	CHECK(p != MAP_FAILED);
	close(fd);
	srv_close_ctl(f->srv);
	sleep_ms(100);
	res = module_unload();
	note("unloading under a mapping of the backing: %d", res);
	expect_content(f, "mmap", PAGE, p, 8 * PAGE);
	munmap(p, 8 * PAGE);
	if (res)
		unload_allowed();
}

TEST(l2_allowed_after_the_servers_death)
{
	struct tfile *f = srv_simple(SIZE);
	struct backing *b = backing_new(SIZE);
	int fd = srv_open(f, O_RDONLY);

	srv_register(f->srv, b);
	CHECK_ZERO(region_bind(f, 0, SIZE, b, 0, 0));
	srv_kill(f->srv);
	unload_refused();
	expect_read(f, fd, 0, SIZE);
	close(fd);
	unload_allowed();
	CHECK_OK(umount2(f->srv->mnt, 0));
	f->srv->mounted = false;
}

/* Another FUSE mount is used all the time; files of it are open across the reloads. */
struct load {
	struct tfile *f;
	int fd;
};

static void use_plain_mount(void *arg)
{
	struct load *load = arg;
	uint64_t off = rnd_below(SIZE - PAGE);
	unsigned char buf[PAGE];
	char path[128];
	struct stat st;
	int fd;

	CHECK_EQ(pread(load->fd, buf, PAGE, (off_t)off), PAGE);
	CHECK_EQ(pattern_differs(buf, load->f->seed, off, PAGE), PAGE);
	fd = srv_open(load->f, O_RDONLY | (rnd_below(2) ? O_DIRECT : 0));
	CHECK_EQ(pread(fd, buf, PAGE, (off_t)off), PAGE);
	CHECK_EQ(pattern_differs(buf, load->f->seed, off, PAGE), PAGE);
	close(fd);
	srv_path(path, sizeof(path), load->f);
	CHECK_OK(stat(path, &st));
	sleep_ms(1);
}

static void reload_under_load(bool attached)
{
	struct srv *plain = srv_new(&(struct srv_opts){ .no_attach = true });
	struct load load = { .f = srv_file(plain, "f", SIZE) };
	uint64_t until = now_ms() + test_storm_ms(40000);
	struct threads threads;
	unsigned int n;

	close(raw_device());
	srv_start(plain);
	load.fd = srv_open(load.f, O_RDONLY);
	threads_start(&threads, 2, use_plain_mount, &load);
	for (n = 0; n < (attached ? 10 : 100) && (n < 5 || now_ms() < until); n++) {
		if (attached) {
			struct tfile *f = srv_simple(SIZE);
			struct backing *b = backing_new(SIZE);
			int fd = srv_open(f, O_RDONLY);

			srv_register(f->srv, b);
			CHECK_ZERO(region_bind(f, 5, 5000, b, 0, 0));
			expect_read(f, fd, 0, 4 * PAGE);
			close(fd);
			srv_kill(f->srv);
			CHECK_OK(umount2(f->srv->mnt, MNT_DETACH));
			f->srv->mounted = false;
		}
		unload_allowed();
		CHECK_ZERO(module_load());
	}
	threads_stop(&threads);
	note("%u reloads, %llu rounds of use", n, (unsigned long long)threads.rounds);
	CHECK(threads.rounds);
}

TEST(l2_100_reloads_under_load)
{
	reload_under_load(false);
}

TEST(l2_reloads_with_attached_servers)
{
	reload_under_load(true);
}

/* Tried at every moment of an attached server's life: refused or done, never harmful */
static void try_unload(void *arg)
{
	(void)arg;
	if (module_unload() == 0)
		module_load();
	sleep_ms(1);
}

TEST(l2_unload_at_any_moment)
{
	uint64_t until = now_ms() + test_storm_ms(4000);
	struct backing *b = backing_new(SIZE);
	struct threads threads;
	unsigned int served = 0;

	close(raw_device());
	threads_start(&threads, 1, try_unload, NULL);
	for (int n = 0; now_ms() < until; n++) {
		struct srv *s = srv_new(&(struct srv_opts){ .no_attach = true });
		struct tfile *f = srv_file(s, "f", SIZE);
		struct fuse_regions_attach a;
		int dev, fd;

		srv_start(s);
		a = raw_attach_arg(s->ctl);
		dev = open(FUSE_REGIONS_DEVICE, O_RDWR | O_CLOEXEC);
		if (dev >= 0 && ioctl(dev, FUSE_REGIONS_IOC_ATTACH, &a) == 0) {
			close(dev);
			dev = -1;
			srv_register(s, b);
			fd = srv_open(f, O_RDONLY);
			CHECK_ZERO(region_bind(f, 9, 9000, b, 0, 0));
			if (n % 2)
				srv_close_ctl(s);
			expect_read(f, fd, 0, SIZE);
			close(fd);
			served++;
		}
		if (dev >= 0)
			close(dev);
		srv_kill(s);
		CHECK_OK(umount2(s->mnt, MNT_DETACH));
		s->mounted = false;
	}
	threads_stop(&threads);
	note("%u attached lives, %llu attempts", served, (unsigned long long)threads.rounds);
}
