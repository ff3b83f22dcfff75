// SPDX-License-Identifier: GPL-2.0
/* I4: bind, replace and unbind, and each errno of a record. */
#define _GNU_SOURCE
#include "harness.h"

#define SIZE (64 * PAGE)
#define MAXLEN ((uint64_t)INT64_MAX) /* one past the last byte a file can have */

/* A file that is in the cache, with a region in the middle and one registered backing */
static struct backing *b;

static struct tfile *bound_file(void)
{
	struct tfile *f = srv_simple(SIZE);

	b = backing_new(SIZE);
	close(srv_open(f, O_RDONLY));
	srv_register(f->srv, b);
	CHECK_ZERO(region_bind(f, 2 * PAGE, 8 * PAGE, b, 0, 0));
	return f;
}

static void expect_all(struct tfile *f)
{
	int fd = srv_open(f, O_RDONLY);

	expect_file(f, fd, SIZE / 2 + 1);
	close(fd);
}

/* One record must fail so, and change nothing */
static void refused_in(struct tfile *f, int err, struct fuse_passthrough_region rec)
{
	CHECK_NEG(region_msg(f->srv->ctl, f->nodeid, &rec, 1), err);
	expect_all(f);
}

static void refused(int err, uint64_t off, uint64_t len, uint32_t id, uint64_t boff, uint32_t flags)
{
	struct tfile *f = bound_file();

	refused_in(f, err, REC(off, len, id ?: b->id, boff, flags));
}

