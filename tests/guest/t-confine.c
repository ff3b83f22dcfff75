// SPDX-License-Identifier: GPL-2.0
/*
 * M3: a mapping of a backing is one of its region's bytes, whatever is done to it
 * afterwards.
 */
#define _GNU_SOURCE
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "harness.h"

#define SIZE (64 * PAGE)

static struct backing *b, *c;

static struct tfile *file(void)
{
	return srv_stored((struct srv_opts){ 0 }, NULL, SIZE, &b, &c);
}

/* Made longer by whatever means, it must not show the backing's other bytes. */
static void cannot_grow(int open_flags, int prot, int flags)
{
	struct tfile *f = file();
	int fd = srv_open(f, open_flags);
	unsigned char *p, *q;

	CHECK_ZERO(region_bind(f, 4 * PAGE, 2 * PAGE, b, 7 * PAGE, RW));
	p = map_file(fd, prot, flags, 4 * PAGE, 2 * PAGE);
	CHECK_EQ(p[5], pattern_byte(b->seed, 7 * PAGE + 5));
	q = mremap(p, 2 * PAGE, 10 * PAGE, MREMAP_MAYMOVE);
	if (q != MAP_FAILED)
		FAIL("grown, and byte 2 * PAGE is %s the backing's",
		     q[2 * PAGE] == pattern_byte(b->seed, 9 * PAGE) ? "" : "not");
	/* A second mapping of the same pages, as long as wanted */
	q = mremap(p, 0, 10 * PAGE, MREMAP_MAYMOVE);
	CHECK(q == MAP_FAILED);
	CHECK_EQ(p[PAGE + 5], pattern_byte(b->seed, 8 * PAGE + 5));
}

TEST(m3_confined_private)
{
	cannot_grow(O_RDONLY, PROT_READ | PROT_WRITE, MAP_PRIVATE);
}

TEST(m3_confined_shared_read)
{
	cannot_grow(O_RDONLY, PROT_READ, MAP_SHARED);
}

TEST(m3_confined_shared_write)
{
	cannot_grow(O_RDWR, PROT_READ | PROT_WRITE, MAP_SHARED);
}

/* remap_file_pages() maps any page of the mapping's file, which is the backing. */
static void cannot_move(int open_flags, int prot, uint64_t from, uint64_t len, uint64_t backing_off)
{
	struct tfile *f = file();
	int fd = srv_open(f, open_flags);
	unsigned char *p;

	CHECK_ZERO(region_bind(f, from, len, b, backing_off, RW));
	p = map_file(fd, prot, MAP_SHARED, from, 2 * PAGE);
	CHECK_EQ(p[5], pattern_byte(b->seed, backing_off + 5));
	for (size_t page = 0; page < 20; page++)
		if (page * PAGE < backing_off || page * PAGE >= backing_off + 2 * PAGE)
			CHECK_EQ(remap_file_pages(p, PAGE, 0, page, 0), -1);
	CHECK_EQ(p[5], pattern_byte(b->seed, backing_off + 5));
	CHECK_EQ(p[PAGE + 5], pattern_byte(b->seed, backing_off + PAGE + 5));
}

TEST(m3_confined_remap_file_pages)
{
	cannot_move(O_RDWR, PROT_READ | PROT_WRITE, 4 * PAGE, 2 * PAGE, 7 * PAGE);
}

TEST(m3_confined_remap_file_pages_read)
{
	cannot_move(O_RDWR, PROT_READ, 4 * PAGE, 2 * PAGE, 7 * PAGE);
	cannot_move(O_RDONLY, PROT_READ, 4 * PAGE, 2 * PAGE, 7 * PAGE);
}

TEST(m3_confined_remap_file_pages_whole_file)
{
	cannot_move(O_RDWR, PROT_READ | PROT_WRITE, 0, 0, 7 * PAGE);
}

/* Where the file is the backing, byte for byte, a mapping may grow as any other. */
TEST(m3_whole_file_mapping_grows)
{
	struct tfile *f = file();
	int fd = srv_open(f, O_RDWR);
	unsigned char *p;

	CHECK_ZERO(region_bind(f, 0, 0, b, 0, RW));
	p = map_file(fd, PROT_READ | PROT_WRITE, MAP_SHARED, 4 * PAGE, 2 * PAGE);
	p = mremap(p, 2 * PAGE, 10 * PAGE, MREMAP_MAYMOVE);
	CHECK(p != MAP_FAILED);
	CHECK_EQ(p[9 * PAGE], pattern_byte(b->seed, 13 * PAGE));
}

