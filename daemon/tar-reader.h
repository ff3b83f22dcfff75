/* SPDX-License-Identifier: GPL-2.0 */
/*
 * An archive as libarchive reads it, and where in the file that is.
 *
 * libarchive says what a member is, but not where its data are. The places
 * come from how far it has read: it counts the bytes that it consumed, so
 * that after a member's headers the count is where the data begin, and after
 * skipping the data it is where the next header begins. Each place is checked
 * against the first bytes that libarchive reads for the member, so that a
 * libarchive that counts otherwise is an error and not wrong data.
 */
#ifndef REGIONFS_TAR_READER_H
#define REGIONFS_TAR_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <archive.h>
#include <archive_entry.h>

#include "progress.h"

#define TAR_READ_SIZE 65536

/**
 * struct tar_reader - an archive that is being read
 * @fd:		the file
 * @path:	its name
 * @size:	its size
 * @pos:	where libarchive's next read is
 * @archive:	libarchive's state
 * @member:	name of the last member, or NULL; for messages
 * @progress:	progress
 * @buffer:	for libarchive to read from
 */
struct tar_reader {
	int fd;
	const char *path;
	uint64_t size;
	uint64_t pos;
	struct archive *archive;
	char *member;
	struct progress progress;
	char buffer[TAR_READ_SIZE];
};

/**
 * struct tar_place - where a member's data are
 * @begin:		first byte in the archive
 * @end:		the next header
 * @first:		the first byte that libarchive gives for the file
 * @first_offset:	and which byte of the file that is
 */
struct tar_place {
	uint64_t begin;
	uint64_t end;
	uint64_t first;
	uint64_t first_offset;
};

/* @reader is zero but for fd and path. 0, or -1 after a message. */
int tar_reader_open(struct tar_reader *reader);
void tar_reader_close(struct tar_reader *reader);

/* How far libarchive has come */
uint64_t tar_reader_place(const struct tar_reader *reader);

/* The next member. 1, 0 at the end, or -1 after a message. */
int tar_reader_next(struct tar_reader *reader, struct archive_entry **entry);

/*
 * The next run of the member's data, which is not consumed yet. 1, 0 at the
 * end, or -1 after a message.
 */
int tar_reader_data(struct tar_reader *reader, size_t *size, uint64_t *offset, uint64_t *place);

/* Find the member's data, and go to the next header. 0, or -1 after a message. */
int tar_reader_find(struct tar_reader *reader, struct tar_place *place);

/* A message that names the archive, the place and the member. Returns -1. */
int tar_reader_damaged(struct tar_reader *reader, uint64_t offset, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* A message about something that is not the archive's fault. Returns -1. */
int tar_reader_failed(struct tar_reader *reader, int64_t err);

#endif /* REGIONFS_TAR_READER_H */