TEST(i4_bind_overlap_eexist)
{
	struct tfile *f = bound_file();
	static const struct {
		uint64_t off, len;
	} overlaps[] = {
		{ 2 * PAGE, 8 * PAGE },
		{ 2 * PAGE, 1 },
		{ 10 * PAGE - 1, 1 },
		{ 5 * PAGE, PAGE },
		{ 0, 2 * PAGE + 1 },
		{ 10 * PAGE - 1, PAGE },
		{ 0, SIZE },
		{ 0, 0 },
		{ 1, MAXLEN - 1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(overlaps); i++)
		CHECK_NEG(region_bind(f, overlaps[i].off, overlaps[i].len, b, 0, 0), EEXIST);
	expect_all(f);
}

TEST(i4_bind_touching_ok)
{
	struct tfile *f = bound_file();

	CHECK_ZERO(region_bind(f, PAGE, PAGE, b, 9, 0));
	CHECK_ZERO(region_bind(f, 10 * PAGE, 1, b, 11, 0));
	CHECK_ZERO(region_bind(f, 0, PAGE, b, 13, 0));
	expect_all(f);
}

TEST(i4_bind_length_zero_einval)
{
	refused(EINVAL, 1, 0, 0, 0, FUSE_REGION_READ);
	refused(EINVAL, PAGE, 0, 0, 0, FUSE_REGION_READ | FUSE_REGION_REPLACE);
}

TEST(i4_unbind_length_zero_einval)
{
	refused_in(bound_file(), EINVAL, REC(PAGE, 0, 0, 0, FUSE_REGION_UNBIND));
}

TEST(i4_bind_wraps_einval)
{
	refused(EINVAL, UINT64_MAX - 10, 20, 0, 0, FUSE_REGION_READ);
	refused(EINVAL, 20 * PAGE, UINT64_MAX, 0, 0, FUSE_REGION_READ);
	refused(EINVAL, 1ull << 63, 1ull << 63, 0, 0, FUSE_REGION_READ);
	refused(EINVAL, UINT64_MAX, 1, 0, 0, FUSE_REGION_READ);
}

TEST(i4_bind_past_largest_size_einval)
{
	refused(EINVAL, MAXLEN, 1, 0, 0, FUSE_REGION_READ);
	refused(EINVAL, MAXLEN - 1, 2, 0, 0, FUSE_REGION_READ);
	refused(EINVAL, 20 * PAGE, MAXLEN - 20 * PAGE + 1, 0, 0, FUSE_REGION_READ);
}

TEST(i4_bind_to_largest_size_ok)
{
	struct tfile *f = bound_file();

	CHECK_ZERO(region_bind(f, MAXLEN - 1, 1, b, 0, 0));
	CHECK_ZERO(region_bind(f, 20 * PAGE, MAXLEN - 1 - 20 * PAGE, b, 0, 0));
	expect_all(f);
}

TEST(i4_bind_past_backings_largest_einval)
{
	refused(EINVAL, 20 * PAGE, 1, 0, MAXLEN, FUSE_REGION_READ);
	refused(EINVAL, 20 * PAGE, PAGE, 0, MAXLEN - PAGE + 1, FUSE_REGION_READ);
	refused(EINVAL, 20 * PAGE, PAGE, 0, UINT64_MAX - 5, FUSE_REGION_READ);
}

/* Not past the largest that a file can be where this backing is, either */
TEST(i4_bind_past_the_backings_file_system_einval)
{
	struct tfile *f = bound_file();
	struct backing *disk = backing_new_in(shared_ext4(), PAGE);
	uint64_t most = backing_limit(disk);

	note("a file on ext4 has at most %#llx bytes", (unsigned long long)most);
	CHECK(most > 2 * PAGE && most < MAXLEN - 1);
	srv_register(f->srv, disk);
	CHECK_ZERO(region_bind(f, 20 * PAGE, PAGE, disk, most - PAGE, 0));
	CHECK_NEG(region_bind(f, 30 * PAGE, PAGE, disk, most - PAGE + 1, 0), EINVAL);
	CHECK_NEG(region_bind(f, 20 * PAGE, PAGE + 1, disk, most - PAGE, FUSE_REGION_REPLACE),
		  EINVAL);
	CHECK_NEG(region_bind(f, 30 * PAGE, 1, disk, most, 0), EINVAL);
	CHECK_ZERO(region_bind(f, 30 * PAGE, 1, disk, most - 1, 0));
	expect_all(f);
}

TEST(i4_unbind_past_largest_size_einval)
{
	refused_in(bound_file(), EINVAL, REC(PAGE, MAXLEN, 0, 0, FUSE_REGION_UNBIND));
	refused_in(bound_file(), EINVAL, REC(UINT64_MAX, 2, 0, 0, FUSE_REGION_UNBIND));
}

TEST(i4_record_reserved_einval)
{
	struct tfile *f = bound_file();
	struct fuse_passthrough_region rec = REC(20 * PAGE, 1, b->id, 0, FUSE_REGION_READ);

	rec.reserved = 1;
	refused_in(f, EINVAL, rec);
	rec.reserved = 1ull << 63;
	refused_in(f, EINVAL, rec);
}

TEST(i4_unknown_flag_einval)
{
	struct tfile *f = bound_file();

	for (int bit = 5; bit < 32; bit++) {
		struct fuse_passthrough_region rec =
			REC(20 * PAGE, 1, b->id, 0, FUSE_REGION_READ | 1u << bit);

		CHECK_NEG(region_msg(f->srv->ctl, f->nodeid, &rec, 1), EINVAL);
	}
	expect_all(f);
}

TEST(i4_no_access_einval)
{
	refused(EINVAL, 20 * PAGE, 1, 0, 0, 0);
	refused(EINVAL, 20 * PAGE, 1, 0, 0, FUSE_REGION_REPLACE);
	refused(EINVAL, 20 * PAGE, 1, 0, 0, FUSE_REGION_GROW);
	refused(EINVAL, 20 * PAGE, 1, 0, 0, FUSE_REGION_READ | FUSE_REGION_GROW);
}

TEST(i4_unbind_with_other_flags_einval)
{
	static const uint32_t others[] = { FUSE_REGION_READ, FUSE_REGION_WRITE, FUSE_REGION_GROW,
					   FUSE_REGION_REPLACE };

	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		refused_in(bound_file(), EINVAL,
			   REC(2 * PAGE, PAGE, 0, 0, FUSE_REGION_UNBIND | others[i]));
}

TEST(i4_unbind_with_backing_einval)
{
	refused(EINVAL, 2 * PAGE, PAGE, 1, 0, FUSE_REGION_UNBIND);
	refused_in(bound_file(), EINVAL, REC(2 * PAGE, PAGE, 0, 1, FUSE_REGION_UNBIND));
}

/* What can be read or written only by the calls of old can't be here. */
TEST(i4_bind_without_iter_ebadf)
{
	struct tfile *f = bound_file();
	int fd = open("/sys/kernel/tracing/trace", O_RDWR);
	struct backing *trace = backing_from_fd(fd);
	int id;

	if (fd < 0)
		SKIP("no tracing/trace: %m");
	id = raw_backing_open(f->srv->ctl, fd);
	if (id < 0)
		SKIP("it can't be a backing: %s", strerror(-id));
	trace->id = (uint32_t)id;
	CHECK_NEG(region_bind(f, 20 * PAGE, PAGE, trace, 0, RW), EBADF);
	CHECK_NEG(region_bind(f, 20 * PAGE, PAGE, trace, 0, FUSE_REGION_WRITE), EBADF);
	expect_all(f);
}

/* It would be written to anywhere. */
TEST(i4_bind_append_only_eperm)
{
	const char *dir = shared_ext4();
	struct tfile *f = bound_file();
	struct backing *log;
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/append-only", dir);
	fd = (int)CHECK_OK(open(path, O_RDWR | O_CREAT | O_APPEND, 0600));
	if (sh("chattr +a %s", path))
		SKIP("no chattr");
	log = backing_from_fd(fd);
	srv_register(f->srv, log);
	CHECK_NEG(region_bind(f, 20 * PAGE, PAGE, log, 0, RW), EPERM);
	CHECK_ZERO(region_bind(f, 20 * PAGE, PAGE, log, 0, FUSE_REGION_READ));
	expect_all(f);
	CHECK_ZERO(sh("chattr -a %s && rm %s", path, path));
}

TEST(i4_bind_unknown_backing_enoent)
{
	struct tfile *f = bound_file();

	refused_in(f, ENOENT, REC(20 * PAGE, 1, b->id + 1, 0, FUSE_REGION_READ));
	refused_in(f, ENOENT, REC(20 * PAGE, 1, UINT32_MAX, 0, FUSE_REGION_READ));
	refused_in(f, ENOENT, REC(20 * PAGE, 1, 1u << 31, 0, FUSE_REGION_READ));
}

TEST(i4_bind_backing_zero)
{
	struct tfile *f = bound_file();
	struct fuse_passthrough_region rec = REC(20 * PAGE, 1, 0, 0, FUSE_REGION_READ);
	int res = region_msg(f->srv->ctl, f->nodeid, &rec, 1);

	if (res != -EINVAL && res != -ENOENT)
		FAIL("bind to backing 0: %d", res);
	expect_all(f);
}

TEST(i4_bind_write_to_read_only_backing_ebadf)
{
	struct tfile *f = bound_file();
	int ro = backing_reopen(b, O_RDONLY), id = raw_backing_open(f->srv->ctl, ro);

	CHECK(id > 0);
	refused_in(f, EBADF, REC(20 * PAGE, 1, (uint32_t)id, 0, FUSE_REGION_WRITE));
	refused_in(f, EBADF,
		   REC(20 * PAGE, 1, (uint32_t)id, 0, FUSE_REGION_READ | FUSE_REGION_WRITE));
}

TEST(i4_bind_read_of_write_only_backing_ebadf)
{
	struct tfile *f = bound_file();
	int wo = backing_reopen(b, O_WRONLY), id = raw_backing_open(f->srv->ctl, wo);

	CHECK(id > 0);
	refused_in(f, EBADF, REC(20 * PAGE, 1, (uint32_t)id, 0, FUSE_REGION_READ));
	refused_in(f, EBADF,
		   REC(20 * PAGE, 1, (uint32_t)id, 0, FUSE_REGION_READ | FUSE_REGION_WRITE));
}

TEST(i4_bind_write_only_region_ok)
{
	struct tfile *f = bound_file();
	int wo = backing_reopen(b, O_WRONLY);

	b->id = (uint32_t)raw_backing_open(f->srv->ctl, wo);
	CHECK_ZERO(region_bind(f, 20 * PAGE, 5 * PAGE, b, 0, FUSE_REGION_WRITE));
	expect_all(f);
}

TEST(i4_directory_eopnotsupp)
{
	struct tfile *f = bound_file();
	struct fuse_passthrough_region rec = REC(0, 1, b->id, 0, FUSE_REGION_READ);

	CHECK_NEG(region_msg(f->srv->ctl, FUSE_ROOT_ID, &rec, 1), EOPNOTSUPP);
}

static void not_regular(mode_t mode)
{
	struct srv *s = srv_new(NULL);
	struct tfile *f = srv_file(s, "f", 0);
	struct stat st;
	char path[128];

	f->mode = mode | 0644;
	srv_start(s);
	b = backing_new(PAGE);
	srv_register(s, b);
	srv_path(path, sizeof(path), f);
	CHECK_OK(lstat(path, &st));
	CHECK_EQ(st.st_mode & S_IFMT, mode);
	CHECK_NEG(region_bind(f, 0, 10, b, 0, 0), EOPNOTSUPP);
	CHECK_NEG(region_unbind(f, 0, 0), EOPNOTSUPP);
}

TEST(i4_fifo_eopnotsupp)
{
	not_regular(S_IFIFO);
}

TEST(i4_symlink_eopnotsupp)
{
	not_regular(S_IFLNK);
}

TEST(i4_socket_eopnotsupp)
{
	not_regular(S_IFSOCK);
}

TEST(i4_device_eopnotsupp)
{
	not_regular(S_IFCHR);
}

TEST(i4_mainline_passthrough_ebusy)
{
	struct srv *s = srv_new(&(struct srv_opts){ .mainline = 1 });
	struct tfile *f = srv_store_file(s, "f", SIZE), *g = srv_file(s, "g", SIZE);
	int fd;

	f->mainline = true;
	srv_start(s);
	b = backing_new(SIZE);
	srv_register(s, b);
	fd = srv_open(f, O_RDWR);
	expect_file(f, fd, PAGE);
	if (srv_count(f, OP_READ))
		SKIP("this kernel has no mainline passthrough");
	CHECK_NEG(region_bind(f, 0, PAGE, b, 0, 0), EBUSY);
	expect_file(f, fd, PAGE);
	close(fd);
	/* Files of the same server that are not in that mode take regions. */
	fd = srv_open(g, O_RDONLY);
	CHECK_ZERO(region_bind(g, 100, PAGE, b, 0, 0));
	expect_file(g, fd, 10000);
}

TEST(i4_replace_cuts_in_two)
{
	struct tfile *f = bound_file();
	struct backing *other = backing_new(SIZE);

	srv_register(f->srv, other);
	CHECK_ZERO(region_bind(f, 4 * PAGE + 11, 3000, other, 500, FUSE_REGION_REPLACE));
	expect_all(f);
	/* over both edges of the older ones, and a gap */
	CHECK_ZERO(region_bind(f, 9 * PAGE, 3 * PAGE, other, 1, FUSE_REGION_REPLACE));
	CHECK_ZERO(region_bind(f, 0, 3 * PAGE, other, 2, FUSE_REGION_REPLACE));
	expect_all(f);
	/* many at once */
	CHECK_ZERO(region_bind(f, 1, SIZE - 2, other, 3, FUSE_REGION_REPLACE));
	expect_all(f);
}

TEST(i4_replace_where_nothing_is)
{
	struct tfile *f = bound_file();

	CHECK_ZERO(region_bind(f, 30 * PAGE, PAGE, b, 1, FUSE_REGION_REPLACE));
	expect_all(f);
}

TEST(i4_unbind_cuts)
{
	struct tfile *f = bound_file();
	static const struct {
		uint64_t off, len;
	} cuts[] = {
		{ 5 * PAGE + 1, 1 }, { 2 * PAGE, 10 },	 { 10 * PAGE - 3, 3 },
		{ 4 * PAGE - 1, 2 }, { 6 * PAGE, PAGE }, { 0, 2 * PAGE + 100 },
		{ 9 * PAGE, SIZE },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cuts); i++) {
		CHECK_ZERO(region_unbind(f, cuts[i].off, cuts[i].len));
		expect_all(f);
	}
}

