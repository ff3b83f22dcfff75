// SPDX-License-Identifier: GPL-2.0
/*
 * Hostile input: whatever is written to the control channel, or passed to its
 * ioctls, is refused or does what it says. FUSE_REGIONS_TEST_SCALE makes these
 * storms as long as one likes.
 */
#define _GNU_SOURCE
#include <sys/ioctl.h>

#include "harness.h"

#define SIZE (64 * PAGE)
#define FILES 4

struct hostile {
	struct srv *s;
	struct backing *b[3];
	int fd[FILES];
	uint64_t sent, taken;
};

static struct hostile *begin(void)
{
	struct hostile *h = calloc(1, sizeof(*h));
	char name[8];

	h->s = srv_new(NULL);
	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		srv_file(h->s, name, i == 3 ? INT64_MAX : SIZE);
	}
	srv_start(h->s);
	for (int i = 0; i < 3; i++) {
		h->b[i] = backing_new(i == 2 ? 100 : SIZE);
		srv_register(h->s, h->b[i]);
	}
	for (int i = 0; i < FILES; i++)
		h->fd[i] = srv_open(&h->s->files[i], O_RDONLY);
	return h;
}

/* Numbers at which code goes wrong */
static uint64_t number(void)
{
	static const uint64_t edges[] = {
		0,
		1,
		2,
		3,
		4,
		7,
		16,
		40,
		PAGE - 1,
		PAGE,
		PAGE + 1,
		SIZE - 1,
		SIZE,
		SIZE + 1,
		INT32_MAX,
		1ull << 31,
		UINT32_MAX,
		1ull << 32,
		INT64_MAX - PAGE,
		INT64_MAX - 1,
		INT64_MAX,
		1ull << 63,
		UINT64_MAX - 1,
		UINT64_MAX,
	};

	switch (rnd_below(4)) {
	case 0:
		return edges[rnd_below(ARRAY_SIZE(edges))];
	case 1:
		return edges[rnd_below(ARRAY_SIZE(edges))] + rnd_below(5) - 2;
	case 2:
		return rnd() >> rnd_below(64);
	default:
		return rnd_below(SIZE);
	}
}

static uint32_t some_id(const struct hostile *h)
{
	return rnd_below(8) ? h->b[rnd_below(3)]->id : (uint32_t)number();
}

static uint32_t some_flags(void)
{
	static const uint32_t good[] = {
		FUSE_REGION_READ,
		FUSE_REGION_READ | FUSE_REGION_REPLACE,
		FUSE_REGION_UNBIND,
		FUSE_REGION_READ | FUSE_REGION_WRITE | FUSE_REGION_REPLACE,
		FUSE_REGION_WRITE | FUSE_REGION_GROW | FUSE_REGION_REPLACE,
	};

	return rnd_below(6) ? good[rnd_below(ARRAY_SIZE(good))]
			    : (uint32_t)(rnd() >> rnd_below(32));
}

static void sent(struct hostile *h, int res)
{
	__atomic_add_fetch(&h->sent, 1, __ATOMIC_RELAXED);
	if (res >= 0)
		__atomic_add_fetch(&h->taken, 1, __ATOMIC_RELAXED);
	else if (res == -EFAULT || res == -ENOSYS || res == -EIO || res == -EINTR)
		FAIL("an odd answer to a message: %d", res);
}

/* Nothing but random bytes, with a length that may fit */
static void random_bytes(void *arg)
{
	struct hostile *h = arg;
	uint64_t bytes[512];
	size_t len = rnd_below(sizeof(bytes) - 16) + 16;
	struct fuse_out_header *out = (struct fuse_out_header *)bytes;

	for (size_t i = 0; i < ARRAY_SIZE(bytes); i++)
		bytes[i] = rnd();
	if (rnd_below(4))
		out->len = (uint32_t)len;
	out->error = FUSE_NOTIFY_PASSTHROUGH;
	out->unique = rnd_below(4) ? 0 : rnd();
	sent(h, raw_write(h->s->ctl, bytes, len));
}

/* A message in which all is well formed, and every number is odd */
static void odd_records(void *arg)
{
	struct hostile *h = arg;
	struct fuse_passthrough_region recs[16];
	uint32_t nr = 1 + (uint32_t)rnd_below(ARRAY_SIZE(recs));
	uint64_t nodeid = rnd_below(16) ? 2 + rnd_below(FILES) : number();

	for (uint32_t i = 0; i < nr; i++) {
		bool unbind;

		recs[i] = REC(number(), number(), some_id(h), number(), some_flags());
		unbind = recs[i].flags == FUSE_REGION_UNBIND;
		if (unbind && rnd_below(8))
			recs[i].backing_id = 0, recs[i].backing_offset = 0;
		if (rnd_below(16) == 0)
			recs[i].offset = recs[i].length = 0;
		if (rnd_below(64) == 0)
			recs[i].reserved = rnd();
	}
	sent(h, region_msg(h->s->ctl, nodeid, recs, nr));
}

