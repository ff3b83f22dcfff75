// SPDX-License-Identifier: GPL-2.0
/*
 * usage: regionfs-random-io FILE REFERENCE SEED OPERATIONS [RO_BEGIN RO_END]
 *
 * Does the same random things to FILE and to REFERENCE, a file with the same
 * content on a native file system, and compares what they show. Bytes from
 * RO_BEGIN up to RO_END are not written to. Exits with 1 at the first
 * difference, after saying where, and with which operation.
 */
#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/falloc.h>

#define FILE_MAX (1 << 20)
#define LENGTH_MAX 200000
#define PAGE 4096

static int file, reference;
static uint64_t state;
static off_t ro_begin, ro_end;
static unsigned long operation;
static const char *doing = "start";
static off_t offset;
static size_t length;
static char mine[FILE_MAX + LENGTH_MAX], theirs[FILE_MAX + LENGTH_MAX];

static void __attribute__((noreturn)) die(const char *what)
{
	fprintf(stderr, "operation %lu, %s of %zu bytes at %jd: %s (%s)\n", operation, doing,
		length, (intmax_t)offset, what, strerror(errno));
	exit(1);
}

/* xorshift: the same numbers everywhere */
static uint64_t number(uint64_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % below;
}

static void noise(char *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		data[i] = (char)number(256);
}

static off_t size_of(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		die("fstat");
	return st.st_size;
}

static bool is_ro(off_t from, off_t to)
{
	return from < ro_end && to > ro_begin;
}

static void compare(const char *a, const char *b, size_t size, off_t at)
{
	for (size_t i = 0; i < size; i++) {
		if (a[i] == b[i])
			continue;
		fprintf(stderr, "byte %jd is %02x, not %02x\n", (intmax_t)(at + (off_t)i),
			(unsigned char)a[i], (unsigned char)b[i]);
		errno = 0;
		die("different bytes");
	}
}

static void do_read(void)
{
	ssize_t a = pread(file, mine, length, offset), b = pread(reference, theirs, length, offset);

	if (a != b)
		die("different lengths");
	compare(mine, theirs, (size_t)a, offset);
}

static void do_write(void)
{
	if (is_ro(offset, offset + (off_t)length))
		return;
	noise(mine, length);
	if (pwrite(file, mine, length, offset) != (ssize_t)length)
		die("write");
	if (pwrite(reference, mine, length, offset) != (ssize_t)length)
		die("write to the reference");
}

/* What was only readable is gone with the bytes. */
static void do_truncate(void)
{
	if (number(4))
		return;
	if (ftruncate(file, offset) < 0 || ftruncate(reference, offset) < 0)
		die("truncate");
	if (ro_end > offset)
		ro_end = offset;
}

static void do_fallocate(int mode)
{
	if (is_ro(offset, offset + (off_t)length))
		return;
	if (fallocate(file, mode, offset, (off_t)length) < 0)
		die("fallocate");
	/* Native file systems differ in what they offer; all can punch. */
	if (mode & FALLOC_FL_ZERO_RANGE && !(mode & FALLOC_FL_KEEP_SIZE) &&
	    size_of(reference) < offset + (off_t)length &&
	    ftruncate(reference, offset + (off_t)length) < 0)
		die("truncate of the reference");
	if (fallocate(reference, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset,
		      (off_t)length) < 0)
		die("fallocate of the reference");
}

/* Whole pages inside the file; false: there are none. */
static bool page_range(void)
{
	off_t size = size_of(reference);

	offset = offset / PAGE * PAGE;
	if (offset >= size)
		return false;
	if ((off_t)length > size - offset)
		length = (size_t)(size - offset);
	return true;
}

/*
 * A kernel may refuse (ENODEV) to share a mapping of bytes of different files
 * if it is writable or, as FILE is, can be made so. Private ones always work.
 */
static char *map_file(int prot, int flags)
{
	char *map = mmap(NULL, length, prot, flags, file, offset);

	if (map != MAP_FAILED)
		return map;
	if (errno != ENODEV || flags == MAP_PRIVATE)
		die("mmap");
	return NULL;
}

static void do_mmap_read(void)
{
	char *map;

	if (!page_range())
		return;
	map = map_file(PROT_READ, number(2) ? MAP_SHARED : MAP_PRIVATE);
	if (!map)
		map = map_file(PROT_READ, MAP_PRIVATE);
	if (pread(reference, theirs, length, offset) != (ssize_t)length)
		die("read of the reference");
	compare(map, theirs, length, offset);
	munmap(map, length);
}

static void do_mmap_write(void)
{
	char *map;

	if (!page_range() || is_ro(offset, offset + (off_t)((length + PAGE - 1) / PAGE * PAGE)))
		return;
	map = map_file(PROT_READ | PROT_WRITE, MAP_SHARED);
	if (!map)
		return;
	noise(mine, length);
	memcpy(map, mine, length);
	if (number(2) && msync(map, length, MS_SYNC) < 0)
		die("msync");
	munmap(map, length);
	if (pwrite(reference, mine, length, offset) != (ssize_t)length)
		die("write to the reference");
}

static void do_sync(void)
{
	if ((number(2) ? fsync(file) : fdatasync(file)) < 0)
		die("sync");
	if (size_of(file) != size_of(reference))
		die("different sizes");
}

static void do_append(void)
{
	offset = size_of(reference);
	if (offset + (off_t)length <= FILE_MAX)
		do_write();
}

static void do_one(void)
{
	static const size_t lengths[] = { 1, 10, 100, PAGE, 5000, 65536, LENGTH_MAX };

	offset = (off_t)number(FILE_MAX);
	length = 1 + number(lengths[number(sizeof(lengths) / sizeof(lengths[0]))]);
	switch (number(12)) {
	case 0:
	case 1:
		doing = "read";
		return do_read();
	case 2:
	case 3:
	case 4:
		doing = "write";
		return do_write();
	case 5:
		doing = "truncate";
		return do_truncate();
	case 6:
		doing = "punch";
		return do_fallocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
	case 7:
		doing = "zero";
		return do_fallocate(FALLOC_FL_ZERO_RANGE | (number(2) ? FALLOC_FL_KEEP_SIZE : 0));
	case 8:
		doing = "mapped read";
		return do_mmap_read();
	case 9:
		doing = "mapped write";
		return do_mmap_write();
	case 10:
		doing = "append";
		return do_append();
	default:
		doing = "sync";
		return do_sync();
	}
}

static void compare_all(void)
{
	doing = "last read";
	offset = 0;
	length = sizeof(mine);
	do_read();
	do_sync();
}

int main(int argc, char **argv)
{
	unsigned long count;

	if (argc != 5 && argc != 7) {
		fprintf(stderr, "usage: %s FILE REFERENCE SEED OPERATIONS [RO_BEGIN RO_END]\n",
			argv[0]);
		return 2;
	}
	file = open(argv[1], O_RDWR);
	reference = open(argv[2], O_RDWR);
	if (file < 0 || reference < 0)
		die("open");
	state = 0x9e3779b97f4a7c15ULL + strtoull(argv[3], NULL, 0);
	count = strtoul(argv[4], NULL, 0);
	if (argc == 7) {
		ro_begin = strtoll(argv[5], NULL, 0);
		ro_end = strtoll(argv[6], NULL, 0);
	}
	for (operation = 0; operation < count; operation++)
		do_one();
	compare_all();
	return 0;
}
