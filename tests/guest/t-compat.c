// SPDX-License-Identifier: GPL-2.0
/*
 * Programs of 32 bits: servers that attach, register and send messages, and those
 * who read and write. The calls are made from this very process, by the gate that
 * such programs use: numbers, pointers and structures are theirs.
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/wait.h>

#include "harness.h"

#define SIZE (32 * PAGE)

#ifdef __x86_64__

/* Numbers of i386 */
enum {
	NR_READ = 3,
	NR_WRITE = 4,
	NR_OPEN = 5,
	NR_LSEEK = 19,
	NR_GETPID = 20,
	NR_IOCTL = 54,
	NR_READV = 145,
	NR_WRITEV = 146,
	NR_PREAD64 = 180,
	NR_PWRITE64 = 181,
	NR_SENDFILE64 = 239,
	NR_IO_SETUP = 245,
	NR_IO_DESTROY = 246,
	NR_IO_GETEVENTS = 247,
	NR_IO_SUBMIT = 248,
};

/* The result, or -errno */
static long call32(long nr, uint32_t a, uint32_t b, uint32_t c, uint32_t d, uint32_t e)
{
	long res = nr;

	asm volatile("int $0x80"
		     : "+a"(res)
		     : "b"(a), "c"(b), "d"(c), "S"(d), "D"(e)
		     : "memory", "cc", "r8", "r9", "r10", "r11");
	return (int32_t)res;
}

/* Memory that 32 bits can point to; skips where the kernel takes no such calls */
static void *low_memory(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT,
		       -1, 0);
	int status;
	pid_t pid;

	CHECK(p != MAP_FAILED);
	pid = test_fork();
	if (!pid)
		_exit(call32(NR_GETPID, 0, 0, 0, 0, 0) != getpid());
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		SKIP("the kernel runs no programs of 32 bits");
	CHECK_EQ(status, 0);
	return p;
}

static uint32_t low(const void *p)
{
	CHECK((uintptr_t)p >> 32 == 0);
	return (uint32_t)(uintptr_t)p;
}

struct iovec32 {
	uint32_t base;
	uint32_t len;
};

static long ioctl32(int fd, unsigned int cmd, const void *arg)
{
	return call32(NR_IOCTL, (uint32_t)fd, cmd, low(arg), 0, 0);
}

static long pread32(int fd, void *buf, size_t len, uint64_t off)
{
	return call32(NR_PREAD64, (uint32_t)fd, low(buf), (uint32_t)len, (uint32_t)off,
		      (uint32_t)(off >> 32));
}

static long pwrite32(int fd, const void *buf, size_t len, uint64_t off)
{
	return call32(NR_PWRITE64, (uint32_t)fd, low(buf), (uint32_t)len, (uint32_t)off,
		      (uint32_t)(off >> 32));
}

/* A file opened as such programs do, without O_LARGEFILE */
static int open32(const struct tfile *f, int flags, char *path)
{
	srv_path(path, 128, f);
	return (int)CHECK_OK(call32(NR_OPEN, low(path), (uint32_t)flags, 0, 0, 0));
}

TEST(i1_compat_server)
{
	char *memory = low_memory(SIZE);
	struct fuse_regions_attach *attach = (void *)memory;
	struct fuse_regions_backing *in = (void *)(memory + 256);
	uint32_t *id = (void *)(memory + 512);
	struct raw_msg *msg = (void *)(memory + 1024);
	struct iovec32 *iov = (void *)(memory + 3072);
	struct srv *s = srv_new(&(struct srv_opts){ .no_attach = true });
	struct tfile *f = srv_file(s, "f", SIZE);
	struct backing *b = backing_new(SIZE), *c = backing_new(SIZE);
	int dev = raw_device(), fd;
	struct raw_msg *made;

	srv_start(s);
	*attach = raw_attach_arg(s->ctl);
	attach->flags = 1;
	CHECK_EQ(ioctl32(dev, FUSE_REGIONS_IOC_ATTACH, attach), -EINVAL);
	attach->flags = 0;
	CHECK_EQ(ioctl32(dev, FUSE_REGIONS_IOC_ATTACH, attach), 0);
	CHECK_EQ(attach->notify_code, FUSE_NOTIFY_PASSTHROUGH);
	CHECK_EQ(attach->max_records, module_param("max_records"));
	close(dev);

	*in = (struct fuse_regions_backing){ .fd = b->fd };
	b->id = (uint32_t)CHECK_OK(ioctl32(s->ctl, FUSE_REGIONS_IOC_BACKING_OPEN, in));
	in->fd = c->fd;
	c->id = (uint32_t)CHECK_OK(ioctl32(s->ctl, FUSE_REGIONS_IOC_BACKING_OPEN, in));

	/* in one buffer, and in vectors, as the library sends it */
	fd = srv_open(f, O_RDONLY);
	made = raw_msg_new(f->nodeid, &REC(100, 5000, b->id, 7, FUSE_REGION_READ), 1);
	memcpy(msg, made, made->out.len);
	CHECK_EQ(call32(NR_WRITE, (uint32_t)s->ctl, low(msg), msg->out.len, 0, 0), msg->out.len);
	model_bind(f->model, 100, 5000, b, 7, FUSE_REGION_READ);
	expect_read(f, fd, 0, SIZE);
	msg->recs[0] = REC(9000, 20000, c->id, 11, FUSE_REGION_READ);
	iov[0] = (struct iovec32){ low(msg), sizeof(*msg) };
	iov[1] = (struct iovec32){ low(msg->recs), sizeof(msg->recs[0]) };
	CHECK_EQ(call32(NR_WRITEV, (uint32_t)s->ctl, low(iov), 2, 0, 0), msg->out.len);
	model_bind(f->model, 9000, 20000, c, 11, FUSE_REGION_READ);
	expect_read(f, fd, 0, SIZE);
	free(made);

	*id = c->id;
	CHECK_EQ(ioctl32(s->ctl, FUSE_REGIONS_IOC_BACKING_CLOSE, id), 0);
	CHECK_EQ(ioctl32(s->ctl, FUSE_REGIONS_IOC_BACKING_CLOSE, id), -ENOENT);
	expect_read(f, fd, 0, SIZE);
}