TEST(i4_unbind_of_nothing_ok)
{
	struct tfile *f = bound_file();

	CHECK_ZERO(region_unbind(f, 20 * PAGE, PAGE));
	CHECK_ZERO(region_unbind(f, MAXLEN - 1, 1));
	expect_all(f);
	/* nor is an inode that never had a region an error */
	f = srv_simple(PAGE);
	close(srv_open(f, O_RDONLY));
	CHECK_ZERO(region_unbind(f, 0, 0));
	CHECK_ZERO(region_unbind(f, 5, 5));
	expect_all(f);
}

TEST(i4_unbind_everything)
{
	struct tfile *f = bound_file();

	for (uint64_t i = 0; i < 20; i++)
		CHECK_ZERO(region_bind(f, (12 + i) * PAGE, 3000, b, i * 17, 0));
	expect_all(f);
	CHECK_ZERO(region_unbind(f, 0, 0));
	f->asked_bound = 0;
	expect_all(f);
	CHECK_ZERO(region_bind(f, 0, SIZE, b, 0, 0));
	expect_all(f);
}

/* Records are applied in their order: later ones see what earlier ones did. */
TEST(i4_records_in_order)
{
	struct tfile *f = bound_file();
	struct backing *c = backing_new(SIZE);
	struct backing *bs[] = { b, NULL, c, c, NULL };
	struct fuse_passthrough_region recs[5];

	srv_register(f->srv, c);
	recs[0] = REC(20 * PAGE, 4 * PAGE, b->id, 3, FUSE_REGION_READ);
	recs[1] = REC(21 * PAGE, PAGE, 0, 0, FUSE_REGION_UNBIND);
	recs[2] = REC(21 * PAGE + 10, 100, c->id, 5, FUSE_REGION_READ);
	recs[3] = REC(3 * PAGE, 30 * PAGE, c->id, 77, FUSE_REGION_READ | FUSE_REGION_REPLACE);
	recs[4] = REC(22 * PAGE, 1, 0, 0, FUSE_REGION_UNBIND);
	CHECK_ZERO(region_send(f, recs, 5, bs));
	expect_all(f);
}

TEST(i4_same_backing_many_times)
{
	struct tfile *f = bound_file();

	for (uint64_t i = 0; i < 30; i++)
		CHECK_ZERO(region_bind(f, 20 * PAGE + i * 2000, 2000, b, 5, 0));
	expect_all(f);
}
