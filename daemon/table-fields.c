// SPDX-License-Identifier: GPL-2.0
/* Lines of a table into fields, fields into numbers. */

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "table-fields.h"

/* Where in the line we read, and where we write the fields: never ahead of it */
struct cutter {
	const char *in;
	const char *end;
	char *out;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* \xHH, of which the \x has been read */
static const char *cut_hex(struct cutter *cutter)
{
	int high = cutter->in < cutter->end ? hex_digit(cutter->in[0]) : -1;
	int low = cutter->in + 1 < cutter->end ? hex_digit(cutter->in[1]) : -1;

	if (high < 0 || low < 0)
		return "\\x must be followed by two hexadecimal digits";
	if (!high && !low)
		return "\\x00 cannot be in a name";
	*cutter->out++ = (char)(high << 4 | low);
	cutter->in += 2;
	return NULL;
}

static const char *cut_escape(struct cutter *cutter)
{
	static const char from[] = "\"\\nt", to[] = "\"\\\n\t";
	const char *found;

	if (cutter->in == cutter->end)
		return "a \" is missing at the end";
	if (*cutter->in == 'x') {
		cutter->in++;
		return cut_hex(cutter);
	}
	found = memchr(from, *cutter->in, sizeof(from) - 1);
	if (!found)
		return "unknown escape; there are \\\", \\\\, \\n, \\t and \\xHH";
	*cutter->out++ = to[found - from];
	cutter->in++;
	return NULL;
}

static const char *cut_quoted(struct cutter *cutter)
{
	const char *wrong = NULL;

	for (cutter->in++; cutter->in < cutter->end && *cutter->in != '"' && !wrong;) {
		char c = *cutter->in++;

		if (c == '\\')
			wrong = cut_escape(cutter);
		else
			*cutter->out++ = c;
	}
	if (wrong)
		return wrong;
	if (cutter->in == cutter->end)
		return "a \" is missing at the end";
	cutter->in++;
	if (cutter->in < cutter->end && !is_blank(*cutter->in))
		return "a blank is missing after the closing \"";
	return NULL;
}

static const char *cut_plain(struct cutter *cutter)
{
	while (cutter->in < cutter->end && !is_blank(*cutter->in)) {
		if (*cutter->in == '"')
			return "a \" in the middle of a field; put all of the field in quotes";
		*cutter->out++ = *cutter->in++;
	}
	return NULL;
}

static const char *cut_fields(struct table_line *line, struct cutter *cutter)
{
	const char *wrong = NULL;

	while (!wrong && line->nr < TABLE_MAX_FIELDS) {
		while (cutter->in < cutter->end && is_blank(*cutter->in))
			cutter->in++;
		if (cutter->in == cutter->end || *cutter->in == '#')
			break;
		line->field[line->nr++] = cutter->out;
		wrong = *cutter->in == '"' ? cut_quoted(cutter) : cut_plain(cutter);
		*cutter->out++ = 0;
	}
	return wrong;
}

const char *table_cut_line(struct table_line *line, const char *text, size_t len)
{
	struct cutter cutter = { .in = text, .end = text + len };

	/* A field's end takes the place of a blank, a quote, or this one byte more. */
	*line = (struct table_line){ .text = malloc(len + 2) };
	if (!line->text)
		return "";
	if (memchr(text, 0, len))
		return "there is a NUL byte; is this a text file?";
	cutter.out = line->text;
	return cut_fields(line, &cutter);
}

/* A letter as a number of bits; -1: none of them */
static int unit_shift(const char *unit)
{
	static const char letters[4] = "KMGT"; /* and no NUL, which a blank would be */
	const char *found;

	if (!unit[0])
		return 0;
	found = unit[1] ? NULL : memchr(letters, unit[0] & ~0x20, sizeof(letters));
	return found ? (int)(found - letters + 1) * 10 : -1;
}

const char *table_number(const char *field, uint64_t *number)
{
	bool hex = field[0] == '0' && (field[1] | 0x20) == 'x';
	const char *p = field + (hex ? 2 : 0), *digits = p;
	unsigned int base = hex ? 16 : 10;
	uint64_t value = 0;
	int shift;

	for (; *p; p++) {
		int digit = hex_digit(*p);

		if (digit < 0 || digit >= (int)base)
			break;
		if (__builtin_mul_overflow(value, base, &value) ||
		    __builtin_add_overflow(value, (unsigned int)digit, &value))
			return "is too large";
	}
	shift = unit_shift(p);
	if (p == digits || shift < 0)
		return "is not a number of bytes (123, 0x7b, 4K, 2M, 1G, 1T)";
	if (value > UINT64_MAX >> shift)
		return "is too large";
	*number = value << shift;
	return NULL;
}