/* Two regions, one of them shifted, and the server's bytes around them */
static struct tfile *mixed(struct srv_opts opts, struct backing **b, struct backing **c)
{
	struct tfile *f = srv_stored(opts, NULL, SIZE, b, c);

	CHECK_ZERO(region_bind(f, PAGE, 5 * PAGE, *b, 0, RW));
	CHECK_ZERO(region_bind(f, 6 * PAGE, 9 * PAGE + 7, *c, 1001, RW));
	return f;
}

TEST(r4_compat_reads_and_writes)
{
	char *memory = low_memory(2 * SIZE), *path = memory + SIZE;
	struct iovec32 *iov = (void *)(memory + SIZE + PAGE);
	struct backing *b, *c;
	struct tfile *f = mixed((struct srv_opts){ 0 }, &b, &c);
	int fd = open32(f, O_RDWR, path), out = memfd_create("out", 0);
	struct oracle o;
	uint64_t *at;

	oracle_load(&o, f);
	CHECK_EQ(pread32(fd, memory, SIZE, 0), SIZE);
	oracle_compare(&o, "pread", memory, 0, SIZE);
	CHECK_EQ(pread32(fd, memory, 100, 3 * PAGE), 100);
	oracle_compare(&o, "pread", memory, 3 * PAGE, 100);

	oracle_fresh(&o, memory, 3 * PAGE);
	CHECK_EQ(pwrite32(fd, memory, 3 * PAGE, 5 * PAGE + 9), 3 * PAGE);
	oracle_note(&o, memory, 5 * PAGE + 9, 3 * PAGE);

	/* vectors, from where the descriptor stands */
	CHECK_EQ(call32(NR_LSEEK, (uint32_t)fd, 14 * PAGE, SEEK_SET, 0, 0), 14 * PAGE);
	oracle_fresh(&o, memory, 2 * PAGE);
	iov[0] = (struct iovec32){ low(memory), 1000 };
	iov[1] = (struct iovec32){ low(memory + 1000), 2 * PAGE - 1000 };
	CHECK_EQ(call32(NR_WRITEV, (uint32_t)fd, low(iov), 2, 0, 0), 2 * PAGE);
	oracle_note(&o, memory, 14 * PAGE, 2 * PAGE);
	CHECK_EQ(call32(NR_LSEEK, (uint32_t)fd, 0, SEEK_CUR, 0, 0), 16 * PAGE);
	CHECK_EQ(call32(NR_LSEEK, (uint32_t)fd, 100, SEEK_SET, 0, 0), 100);
	CHECK_EQ(call32(NR_READV, (uint32_t)fd, low(iov), 2, 0, 0), 2 * PAGE);
	oracle_compare(&o, "readv", memory, 100, 2 * PAGE);

	at = (void *)iov;
	*at = 50;
	CHECK_EQ(call32(NR_SENDFILE64, (uint32_t)out, (uint32_t)fd, low(at), SIZE, 0), SIZE - 50);
	CHECK_EQ(*at, SIZE);
	CHECK_EQ(pread(out, memory, SIZE, 0), SIZE - 50);
	oracle_compare(&o, "sendfile", memory, 50, SIZE - 50);
	oracle_check(&o, fd, 0, SIZE);
	oracle_free(&o);
}

