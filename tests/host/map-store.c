// SPDX-License-Identifier: GPL-2.0
/*
 * usage: regionfs-map-store FILE OFFSET LENGTH
 *
 * Stores LENGTH times 'x' at OFFSET through a shared mapping, and syncs it. Each call that fails
 * is told; then the exit status is 1.
 */
#define _GNU_SOURCE

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int check(const char *call, int ret)
{
	if (ret == 0)
		return EXIT_SUCCESS;
	perror(call);
	return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	int status = EXIT_SUCCESS, fd;
	size_t offset, length;
	char *map;

	if (argc != 4) {
		fprintf(stderr, "usage: %s FILE OFFSET LENGTH\n", argv[0]);
		return 2;
	}
	offset = strtoull(argv[2], NULL, 0);
	length = strtoull(argv[3], NULL, 0);
	fd = open(argv[1], O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return check("open", fd);
	map = mmap(NULL, offset + length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return check("mmap", -1);
	memset(map + offset, 'x', length);
	status |= check("msync", msync(map, offset + length, MS_SYNC));
	status |= check("fsync", fsync(fd));
	status |= check("munmap", munmap(map, offset + length));
	status |= check("close", close(fd));
	return status;
}
