// SPDX-License-Identifier: GPL-2.0
/*
 * usage: regionfs-list-from DIRECTORY OFFSET…
 *
 * For each OFFSET seeks there in DIRECTORY, opened anew, and prints the names that follow.
 */
#define _GNU_SOURCE

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int list_from(const char *path, const char *offset)
{
	char buf[4096] __attribute__((aligned(8)));
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ssize_t size = -1;

	if (fd >= 0 && lseek(fd, (off_t)strtoull(offset, NULL, 0), SEEK_SET) >= 0)
		size = getdents64(fd, buf, sizeof(buf));
	if (size < 0) {
		perror(offset);
		return EXIT_FAILURE;
	}
	for (ssize_t at = 0; at < size;) {
		const struct dirent64 *entry = (const void *)(buf + at);

		puts(entry->d_name);
		at += entry->d_reclen;
	}
	close(fd);
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	int status = EXIT_SUCCESS;

	for (int i = 2; i < argc; i++)
		status |= list_from(argv[1], argv[i]);
	return status;
}
