// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <stdarg.h>
#include <sys/resource.h>

#include "handlers.h"
#include "opfuzz.h"

void opfuzz_log(struct opfuzz *z, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(z->log[z->nr % OPFUZZ_LOG], sizeof(z->log[0]), fmt, ap);
	va_end(ap);
}

static void print_log(void *arg)
{
	const struct opfuzz *z = arg;

	if (!test_failing())
		return;
	note("seed %s, operation %llu; the last ones were:",
	     getenv("FUSE_REGIONS_TEST_SEED") ?: "1", (unsigned long long)z->nr);
	for (uint64_t i = z->nr < OPFUZZ_LOG ? 0 : z->nr - OPFUZZ_LOG + 1; i <= z->nr; i++)
		note("  %llu %s", (unsigned long long)i, z->log[i % OPFUZZ_LOG]);
}

void opfuzz_check(struct opfuzz *z, int fd, uint64_t off, uint64_t len)
{
	oracle_check(&z->o, fd, off, len);
}

/* A range of the file for a region: inside the size, with edges as asked for */
static bool choose_range(struct opfuzz *z, uint64_t *off, uint64_t *len)
{
	uint64_t align = z->opts.align;

	if (z->o.size < 2 * align)
		return false;
	*off = rnd_below(z->o.size) / align * align;
	*len = (1 + rnd_below(rnd_below(3) ? 5000 : 60000)) / align * align;
	if (*off + *len > z->o.size)
		*len = (z->o.size - *off) / align * align;
	return *len > 0;
}

/* Put bytes where the server looks for them once nothing is bound there. */
static void put_into_store(struct opfuzz *z, uint64_t off, uint64_t len)
{
	CHECK_EQ(pwrite(z->f->store->fd, z->o.bytes + off, len, (off_t)off), len);
}

/*
 * Flush what the application stored through mappings: what is moved has to be
 * complete, and it is the server's duty to see to that. How far the kernel
 * has extended the file, nobody can tell once the regions are other ones.
 */
static void flush(struct opfuzz *z)
{
	CHECK_OK(fsync(z->fd));
	learn_size(z->f);
}

/* Move a range to other bytes of a backing, which hold the same already. */
static void op_bind(struct opfuzz *z)
{
	uint64_t off, len, align = z->opts.align, at;
	uint32_t flags = rnd_below(6) ? RW : FUSE_REGION_READ;
	unsigned int i = (unsigned int)rnd_below(OPFUZZ_POOL);

	if (!choose_range(z, &off, &len))
		return;
	at = (z->used[i] + (rnd_below(2) ? rnd_below(5000) : 0) + align - 1) / align * align;
	opfuzz_log(z, "bind %#llx+%#llx to %u at %#llx, flags %u", (unsigned long long)off,
		   (unsigned long long)len, i, (unsigned long long)at, flags);
	flush(z);
	CHECK_EQ(pwrite(z->pool[i]->fd, z->o.bytes + off, len, (off_t)at), len);
	z->used[i] = at + len;
	CHECK_ZERO(region_bind(z->f, off, len, z->pool[i], at, flags | FUSE_REGION_REPLACE));
	z->binds++;
}

/* A region over the end of the file, in a backing of its own that ends there as well */
static void op_bind_ahead(struct opfuzz *z)
{
	uint64_t align = z->opts.align, back = rnd_below(9000) / align * align, off, inside;
	uint32_t flags = RW | FUSE_REGION_REPLACE | (rnd_below(2) ? FUSE_REGION_GROW : 0);
	struct backing *b;

	off = z->o.size / align * align;
	off = off > back ? off - back : 0;
	inside = z->o.size - off;
	opfuzz_log(z, "bind %#llx and on, past the end, flags %u", (unsigned long long)off, flags);
	flush(z);
	b = backing_new_in(z->opts.dir, 0);
	CHECK_EQ(pwrite(b->fd, z->o.bytes + off, inside, 0), inside);
	srv_register(z->f->srv, b);
	CHECK_ZERO(region_bind(z->f, off, inside + 20 * PAGE, b, 0, flags));
	CHECK_ZERO(raw_backing_close(z->f->srv->ctl, b->id));
	b->id = 0; /* the rebinder can't name it */
	z->binds += 5;
}

static void op_unbind(struct opfuzz *z)
{
	uint64_t off, len;

	if (!choose_range(z, &off, &len))
		return;
	opfuzz_log(z, "unbind %#llx+%#llx", (unsigned long long)off, (unsigned long long)len);
	flush(z);
	put_into_store(z, off, len);
	CHECK_ZERO(region_unbind(z->f, off, len));
}