/* struct iocb and struct io_event are the same for all; a list of iocbs is not */
TEST(r4_compat_libaio)
{
	char *memory = low_memory(2 * SIZE);
	struct iocb32 {
		uint64_t data;
		uint32_t key, rw_flags;
		uint16_t opcode;
		int16_t prio;
		uint32_t fd;
		uint64_t buf, len;
		int64_t off;
		uint64_t reserved;
		uint32_t flags, event_fd;
	} *iocb = (void *)(memory + SIZE);
	uint32_t *list = (void *)(memory + SIZE + 1024), *ctx = list + 8;
	struct {
		uint64_t data, obj;
		int64_t res, res2;
	} *events = (void *)(memory + SIZE + 2048);
	struct backing *b, *c;
	struct tfile *f = mixed((struct srv_opts){ 0 }, &b, &c);
	int fd = srv_open(f, O_RDWR);
	struct oracle o;
	long got;

	oracle_load(&o, f);
	oracle_fresh(&o, memory, 3 * PAGE);
	for (int i = 0; i < 2; i++) {
		/* a write over an edge, then a read of it all */
		iocb[i] = (struct iocb32){
			.opcode = i ? 0 : 1,
			.fd = (uint32_t)fd,
			.buf = low(memory + i * 4 * PAGE),
			.len = i ? 20 * PAGE : 3 * PAGE,
			.off = i ? 0 : 5 * PAGE + 3,
		};
		*ctx = 0;
		list[0] = low(&iocb[i]);
		CHECK_EQ(call32(NR_IO_SETUP, 1, low(ctx), 0, 0, 0), 0);
		CHECK_EQ(call32(NR_IO_SUBMIT, *ctx, 1, low(list), 0, 0), 1);
		got = call32(NR_IO_GETEVENTS, *ctx, 1, 1, low(events), 0);
		if (got == -ENOSYS)
			SKIP("the kernel has no io_getevents() for programs of 32 bits");
		CHECK_EQ(got, 1);
		CHECK_EQ(call32(NR_IO_DESTROY, *ctx, 0, 0, 0, 0), 0);
		CHECK_EQ(events[0].res, iocb[i].len);
		if (!i)
			oracle_note(&o, memory, 5 * PAGE + 3, 3 * PAGE);
	}
	oracle_compare(&o, "io_submit", memory + 4 * PAGE, 0, 20 * PAGE);
	oracle_free(&o);
}

/*
 * A file that was opened without O_LARGEFILE, and grew past 2 GiB since: no byte is
 * written there, whoever has it.
 */
static void without_largefile(uint64_t shift)
{
	const uint64_t end = (1ull << 31) - 1; /* the first byte that can't be written */
	char *memory = low_memory(2 * PAGE), *path = memory + PAGE;
	struct srv *s = srv_new(&(struct srv_opts){ .no_attr_cache = true });
	struct tfile *f = srv_store_file(s, "f", SIZE);
	struct backing *b = backing_new(8 * PAGE);
	struct stat st;
	int fd, other;

	srv_start(s);
	srv_register(s, b);
	fd = open32(f, O_RDWR, path);
	f->size = 3 * GIB;
	other = open(path, O_RDWR);
	CHECK_OK(fstat(other, &st));
	CHECK_EQ(st.st_size, 3 * GIB);
	CHECK_ZERO(region_bind(f, end - 1 - 2 * PAGE, 8 * PAGE - shift, b, shift, RW));
	memset(memory, 0xEE, 100);
	CHECK_EQ(pwrite32(fd, memory, 100, end - 100), 100);
	CHECK_EQ(pwrite32(fd, memory, 100, end - 40), 40);
	CHECK_EQ(pwrite32(fd, memory, 1, end), -EFBIG);
	CHECK_EQ(pwrite32(fd, memory, 100, end + PAGE), -EFBIG);
	expect_read(f, other, end - 200, 400);
	CHECK_EQ(srv_count(f, OP_WRITE), 0);
	CHECK_EQ(pread32(fd, memory, 100, end - 100), 100);
	CHECK_EQ(memory[99] & 0xff, 0xEE);
	backing_bytes(b, memory, 2 * PAGE + 1 + shift, 1);
	CHECK_EQ(memory[0] & 0xff, pattern_byte(b->seed, 2 * PAGE + 1 + shift));
	CHECK_EQ(pwrite(other, "x", 1, (off_t)end), 1);
}

TEST(w3_compat_without_largefile)
{
	without_largefile(0);
}

TEST(w3_compat_without_largefile_shifted)
{
	without_largefile(33);
}

#endif
