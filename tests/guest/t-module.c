// SPDX-License-Identifier: GPL-2.0
/* L2, L3, G6: loading and unloading the module, and FUSE without it. */
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
	sleep_ms((unsigned int)rnd_below(100));
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
struct attempts {
	uint64_t refused, done;
};

static void try_unload(void *arg)
{
	struct attempts *a = arg;

	if (module_unload()) {
		__atomic_add_fetch(&a->refused, 1, __ATOMIC_SEQ_CST);
		sleep_ms(1);
		return;
	}
	module_load();
	__atomic_add_fetch(&a->done, 1, __ATOMIC_SEQ_CST);
	/* it takes long; others want to live, too */
	sleep_ms((unsigned int)rnd_below(100));
}

/* The device's descriptor, when the module comes within a second; else -1 */
static int device_soon(void)
{
	int dev = -1;

	for (uint64_t until = now_ms() + 1000; dev < 0 && now_ms() < until;) {
		dev = open(FUSE_REGIONS_DEVICE, O_RDWR | O_CLOEXEC);
		if (dev < 0)
			sleep_ms(5);
	}
	return dev;
}

/* False: the module was not there, or went between the two calls. */
static bool attached_life(struct backing *b, bool detach)
{
	struct srv *s = srv_new(&(struct srv_opts){ .no_attach = true });
	struct tfile *f = srv_file(s, "f", SIZE);
	struct fuse_regions_attach a;
	int dev, fd, res = -1;

	srv_start(s);
	a = raw_attach_arg(s->ctl);
	dev = device_soon();
	if (dev >= 0) {
		res = ioctl(dev, FUSE_REGIONS_IOC_ATTACH, &a);
		close(dev);
	}
	if (!res) {
		/* for now only the channel keeps the module; later the file does, too */
		sleep_ms((unsigned int)rnd_below(30));
		srv_register(s, b);
		fd = srv_open(f, O_RDONLY);
		CHECK_ZERO(region_bind(f, 9, 9000, b, 0, 0));
		sleep_ms((unsigned int)rnd_below(30));
		if (detach)
			srv_close_ctl(s);
		expect_read(f, fd, 0, SIZE);
		close(fd);
	}
	srv_kill(s);
	CHECK_OK(umount2(s->mnt, MNT_DETACH));
	s->mounted = false;
	return !res;
}

TEST(l2_unload_at_any_moment)
{
	const uint64_t enough = test_scaled(4), until = now_ms() + test_storm_ms(60000);
	struct backing *b = backing_new(SIZE);
	struct attempts attempts = { 0 };
	struct threads threads;
	uint64_t served = 0;

	close(raw_device());
	unload_allowed();
	CHECK_ZERO(module_load());
	threads_start(&threads, 1, try_unload, &attempts);
	for (int n = 0; served < enough || attempts.refused < 3 * enough || !attempts.done; n++) {
		if (now_ms() > until)
			break;
		served += attached_life(b, n % 2);
	}
	threads_stop(&threads);
	note("%llu attached lives, %llu times refused, %llu times unloaded",
	     (unsigned long long)served, (unsigned long long)attempts.refused,
	     (unsigned long long)attempts.done);
	CHECK(served >= enough);
	CHECK(attempts.refused >= 3 * enough);
	CHECK(attempts.done > 0);
}

/* Type information, as the kernel has it in a file */
struct btf {
	const char *path;
	unsigned char *bytes;
	size_t len;
};

#define BTF_COPY "/dev/shm/fr-btf"

/* False: there is no such file. */
static bool btf_read(struct btf *btf, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	const size_t most = 64 * MIB;
	ssize_t n;

	*btf = (struct btf){ .path = path };
	if (fd < 0)
		return false;
	btf->bytes = malloc(most);
	CHECK(btf->bytes);
	while ((n = CHECK_OK(read(fd, btf->bytes + btf->len, most - btf->len))))
		btf->len += (size_t)n;
	close(fd);
	return true;
}

