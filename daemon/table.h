/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The text of a table: which bytes of which files are where. Only text and
 * numbers here: nothing is opened, so that it can be tested and fuzzed.
 *
 *   # a comment
 *   NAME OFFSET LENGTH BACKING BACKING_OFFSET [ro|rw]
 *   NAME size LENGTH [ro|rw]
 *
 * Fields are separated by blanks. A field that begins with " ends with the
 * next ", and may hold blanks and the escapes \" \\ \n \t \xHH. OFFSET, LENGTH
 * and BACKING_OFFSET are decimal or, after 0x, hexadecimal, and may end in K,
 * M, G or T. 0 0 is the whole file.
 */
#ifndef REGIONFS_TABLE_H
#define REGIONFS_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * struct table_region - a line
 * @offset:		first byte in the file
 * @length:		number of bytes; 0: the whole file
 * @backing:		path as it is written
 * @backing_offset:	first byte in the backing
 * @writable:		rw
 * @line:		line number, from 1
 */
struct table_region {
	uint64_t offset;
	uint64_t length;
	char *backing;
	uint64_t backing_offset;
	bool writable;
	unsigned int line;
};

/**
 * struct table_file - a file
 * @name:	path without ".", "..", or slashes at its ends
 * @size:	where it ends: the last region's end or what a size line says;
 *		meaningless when @whole
 * @whole:	its one region is the whole file
 * @writable:	one of its lines is rw
 * @line:	the first line that names it
 * @size_line:	its size line, 0: none
 * @regions:	in order of their offsets, disjoint
 * @nr_regions:	number of them
 */
struct table_file {
	char *name;
	uint64_t size;
	bool whole;
	bool writable;
	unsigned int line;
	unsigned int size_line;
	struct table_region *regions;
	size_t nr_regions;
};

/**
 * struct table - what a text says; zero it, table_parse() it, table_free() it
 * @files:	in order of their names
 * @nr_files:	number of them
 */
struct table {
	struct table_file *files;
	size_t nr_files;
};

/* Called once for each mistake, in order of the lines. */
typedef void (*table_report_t)(void *ctx, unsigned int line, const char *message);

/*
 * Parse @len bytes of @text. Returns the number of mistakes, of which each was
 * reported, or -ENOMEM. After mistakes the table is incomplete.
 */
int table_parse(struct table *table, const char *text, size_t len, table_report_t report,
		void *ctx);

void table_free(struct table *table);

#endif /* REGIONFS_TABLE_H */
