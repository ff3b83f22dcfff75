/* SPDX-License-Identifier: GPL-2.0 */
/* Lines of a table into fields, fields into numbers. */
#ifndef REGIONFS_TABLE_FIELDS_H
#define REGIONFS_TABLE_FIELDS_H

#include <stddef.h>
#include <stdint.h>

/* No line has more; the last one of a line with more is not looked at. */
#define TABLE_MAX_FIELDS 7

/**
 * struct table_line - a line, cut
 * @field:	the fields, without quotes and escapes
 * @nr:		number of them
 * @text:	holds them; free it
 */
struct table_line {
	char *field[TABLE_MAX_FIELDS];
	unsigned int nr;
	char *text;
};

/* NULL, or what is wrong with the line; "" when there is no memory. */
const char *table_cut_line(struct table_line *line, const char *text, size_t len);

/* NULL, or what is wrong with the number. */
const char *table_number(const char *field, uint64_t *number);

#endif /* REGIONFS_TABLE_FIELDS_H */