/* Where @name is, all of a string, in FUSE's own if it is a module; what it says in @btf is in @at */
static void btf_find(struct btf *btf, const char *name, size_t *at)
{
	static const char *const paths[] = { "/sys/kernel/btf/fuse", "/sys/kernel/btf/vmlinux" };
	char string[64] = "";
	unsigned char *p;

	strcpy(string + 1, name);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		if (!btf_read(btf, paths[i]))
			continue;
		p = memmem(btf->bytes, btf->len, string, strlen(name) + 2);
		if (p) {
			*at = (size_t)(p + 1 - btf->bytes);
			return;
		}
		free(btf->bytes);
	}
	FAIL("the kernel's type information does not know %s", name);
}

static void unmount_copy(void *arg)
{
	umount2(arg, MNT_DETACH);
	unlink(BTF_COPY);
}

/* What the kernel said since @kmsg was last read */
static bool kernel_said(int kmsg, const char *what)
{
	char line[1024];
	bool said = false;
	ssize_t n;

	while ((n = read(kmsg, line, sizeof(line) - 1)) > 0 || errno == EPIPE) {
		line[n > 0 ? n : 0] = 0;
		said |= strstr(line, "fuse_regions: ") && strstr(line, what);
	}
	return said;
}

/* With @btf's byte at @at another one, the module must not load, and say why. */
static void refused_because(struct btf *btf, size_t at, const char *why)
{
	int kmsg = (int)CHECK_OK(open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC));
	int fd = (int)CHECK_OK(open(BTF_COPY, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600));

	btf->bytes[at] ^= 1;
	CHECK_EQ(write(fd, btf->bytes, btf->len), btf->len);
	close(fd);
	free(btf->bytes);
	CHECK_OK(lseek(kmsg, 0, SEEK_END));
	CHECK_OK(mount(BTF_COPY, btf->path, NULL, MS_BIND, NULL));
	test_at_end(unmount_copy, (void *)btf->path);
	CHECK_NEG(module_load(), EOPNOTSUPP);
	if (!kernel_said(kmsg, why))
		FAIL("the kernel's log does not say: %s", why);
	test_not_at_end(unmount_copy, (void *)btf->path);
	unmount_copy((void *)btf->path);
	CHECK_ERR(open(FUSE_REGIONS_DEVICE, O_RDWR), ENOENT);
	close(kmsg);
}

/* A FUSE whose layout is another one is never guessed at. */
TEST(l3_load_refuses_what_it_does_not_know)
{
	struct btf btf;
	size_t at;

	close(raw_device());
	unload_allowed();
	btf_find(&btf, "inval_mask", &at);
	refused_because(&btf, at, "struct fuse_inode has no usable member inval_mask");
	btf_find(&btf, "fuse_evict_inode", &at);
	refused_because(&btf, at, "fuse_evict_inode() is missing");
	CHECK(btf_read(&btf, "/sys/kernel/btf/vmlinux"));
	refused_because(&btf, 0, "cannot read the kernel's type information");
	CHECK_ZERO(module_load());
	close(raw_device());
}

static void ftrace_on(void *arg)
{
	(void)arg;
	CHECK_ZERO(sh("sysctl -q kernel.ftrace_enabled=1"));
}

/* Newer kernels do not let it be switched off. */
TEST(l3_load_says_that_ftrace_is_off)
{
	int kmsg = (int)CHECK_OK(open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC));

	close(raw_device());
	unload_allowed();
	if (sh("sysctl -q kernel.ftrace_enabled=0"))
		SKIP("ftrace can't be switched off");
	test_at_end(ftrace_on, NULL);
	CHECK_OK(lseek(kmsg, 0, SEEK_END));
	CHECK_NEG(module_load(), EBUSY);
	CHECK(kernel_said(kmsg, "is ftrace switched off"));
	test_not_at_end(ftrace_on, NULL);
	ftrace_on(NULL);
	CHECK_ZERO(module_load());
	close(raw_device());
	close(kmsg);
}
