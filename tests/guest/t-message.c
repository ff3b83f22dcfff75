// SPDX-License-Identifier: GPL-2.0
/* I3: the notification's bytes, and that the control channel is otherwise a /dev/fuse as ever. */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/uio.h>

#include "harness.h"

#define SIZE (64 * PAGE)

/* A file with one region that must stay as it is whatever the test sends */
static struct tfile *one_region(struct backing **b)
{
	struct tfile *f = srv_simple(SIZE);

	*b = backing_new(SIZE);
	close(srv_open(f, O_RDONLY));
	srv_register(f->srv, *b);
	CHECK_ZERO(region_bind(f, 1000, 20000, *b, 7, 0));
	return f;
}

static void unchanged(struct tfile *f)
{
	int fd = srv_open(f, O_RDONLY);

	expect_file(f, fd, 16 * PAGE);
	close(fd);
}

/* A good message of @nr records that bind ten bytes each, far from the region */
static struct raw_msg *good_msg(const struct tfile *f, const struct backing *b, uint32_t nr)
{
	struct fuse_passthrough_region *recs = calloc(nr, sizeof(*recs));
	struct raw_msg *msg;

	for (uint32_t i = 0; i < nr; i++)
		recs[i] = REC(100000 + 20 * i, 10, b->id, 20 * i, FUSE_REGION_READ);
	msg = raw_msg_new(f->nodeid, recs, nr);
	free(recs);
	return msg;
}

TEST(i3_write_returns_message_size)
{
	struct backing *b;
	struct tfile *f = one_region(&b);
	struct raw_msg *msg = good_msg(f, b, 3);

	CHECK_EQ(raw_write(f->srv->ctl, msg, msg->out.len), msg->out.len);
	CHECK_EQ(msg->out.len, 16 + 24 + 3 * 40);
}

TEST(i3_len_disagrees_einval)
{
	struct backing *b;
	struct tfile *f = one_region(&b);
	struct raw_msg *msg = good_msg(f, b, 3);
	uint32_t len = msg->out.len;

	/* out.len against what was written */
	CHECK_NEG(raw_write(f->srv->ctl, msg, len - 1), EINVAL);
	msg->out.len = len - 8;
	CHECK_NEG(raw_write(f->srv->ctl, msg, len), EINVAL);
	msg->out.len = len + 8;
	CHECK_NEG(raw_write(f->srv->ctl, msg, len), EINVAL);
	/* both against count */
	for (uint32_t cut = 0; cut < len; cut++) {
		msg->out.len = cut;
		CHECK_NEG(raw_write(f->srv->ctl, msg, cut), EINVAL);
	}
	unchanged(f);
}

TEST(i3_count_disagrees_einval)
{
	struct backing *b;
	struct tfile *f = one_region(&b);
	struct raw_msg *msg = good_msg(f, b, 3);
	static const uint32_t wrong[] = { 0, 1, 2, 4 };

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		msg->head.count = wrong[i];
		CHECK_NEG(raw_write(f->srv->ctl, msg, msg->out.len), EINVAL);
	}
	unchanged(f);
}

/* count * 40 wraps to the size that was sent */
TEST(i3_count_wraps)
{
	struct backing *b;
	struct tfile *f = one_region(&b);
	struct raw_msg *msg = good_msg(f, b, 1);
	int res;

	for (uint32_t high = 1; high < 8; high++) {
		msg->head.count = 1 + high * 0x20000000u;
		res = raw_write(f->srv->ctl, msg, msg->out.len);
		if (res != -EINVAL && res != -E2BIG)
			FAIL("count %#x: %d", msg->head.count, res);
	}
	unchanged(f);
}

TEST(i3_no_records_einval)
{
	struct backing *b;
	struct tfile *f = one_region(&b);

	CHECK_NEG(region_msg(f->srv->ctl, f->nodeid, NULL, 0), EINVAL);
}

