// SPDX-License-Identifier: GPL-2.0
/*
 * usage: regionfs-take-turns WRITER READER [SKIP LENGTH]
 *
 * Changes WRITER again and again, and looks each time whether READER, a file with the same backing
 * that is open all the time, shows it. WRITER is the whole backing and empty; READER is as well, or
 * LENGTH of its bytes from SKIP on. Exits with 1 at the first difference.
 */
#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TURNS 400
#define SIZE_MAX_EVER 16384

static int writer, reader;
static size_t size, skip, length;
static char wanted[SIZE_MAX_EVER], got[SIZE_MAX_EVER];
static int turn;

static void __attribute__((noreturn)) die(const char *what)
{
	fprintf(stderr, "turn %d: %s (%s)\n", turn, what, strerror(errno));
	exit(1);
}

static void put(size_t offset, size_t count)
{
	memset(wanted + offset, 'a' + turn % 26, count);
	if (pwrite(writer, wanted + offset, count, (off_t)offset) != (ssize_t)count)
		die("write");
	if (offset + count > size)
		size = offset + count;
}

static void cut(void)
{
	size = size > 100 ? size - 100 : size / 2;
	memset(wanted + size, 0, sizeof(wanted) - size);
	if (ftruncate(writer, (off_t)size) < 0)
		die("truncate");
}

static void punch(size_t offset, size_t count)
{
	if (fallocate(writer, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
		      (off_t)count) == 0)
		memset(wanted + offset, 0, count);
	else if (errno != EOPNOTSUPP)
		die("fallocate");
}

static void change(void)
{
	switch (turn % 5) {
	case 0:
		return put(size, 200);
	case 1:
		return punch(3, 2);
	case 2:
		return cut();
	default:
		/* Nothing that a size would tell, and twice */
		return put(0, 10);
	}
}

static void look(void)
{
	size_t shown = length ? length : size;
	struct stat st;

	if (pread(reader, got, sizeof(got), 0) != (ssize_t)shown)
		die("another number of bytes is read");
	if (memcmp(got, wanted + skip, shown) != 0)
		die("other bytes are read");
	if (fstat(reader, &st) < 0 || st.st_size != (off_t)shown)
		die("another size");
}

int main(int argc, char **argv)
{
	if (argc != 3 && argc != 5) {
		fprintf(stderr, "usage: %s WRITER READER [SKIP LENGTH]\n", argv[0]);
		return 2;
	}
	writer = open(argv[1], O_RDWR | O_CLOEXEC);
	reader = open(argv[2], O_RDONLY | O_CLOEXEC);
	if (writer < 0 || reader < 0)
		die("open");
	if (argc == 5) {
		skip = strtoul(argv[3], NULL, 0);
		length = strtoul(argv[4], NULL, 0);
	}
	for (turn = 0; turn < TURNS; turn++) {
		change();
		look();
	}
	return 0;
}
