// SPDX-License-Identifier: GPL-2.0
/*
 * Whatever fails for want of memory in attaching, registering, opening and
 * binding: an error comes back, nothing is half done, nothing is left over.
 */
#define _GNU_SOURCE
#include "fault.h"
#include "harness.h"

#define SIZE (48 * PAGE)
#define FILES 400

struct fault_bind {
	struct srv *s;
	struct tfile *f;
	struct backing *b, *c;
	struct fuse_passthrough_region recs[16];
	struct backing *backings[16];
	uint32_t nr;
	int next; /* file that nobody bound to */
	unsigned long live;
	int fd;
};

static struct fault_bind *begin(int nr_files)
{
	struct fault_bind *t = calloc(1, sizeof(*t));
	char name[16];

	t->s = srv_new(NULL);
	for (int i = 0; i < nr_files; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		srv_file(t->s, name, SIZE);
	}
	srv_start(t->s);
	t->f = &t->s->files[0];
	t->b = backing_new(SIZE);
	t->c = backing_new(SIZE);
	srv_register(t->s, t->b);
	srv_register(t->s, t->c);
	fault_begin();
	return t;
}

static long long attach(void *arg)
{
	struct srv *s = arg;
	struct fuse_regions_attach a = raw_attach_arg(s->ctl);

	return raw_attach(&a);
}

/* Detached again by closing the channel; the next round has a new one. */
static void detach(void *arg, long long res)
{
	struct srv *s = arg;

	(void)res;
	close(s->ctl);
	CHECK_SOON(module_param("live_conns") == 0);
	s->ctl = raw_dev_fuse();
	CHECK_ZERO(raw_clone(s->ctl, s->session));
}

TEST(i1_fault_attach)
{
	struct srv *s = srv_new(&(struct srv_opts){ .no_attach = true, .keep_session = true });
	struct tfile *f = srv_file(s, "f", SIZE);
	struct backing *b;

	close(raw_device());
	srv_start(s);
	fault_begin();
	fault_each(attach, detach, s);
	CHECK_ZERO(attach(s));
	close(srv_open(f, O_RDONLY));
	b = backing_new(SIZE);
	srv_register(s, b);
	CHECK_ZERO(region_bind(f, 5, 5000, b, 7, 0));
	expect_file(f, srv_open(f, O_RDONLY), 3 * PAGE);
}

static long long register_backing(void *arg)
{
	struct fault_bind *t = arg;
	int id = raw_backing_open(t->s->ctl, t->c->fd);

	if (id < 0)
		return id;
	return raw_backing_close(t->s->ctl, (uint32_t)id);
}

static void same_backings(void *arg, long long res)
{
	struct fault_bind *t = arg;

	(void)res;
	CHECK_SOON(module_param("live_backings") == t->live);
}

TEST(i2_fault_register)
{
	struct fault_bind *t = begin(1);

	t->live = module_param("live_backings");
	fault_each(register_backing, same_backings, t);
}

/* A file that has no regions yet */
static long long bind_first(void *arg)
{
	struct fault_bind *t = arg;

	CHECK(++t->next < FILES);
	t->f = &t->s->files[t->next];
	close(srv_open(t->f, O_RDONLY));
	return region_bind(t->f, 5000, 3 * PAGE, t->b, 77, 0);
}

/* All or nothing is bound, and what failed works the next time. */
static void reads_as_model(void *arg, long long res)
{
	struct fault_bind *t = arg;
	int fd = srv_open(t->f, O_RDONLY);

	expect_file(t->f, fd, 5 * PAGE);
	if (res < 0) {
		CHECK_ZERO(region_bind(t->f, 6000, 3 * PAGE, t->c, 9, 0));
		expect_file(t->f, fd, 5 * PAGE);
	}
	close(fd);
}

TEST(i4_fault_first_bind)
{
	fault_each(bind_first, reads_as_model, begin(FILES));
}

/* Many small regions, and then messages with many records */
static struct fault_bind *crowded(void)
{
	struct fault_bind *t = begin(1);

	close(srv_open(t->f, O_RDONLY));
	for (uint64_t at = 0; at + 400 < SIZE; at += 500)
		CHECK_ZERO(region_bind(t->f, at, 400, at % 3 ? t->b : t->c, at / 2, 0));
	t->fd = srv_open(t->f, O_RDONLY);
	expect_file(t->f, t->fd, SIZE);
	return t;
}

static long long send_records(void *arg)
{
	struct fault_bind *t = arg;

	return region_send(t->f, t->recs, t->nr, t->backings);
}

static void unchanged(void *arg, long long res)
{
	struct fault_bind *t = arg;

	(void)res;
	expect_file(t->f, t->fd, SIZE);
}

TEST(i4_fault_many_records)
{
	struct fault_bind *t = crowded();

	/* Each of many allocations fails in turn, and after each all of the file is read */
	test_watchdog(550);
	t->nr = ARRAY_SIZE(t->recs);
	for (uint32_t i = 0; i < t->nr; i++) {
		bool unbind = i % 4 == 3;

		t->backings[i] = unbind ? NULL : t->c;
		t->recs[i] = REC(i * 9001 + 77, 2000, unbind ? 0 : t->c->id, unbind ? 0 : i * 100,
				 unbind ? FUSE_REGION_UNBIND
					: FUSE_REGION_READ | FUSE_REGION_REPLACE);
	}
	fault_each(send_records, unchanged, t);
}

TEST(i4_fault_unbind_in_the_middle)
{
	struct fault_bind *t = crowded();

	t->nr = 1;
	t->recs[0] = REC(SIZE / 2 + 33, 5, 0, 0, FUSE_REGION_UNBIND);
	fault_each(send_records, unchanged, t);
}

TEST(i4_fault_unbind_all)
{
	struct fault_bind *t = crowded();

	t->nr = 1;
	t->recs[0] = REC(0, 0, 0, 0, FUSE_REGION_UNBIND);
	fault_each(send_records, unchanged, t);
}

TEST(i4_fault_whole_file)
{
	struct fault_bind *t = crowded();

	t->nr = 1;
	t->backings[0] = t->b;
	t->recs[0] = REC(0, 0, t->b->id, 0, FUSE_REGION_READ | FUSE_REGION_REPLACE);
	fault_each(send_records, unchanged, t);
}

static long long open_file(void *arg)
{
	struct fault_bind *t = arg;
	char path[128];

	srv_path(path, sizeof(path), t->f);
	t->fd = open(path, O_RDONLY);
	return t->fd < 0 ? -errno : 0;
}

/* An open that memory fails fails, or comes out as one of a file that all is right with. */
static void opened(void *arg, long long res)
{
	struct fault_bind *t = arg;

	if (res < 0)
		return;
	expect_file(t->f, t->fd, 7 * PAGE);
	close(t->fd);
}

TEST(l3_fault_open)
{
	struct fault_bind *t = crowded();

	fault_each(open_file, opened, t);
}