/* A good message with a few bytes changed */
static void mutated(void *arg)
{
	struct hostile *h = arg;
	struct fuse_passthrough_region recs[4];
	struct raw_msg *msg;
	unsigned char *bytes;
	uint32_t len, nr = 1 + (uint32_t)rnd_below(4);

	for (uint32_t i = 0; i < nr; i++)
		recs[i] = REC(rnd_below(SIZE), 1 + rnd_below(PAGE), some_id(h), rnd_below(SIZE),
			      FUSE_REGION_READ | FUSE_REGION_REPLACE);
	msg = raw_msg_new(2 + rnd_below(FILES), recs, nr);
	bytes = (unsigned char *)msg;
	len = msg->out.len;
	for (uint64_t n = rnd_below(4); n; n--) {
		uint64_t at = rnd_below(len);

		/* the code alone stays: others are mainline's business */
		if (at < 4 || at >= 8)
			bytes[at] = (unsigned char)rnd();
	}
	sent(h, raw_write(h->s->ctl, msg, rnd_below(16) ? len : rnd_below(len + 1)));
	free(msg);
}

static void odd_ioctls(void *arg)
{
	struct hostile *h = arg;
	unsigned int cmd = FUSE_REGIONS_IOC_BACKING_OPEN;
	union {
		struct fuse_regions_backing backing;
		uint32_t id;
		uint64_t words[8];
	} u;
	int res;

	for (size_t i = 0; i < ARRAY_SIZE(u.words); i++)
		u.words[i] = rnd_below(3) ? number() : 0;
	if (rnd_below(3) == 0)
		u.backing.fd = h->b[0]->fd;
	if (rnd_below(8) == 0)
		cmd = (unsigned int)rnd();
	else if (rnd_below(2))
		cmd = FUSE_REGIONS_IOC_BACKING_CLOSE;
	/* not the real ones: others bind to them */
	if (cmd == FUSE_REGIONS_IOC_BACKING_CLOSE)
		u.id |= 1u << 20;
	res = ioctl(h->s->ctl, cmd, rnd_below(16) ? (void *)&u : (void *)(uintptr_t)number());
	if (res > 0 && cmd == FUSE_REGIONS_IOC_BACKING_OPEN)
		CHECK_ZERO(raw_backing_close(h->s->ctl, (uint32_t)res));
}

/* Readers don't know what they will get, but that they get it, and no more */
static void read_anything(void *arg)
{
	struct hostile *h = arg;
	int i = (int)rnd_below(FILES);
	unsigned char buf[3 * PAGE];
	uint64_t off = i == 3 && rnd_below(2) ? INT64_MAX - rnd_below(4 * PAGE)
					      : rnd_below(SIZE + PAGE);
	uint64_t len = 1 + rnd_below(sizeof(buf) - 1);
	ssize_t n;

	memset(buf, 0xA5, sizeof(buf));
	n = pread(h->fd[i], buf, len, (off_t)off);
	if (n > (ssize_t)len || (n < 0 && errno != EINVAL && errno != EOVERFLOW))
		FAIL("pread of %llu at %#llx: %zd, %m", (unsigned long long)len,
		     (unsigned long long)off, n);
	/* What lies between the bytes read and the bytes wanted may be anything */
	for (size_t j = len; j < sizeof(buf); j++)
		if (buf[j] != 0xA5)
			FAIL("pread of %llu at %#llx returned %zd and wrote on",
			     (unsigned long long)len, (unsigned long long)off, n);
}

static void storm(void (*fn)(void *arg), int nr)
{
	struct hostile *h = begin();
	struct threads attackers, readers;

	threads_start(&attackers, nr, fn, h);
	threads_start(&readers, 1, read_anything, h);
	sleep_ms((unsigned int)test_storm_ms(2500));
	threads_stop(&attackers);
	threads_stop(&readers);
	note("%llu messages, %llu of them taken; %llu reads", (unsigned long long)h->sent,
	     (unsigned long long)h->taken, (unsigned long long)readers.rounds);
	/* It all can be taken back, and everything works. */
	for (int i = 0; i < FILES; i++) {
		struct tfile *f = &h->s->files[i];

		CHECK_ZERO(region_unbind(f, 0, 0));
		expect_read(f, h->fd[i], 0, SIZE);
		CHECK_ZERO(region_bind(f, 5, 5000, h->b[0], 77, 0));
		expect_read(f, h->fd[i], 0, SIZE);
	}
}

TEST(i3_hostile_random_bytes)
{
	storm(random_bytes, 3);
}

TEST(i3_hostile_odd_records)
{
	storm(odd_records, 1);
}

TEST(i3_hostile_odd_records_from_threads)
{
	storm(odd_records, 4);
}

TEST(i3_hostile_mutated_messages)
{
	storm(mutated, 3);
}

TEST(i2_hostile_ioctls)
{
	storm(odd_ioctls, 3);
}