/* Everything back to the server, and the backings empty again */
static void op_unbind_all(struct opfuzz *z)
{
	opfuzz_log(z, "unbind all");
	flush(z);
	put_into_store(z, 0, z->o.size);
	CHECK_ZERO(region_unbind(z->f, 0, 0));
	for (int i = 0; i < OPFUZZ_POOL; i++) {
		/* G2: nobody uses them any more */
		CHECK_OK(ftruncate(z->pool[i]->fd, 0));
		z->used[i] = 0;
	}
	z->binds = 0;
}

static void region_op(struct opfuzz *z)
{
	pthread_mutex_lock(&z->regions);
	if (z->binds > 200 || rnd_below(60) == 0)
		op_unbind_all(z);
	else if (rnd_below(12) == 0)
		op_bind_ahead(z);
	else if (rnd_below(3) == 0)
		op_unbind(z);
	else
		op_bind(z);
	pthread_mutex_unlock(&z->regions);
}

/* The same bytes of the same backing, in a region of its own: changes nothing but the map */
static void rebind(void *arg)
{
	struct opfuzz *z = arg;
	struct fuse_passthrough_region rec;
	struct model_op run;
	uint64_t align = z->opts.align, off, len;

	pthread_mutex_lock(&z->regions);
	off = rnd_below(z->o.size + 1) / align * align;
	if (model_find(z->f->model, off, &run) && run.b->id) {
		len = (1 + rnd_below(run.last - off + 1)) / align * align;
		rec = REC(off, len, run.b->id, run.bstart,
			  (run.flags & (RW | FUSE_REGION_GROW)) | FUSE_REGION_REPLACE);
		if (len)
			CHECK_ZERO(region_msg(z->f->srv->ctl, z->f->nodeid, &rec, 1));
	}
	pthread_mutex_unlock(&z->regions);
	sleep_ms(1);
}

static void check_all(struct opfuzz *z)
{
	struct stat st;

	CHECK_OK(fstat(z->fd, &st));
	if ((uint64_t)st.st_size != z->o.size)
		FAIL("the size is %lld, expected %llu", (long long)st.st_size,
		     (unsigned long long)z->o.size);
	opfuzz_check(z, rnd_below(2) ? z->in : z->fd, 0, z->o.size + 100);
}

static uint64_t nr_of_ops(const struct opfuzz_opts *opts)
{
	const char *n = getenv("FUSE_REGIONS_OPS");

	return n ? strtoull(n, NULL, 0) : test_scaled(opts->ops ?: 600);
}

static void prepare(struct opfuzz *z)
{
	struct srv *s = srv_new(&z->opts.srv);
	struct rlimit files = { 65536, 65536 };

	setrlimit(RLIMIT_NOFILE, &files);
	z->f = srv_store_file(s, "f", 50000);
	z->f->attr_of_backings = true;
	srv_start(s);
	for (int i = 0; i < OPFUZZ_POOL; i++) {
		z->pool[i] = backing_new_in(z->opts.dir, 0);
		srv_register(s, z->pool[i]);
	}
	z->fd = srv_open(z->f, O_RDWR);
	z->direct = srv_open(z->f, O_RDWR | O_DIRECT);
	z->append = srv_open(z->f, O_RDWR | O_APPEND);
	z->in = srv_open(z->f, O_RDONLY);
	z->buf = direct_alloc(z->opts.max);
	z->more = direct_alloc(z->opts.max);
	oracle_load(&z->o, z->f);
	CHECK_ZERO(io_setup(4, &z->aio));
	z->have_ring = io_uring_queue_init(4, &z->ring, 0) == 0;
	pthread_mutex_init(&z->regions, NULL);
	if (z->opts.whole) {
		CHECK_EQ(pwrite(z->pool[0]->fd, z->o.bytes, z->o.size, 1001), z->o.size);
		CHECK_ZERO(region_bind(z->f, 0, 0, z->pool[0], 1001, RW));
	}
}

void opfuzz_run(const struct opfuzz_opts *opts)
{
	struct opfuzz *z = calloc(1, sizeof(*z));
	struct threads rebinder;
	uint64_t ops;

	CHECK(z);
	z->opts = *opts;
	z->opts.max = opts->max ?: 200000;
	z->opts.align = opts->align ?: 1;
	z->opts.srv.model_max = 1 << 16;
	prepare(z);
	test_at_end(print_log, z);
	ops = nr_of_ops(opts);
	if (opts->rebind)
		threads_start(&rebinder, 1, rebind, z);
	for (z->nr = 0; z->nr < ops; z->nr++) {
		if (z->nr % 1000 == 0)
			test_watchdog(120);
		if (!opts->whole && rnd_below(4) == 0)
			region_op(z);
		else
			opfuzz_app_op(z);
		if (rnd_below(8) == 0)
			check_all(z);
	}
	if (opts->rebind)
		threads_stop(&rebinder);
	opfuzz_log(z, "the end");
	CHECK_OK(fsync(z->fd));
	check_all(z);
	expect_file(z->f, z->in, z->opts.max);
}