TEST(i3_head_flags_einval)
{
	struct backing *b;
	struct tfile *f = one_region(&b);
	struct raw_msg *msg = good_msg(f, b, 1);

	for (int bit = 0; bit < 32; bit++) {
		msg->head.flags = 1u << bit;
		CHECK_NEG(raw_write(f->srv->ctl, msg, msg->out.len), EINVAL);
	}
	unchanged(f);
}

TEST(i3_head_reserved_einval)
{
	struct backing *b;
	struct tfile *f = one_region(&b);
	struct raw_msg *msg = good_msg(f, b, 1);

	msg->head.reserved = 1ull << 32;
	CHECK_NEG(raw_write(f->srv->ctl, msg, msg->out.len), EINVAL);
	unchanged(f);
}

/* With a unique it is a reply to a request, and such an error number is none. */
TEST(i3_unique_einval)
{
	struct backing *b;
	struct tfile *f = one_region(&b);
	struct raw_msg *msg = good_msg(f, b, 1);

	msg->out.unique = 2;
	CHECK_NEG(raw_write(f->srv->ctl, msg, msg->out.len), EINVAL);
	unchanged(f);
}

TEST(i3_count_over_limit_e2big)
{
	struct backing *b;
	struct tfile *f;
	struct raw_msg *msg;

	close(raw_device());
	module_param_set("max_records", 5);
	f = one_region(&b);
	CHECK_EQ(f->srv->attach.max_records, 5);
	msg = good_msg(f, b, 6);
	CHECK_NEG(raw_write(f->srv->ctl, msg, msg->out.len), E2BIG);
	unchanged(f);
	msg = good_msg(f, b, 5);
	CHECK_EQ(raw_write(f->srv->ctl, msg, msg->out.len), msg->out.len);
}

TEST(i3_unknown_nodeid_enoent)
{
	struct backing *b;
	struct tfile *f = one_region(&b);
	static const uint64_t ids[] = { 0, 3, 1000, UINT64_MAX };
	struct fuse_passthrough_region rec = REC(0, 10, b->id, 0, FUSE_REGION_READ);

	for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
		CHECK_NEG(region_msg(f->srv->ctl, ids[i], &rec, 1), ENOENT);
}

TEST(i3_forgotten_nodeid_enoent)
{
	struct backing *b;
	struct tfile *f = one_region(&b);

	/* The cache may let go of it late. */
	CHECK_SOON((drop_caches(), srv_count(f, OP_FORGET) > 0));
	CHECK_NEG(region_bind(f, 50000, 10, b, 0, 0), ENOENT);
}

TEST(i3_enotconn_after_abort)
{
	struct backing *b;
	struct tfile *f = one_region(&b);

	srv_abort(f->srv);
	CHECK_NEG(region_bind(f, 50000, 10, b, 0, 0), ENOTCONN);
	CHECK_NEG(region_unbind(f, 0, 0), ENOTCONN);
}

TEST(i3_enotconn_after_umount)
{
	struct backing *b;
	struct tfile *f = one_region(&b);
	int ctl = dup(f->srv->ctl);
	struct fuse_passthrough_region rec = REC(0, 10, b->id, 0, FUSE_REGION_READ);

	srv_stop(f->srv);
	CHECK_NEG(region_msg(ctl, f->nodeid, &rec, 1), ENOTCONN);
}

TEST(i3_efault)
{
	struct backing *b;
	struct tfile *f = one_region(&b);
	struct raw_msg *msg = good_msg(f, b, 1);
	char *page =
		mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK_OK(munmap(page + PAGE, PAGE));
	CHECK_NEG(raw_write(f->srv->ctl, page + PAGE, msg->out.len), EFAULT);
	for (size_t in = 8; in < msg->out.len; in += 8) {
		memcpy(page + PAGE - in, msg, in);
		CHECK_NEG(raw_write(f->srv->ctl, page + PAGE - in, msg->out.len), EFAULT);
	}
	unchanged(f);
}