/* And so does one that spans regions, for each page is asked for anew. */
TEST(m3_mixed_mapping_grows)
{
	struct tfile *f = file();
	int fd = srv_open(f, O_RDONLY);
	unsigned char *p;

	CHECK_ZERO(region_bind(f, 4 * PAGE, 2 * PAGE, b, 7 * PAGE, RW));
	p = map_file(fd, PROT_READ, MAP_SHARED, 0, 8 * PAGE);
	p = mremap(p, 8 * PAGE, 20 * PAGE, MREMAP_MAYMOVE);
	CHECK(p != MAP_FAILED);
	expect_content(f, "mmap", 0, p, 20 * PAGE);
}

/* A file that is bound to a memfd, which is then sealed */
static struct tfile *sealed_file(int seal)
{
	struct tfile *f = file();
	int mem = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct backing *sealed;

	CHECK_OK(ftruncate(mem, 8 * PAGE));
	sealed = backing_from_fd(mem);
	srv_register(f->srv, sealed);
	CHECK_ZERO(region_bind(f, 0, 8 * PAGE, sealed, 0, RW));
	CHECK_OK(fcntl(mem, F_ADD_SEALS, seal));
	return f;
}

/* Whoever sealed a backing is not deceived. */
TEST(m3_sealed_backing)
{
	int fd = srv_open(sealed_file(F_SEAL_WRITE), O_RDWR);
	unsigned char *p;

	p = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p == MAP_FAILED && errno == EPERM);
	CHECK_ERR(pwrite(fd, "x", 1, 0), EPERM);
}

/* Windows into one region, the last of them past its end: nothing is in two places. */
TEST(m3_windows_of_a_file_of_odd_size)
{
	struct tfile *f = srv_stored((struct srv_opts){ 0 }, NULL, 2 * PAGE + 1808, &b, &c);
	int fd = srv_open(f, O_RDWR);
	unsigned char *p[3], byte;

	CHECK_ZERO(region_bind(f, 0, 2 * PAGE + 1808, b, 0, RW));
	for (uint64_t i = 0; i < 3; i++) {
		p[i] = map_file(fd, PROT_READ | PROT_WRITE, MAP_SHARED, i * PAGE, PAGE);
		p[i][7] = (unsigned char)(i + 1);
	}
	for (uint64_t i = 0; i < 3; i++) {
		CHECK_OK(msync(p[i], PAGE, MS_SYNC));
		CHECK_EQ(pread(fd, &byte, 1, (off_t)(i * PAGE + 7)), 1);
		CHECK_EQ(byte, i + 1);
	}
}

/* /proc reads the file behind a mapping, to find out what was built. */
TEST(m3_confined_mapping_has_a_file_to_read)
{
	struct tfile *f = file();
	int fd = srv_open(f, O_RDWR), maps;
	struct {
		uint64_t size, flags, addr, start, end, vma_flags, page, off, inode;
		uint32_t major, minor, name_size, build_id_size;
		uint64_t name, build_id;
	} query = { .size = sizeof(query) };
	char id[32];

	CHECK_ZERO(region_bind(f, 4 * PAGE, 2 * PAGE, b, 7 * PAGE, RW));
	query.addr =
		(uintptr_t)map_file(fd, PROT_READ | PROT_WRITE, MAP_SHARED, 4 * PAGE, 2 * PAGE);
	query.build_id_size = sizeof(id);
	query.build_id = (uintptr_t)id;
	maps = (int)CHECK_OK(open("/proc/self/maps", O_RDONLY));
	if (ioctl(maps, _IOWR('f', 17, query), &query) < 0 && errno == ENOTTY)
		SKIP("no PROCMAP_QUERY");
	CHECK_EQ(query.start, query.addr); /* and the kernel's log is looked at */
}

/* A mapping that can't be stored into is none of a seal's business. */
TEST(m3_sealed_backing_for_reading)
{
	static const int seals[] = { F_SEAL_WRITE, F_SEAL_FUTURE_WRITE };

	for (size_t i = 0; i < ARRAY_SIZE(seals); i++) {
		int fd = srv_open(sealed_file(seals[i]), O_RDWR);
		unsigned char *p;

		p = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		CHECK(p == MAP_FAILED && errno == EPERM);
		p = map_file(fd, PROT_READ, MAP_SHARED, 0, 8 * PAGE);
		CHECK_EQ(p[0], 0);
		CHECK_ERR(mprotect(p, PAGE, PROT_READ | PROT_WRITE), EACCES);
	}
}

TEST(m3_confined_sealed_backing)
{
	struct tfile *f = sealed_file(F_SEAL_FUTURE_WRITE);
	int fd = srv_open(f, O_RDWR);
	unsigned char *p;

	CHECK_ZERO(region_unbind(f, 2 * PAGE, SIZE));
	p = map_file(fd, PROT_READ, MAP_SHARED, 0, 2 * PAGE);
	CHECK_EQ(p[0], 0);
	CHECK_EQ(remap_file_pages(p, PAGE, 0, 5, 0), -1);
	CHECK_EQ(p[0], 0);
}
