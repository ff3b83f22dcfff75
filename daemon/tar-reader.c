// SPDX-License-Identifier: GPL-2.0
/* An archive as libarchive reads it: see tar-reader.h. */

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compressed.h"
#include "fs.h"
#include "tar-reader.h"

#define CHECK_SIZE 512 /* bytes of each member that are compared */

int tar_reader_damaged(struct tar_reader *reader, uint64_t offset, const char *format, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	progress_end(&reader->progress);
	if (reader->member)
		fs_error("%s: offset %" PRIu64 ", member '%s': %s", reader->path, offset,
			 reader->member, text);
	else
		fs_error("%s: offset %" PRIu64 ": %s", reader->path, offset, text);
	return -1;
}

int tar_reader_failed(struct tar_reader *reader, int64_t err)
{
	progress_end(&reader->progress);
	fs_error("%s: %s", reader->path,
		 err == -EOVERFLOW ? "the archive has more members than regionfs can number"
				   : strerror((int)-err));
	return -1;
}

/* --- libarchive's view of the file --- */

static la_ssize_t read_archive(struct archive *archive, void *data, const void **buffer)
{
	struct tar_reader *reader = data;
	ssize_t n;

	do {
		n = pread(reader->fd, reader->buffer, sizeof(reader->buffer), (off_t)reader->pos);
	} while (n < 0 && errno == EINTR);
	if (n < 0) {
		archive_set_error(archive, errno, "%s", strerror(errno));
		return ARCHIVE_FATAL;
	}
	reader->pos += (uint64_t)n;
	*buffer = reader->buffer;
	return n;
}

/* The data of big members are never read. */
static la_int64_t skip_archive(struct archive *archive, void *data, la_int64_t request)
{
	struct tar_reader *reader = data;
	int64_t left = reader->pos < reader->size ? (int64_t)(reader->size - reader->pos) : 0;

	(void)archive;
	if (request > left)
		request = left;
	reader->pos += (uint64_t)request;
	return request;
}

static int not_a_tar(struct tar_reader *reader)
{
	struct compressed compressed;

	if (!reader->size)
		fs_error("%s is empty; regionfs needs a tar archive", reader->path);
	else if (!compressed_detect(reader->fd, &compressed))
		fs_error("%s is not a tar archive: %s", reader->path,
			 archive_error_string(reader->archive));
	else if (compressed.command)
		fs_error("%s is compressed (%s); regionfs needs a plain tar: %s it first",
			 reader->path, compressed.name, compressed.command);
	else
		fs_error("%s is a %s archive; regionfs needs a plain tar", reader->path,
			 compressed.name);
	return -1;
}

int tar_reader_open(struct tar_reader *reader)
{
	struct stat st;

	progress_begin(&reader->progress, reader->path);
	if (fstat(reader->fd, &st) < 0)
		return tar_reader_failed(reader, -errno);
	reader->size = (uint64_t)st.st_size;
	reader->archive = archive_read_new();
	if (!reader->archive)
		return tar_reader_failed(reader, -ENOMEM);
	archive_read_support_filter_none(reader->archive);
	archive_read_support_format_tar(reader->archive);
	archive_read_set_read_callback(reader->archive, read_archive);
	archive_read_set_skip_callback(reader->archive, skip_archive);
	archive_read_set_callback_data(reader->archive, reader);
	return archive_read_open1(reader->archive) == ARCHIVE_OK ? 0 : not_a_tar(reader);
}

void tar_reader_close(struct tar_reader *reader)
{
	progress_end(&reader->progress);
	archive_read_free(reader->archive);
	free(reader->member);
}

/* --- members --- */

uint64_t tar_reader_place(const struct tar_reader *reader)
{
	return (uint64_t)archive_filter_bytes(reader->archive, 0);
}

int tar_reader_next(struct tar_reader *reader, struct archive_entry **entry)
{
	uint64_t place = tar_reader_place(reader);
	int ret = archive_read_next_header(reader->archive, entry);
	const char *name;

	if (ret == ARCHIVE_EOF)
		return 0;
	if (ret != ARCHIVE_OK && ret != ARCHIVE_WARN)
		return tar_reader_damaged(reader, place, "%s%s",
					  reader->member ? "the header after it: " : "",
					  archive_error_string(reader->archive));
	name = archive_entry_pathname(*entry);
	free(reader->member);
	reader->member = strdup(name ? name : "");
	return reader->member ? 1 : tar_reader_failed(reader, -ENOMEM);
}

/* Does the file have @data at @place? */
static bool is_there(const struct tar_reader *reader, const void *data, size_t size, uint64_t place)
{
	char check[CHECK_SIZE];

	if (size > sizeof(check))
		size = sizeof(check);
	return pread(reader->fd, check, size, (off_t)place) == (ssize_t)size &&
	       !memcmp(check, data, size);
}

int tar_reader_data(struct tar_reader *reader, size_t *size, uint64_t *offset, uint64_t *place)
{
	const void *data = NULL;
	la_int64_t la_offset = 0;
	int ret;

	*size = 0;
	ret = archive_read_data_block(reader->archive, &data, size, &la_offset);
	*offset = (uint64_t)la_offset;
	*place = tar_reader_place(reader);
	if (ret == ARCHIVE_EOF)
		return 0;
	if (ret != ARCHIVE_OK && ret != ARCHIVE_WARN)
		return tar_reader_damaged(reader, *place, "%s",
					  archive_error_string(reader->archive));
	if (!is_there(reader, data, *size, *place))
		return tar_reader_damaged(reader, *place,
					  "libarchive reads other bytes than are there");
	return 1;
}

int tar_reader_find(struct tar_reader *reader, struct tar_place *place)
{
	size_t size;
	int ret;

	place->begin = tar_reader_place(reader);
	ret = tar_reader_data(reader, &size, &place->first_offset, &place->first);
	if (ret < 0)
		return ret;
	if (archive_read_data_skip(reader->archive) != ARCHIVE_OK)
		return tar_reader_damaged(reader, place->begin, "%s",
					  archive_error_string(reader->archive));
	place->end = tar_reader_place(reader);
	if (ret == 0) { /* nothing but hole */
		place->first = place->begin;
		place->first_offset = 0;
	}
	return 0;
}