/* Servers send header and body as separate vectors. */
TEST(i3_scattered_over_vectors)
{
	struct backing *b;
	struct tfile *f = one_region(&b);
	struct raw_msg *msg = good_msg(f, b, 10);
	char *bytes = (char *)msg;
	struct iovec iov[64];
	uint32_t done = 0;
	int nr = 0;

	while (done < msg->out.len) {
		uint32_t n = 1 + (uint32_t)nr % 13;

		if (n > msg->out.len - done)
			n = msg->out.len - done;
		iov[nr++] = (struct iovec){ bytes + done, n };
		done += n;
	}
	CHECK_EQ(writev(f->srv->ctl, iov, nr), msg->out.len);
	for (int i = 0; i < 10; i++)
		model_bind(f->model, 100000 + 20 * (uint64_t)i, 10, b, 20 * (uint64_t)i,
			   FUSE_REGION_READ);
	unchanged(f);
}

static int splice_to(int ctl, const void *bytes, size_t len)
{
	int fds[2], res;

	CHECK_OK(pipe(fds));
	CHECK_EQ(write(fds[1], bytes, len), len);
	res = (int)splice(fds[0], NULL, ctl, NULL, len, 0);
	if (res < 0)
		res = -errno;
	close(fds[0]);
	close(fds[1]);
	return res;
}

/*
 * A pipe's pages are bytes like any others: whether the message is known there as well is the
 * module's choice, but it is taken whole or refused.
 */
TEST(i3_spliced)
{
	struct backing *b;
	struct tfile *f = one_region(&b);
	struct raw_msg *msg = good_msg(f, b, 1);
	int res = splice_to(f->srv->ctl, msg, msg->out.len);

	note("splice() of the message: %d", res);
	if (res >= 0) {
		CHECK_EQ(res, msg->out.len);
		model_bind(f->model, 100000, 10, b, 0, FUSE_REGION_READ);
	} else {
		CHECK_EQ(res, -EINVAL);
	}
	unchanged(f);
}

/* A /dev/fuse that was not attached answers as a kernel without us. */
TEST(i3_not_attached_einval)
{
	struct srv *s = srv_new(&(struct srv_opts){ .no_attach = true, .keep_session = true });
	struct tfile *f = srv_file(s, "f", PAGE);
	struct fuse_passthrough_region rec = REC(0, 10, 1, 0, FUSE_REGION_READ);

	close(raw_device());
	srv_start(s);
	close(srv_open(f, O_RDONLY));
	CHECK_NEG(region_msg(s->ctl, f->nodeid, &rec, 1), EINVAL);
	CHECK_NEG(region_msg(s->session, f->nodeid, &rec, 1), EINVAL);
}

TEST(i3_session_fd_einval)
{
	struct srv *s = srv_new(&(struct srv_opts){ .keep_session = true });
	struct tfile *f = srv_file(s, "f", PAGE);
	struct fuse_passthrough_region rec = REC(0, 10, 1, 0, FUSE_REGION_READ);

	srv_start(s);
	close(srv_open(f, O_RDONLY));
	CHECK_NEG(region_msg(s->session, f->nodeid, &rec, 1), EINVAL);
}

/* Mainline's notifications, sent through @ctl by write() or splice() */
struct notify {
	struct fuse_out_header out;
	union {
		struct fuse_notify_inval_inode_out inval;
		struct fuse_notify_store_out store;
		char bytes[256];
	};
};

static int notify(int ctl, bool by_splice, int code, struct notify *n, size_t len)
{
	n->out = (struct fuse_out_header){ .error = code, .len = (uint32_t)(sizeof(n->out) + len) };
	if (by_splice)
		return splice_to(ctl, n, n->out.len);
	return raw_write(ctl, n, n->out.len);
}

static void ordinary_notifications(struct tfile *f, bool by_splice)
{
	struct notify n = { .inval = { .ino = f->nodeid, .off = 0, .len = 0 } };
	int ctl = f->srv->ctl, fd = srv_open(f, O_RDONLY);
	uint64_t reads;
	char buf[PAGE];

	f->keep_cache = true;
	CHECK_EQ(pread(fd, buf, 10, 0), 10);
	reads = srv_count(f, OP_READ);
	CHECK_EQ(pread(fd, buf, 10, 0), 10);
	CHECK_EQ(srv_count(f, OP_READ), reads);
	CHECK_EQ(notify(ctl, by_splice, FUSE_NOTIFY_INVAL_INODE, &n, sizeof(n.inval)),
		 sizeof(n.out) + sizeof(n.inval));
	CHECK_EQ(pread(fd, buf, 10, 0), 10);
	CHECK(srv_count(f, OP_READ) > reads);

	n.inval.ino = 777;
	CHECK_NEG(notify(ctl, by_splice, FUSE_NOTIFY_INVAL_INODE, &n, sizeof(n.inval)), ENOENT);

	memset(&n, 0, sizeof(n));
	n.store = (struct fuse_notify_store_out){ .nodeid = f->nodeid, .offset = 40, .size = 20 };
	memset(n.bytes + sizeof(n.store), 'z', 20);
	CHECK_EQ(notify(ctl, by_splice, FUSE_NOTIFY_STORE, &n, sizeof(n.store) + 20),
		 sizeof(n.out) + sizeof(n.store) + 20);
	CHECK_EQ(pread(fd, buf, 20, 40), 20);
	CHECK_EQ(buf[0] == 'z' && buf[19] == 'z', true);

	memset(&n, 0, sizeof(n));
	CHECK_NEG(notify(ctl, by_splice, 99, &n, 64), EINVAL);
	CHECK_NEG(notify(ctl, by_splice, -5, &n, 64), EINVAL);
	close(fd);
}

TEST(i3_ordinary_notifications)
{
	ordinary_notifications(srv_simple(PAGE), false);
}

TEST(i3_ordinary_notifications_spliced)
{
	ordinary_notifications(srv_simple(PAGE), true);
}

/* The control channel can serve requests like any clone. */
TEST(i3_control_fd_reads_and_replies)
{
	struct tfile *f = srv_simple(4 * PAGE);
	struct srv *s = f->srv;
	int fd = srv_open(f, O_RDONLY | O_DIRECT);
	struct fuse_in_header *in = malloc(2 * MIB);
	char reply[sizeof(struct fuse_out_header) + PAGE], buf[PAGE];
	struct fuse_out_header *out = (struct fuse_out_header *)reply;
	pid_t pid;

	srv_signal(s, SIGSTOP);
	pid = test_fork();
	if (pid == 0) {
		CHECK_EQ(pread(fd, buf, PAGE, 0), PAGE);
		CHECK(buf[0] == 'q' && buf[PAGE - 1] == 'q');
		_exit(0);
	}
	CHECK(read(s->ctl, in, 2 * MIB) > 0);
	CHECK_EQ(in->opcode, FUSE_READ);
	memset(reply, 'q', sizeof(reply));
	*out = (struct fuse_out_header){ .len = sizeof(reply), .unique = in->unique };
	CHECK_EQ(raw_write(s->ctl, reply, sizeof(reply)), sizeof(reply));
	srv_signal(s, SIGCONT);
	CHECK_EQ(wait_exit(pid), 0);
	free(in);
}

TEST(i3_thousand_records)
{
	struct tfile *f = srv_simple(1 * MIB);
	struct backing *b = backing_new(1 * MIB), *all[1000];
	struct fuse_passthrough_region recs[1000];
	int fd = srv_open(f, O_RDONLY);

	srv_register(f->srv, b);
	for (uint32_t i = 0; i < 1000; i++) {
		recs[i] = REC(1000 * i + 5, 1 + rnd_below(995), b->id, rnd_below(1 * MIB),
			      FUSE_REGION_READ);
		all[i] = b;
	}
	CHECK_ZERO(region_send(f, recs, 1000, all));
	expect_file(f, fd, 123457);
}
