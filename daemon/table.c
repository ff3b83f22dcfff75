// SPDX-License-Identifier: GPL-2.0
/*
 * The text of a table: see table.h.
 *
 * First every line becomes an entry, or a mistake. The entries are then put
 * in order of names and offsets, so that what belongs together, or should not
 * be together, is side by side.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "table-fields.h"
#include "table.h"

#define NAME_COMPONENT_MAX 255
#define LARGEST_SIZE ((uint64_t)INT64_MAX)

/* A line: a region, or a size (in region.length) */
struct entry {
	char *name;
	bool is_size;
	struct table_region region;
};

struct mistake {
	unsigned int line;
	char *message;
};

struct parser {
	unsigned int line;
	struct entry *entries;
	size_t nr_entries, room_entries;
	struct mistake *mistakes;
	size_t nr_mistakes, room_mistakes;
	bool no_memory;
};

static void *room_for_one(struct parser *parser, void *array, size_t nr, size_t *room, size_t size)
{
	void *bigger;

	if (nr < *room)
		return array;
	bigger = reallocarray(array, *room ? *room * 2 : 16, size);
	if (!bigger) {
		parser->no_memory = true;
		return NULL;
	}
	*room = *room ? *room * 2 : 16;
	return bigger;
}

static void __attribute__((format(printf, 3, 4)))
wrong_at(struct parser *parser, unsigned int line, const char *format, ...)
{
	struct mistake *mistakes = room_for_one(parser, parser->mistakes, parser->nr_mistakes,
						&parser->room_mistakes, sizeof(*mistakes));
	char *message;
	va_list ap;
	int ret;

	if (!mistakes)
		return;
	parser->mistakes = mistakes;
	va_start(ap, format);
	ret = vasprintf(&message, format, ap);
	va_end(ap);
	if (ret < 0)
		parser->no_memory = true;
	else
		mistakes[parser->nr_mistakes++] = (struct mistake){ line, message };
}

#define wrong(parser, ...) wrong_at(parser, (parser)->line, __VA_ARGS__)

/* --- a line --- */

/* Checks the name; drops doubled and trailing slashes in place. */
static bool check_name(struct parser *parser, char *name)
{
	char *in = name, *out = name;

	if (name[0] == '/') {
		wrong(parser, "NAME '%s' begins with a slash; names are relative", name);
		return false;
	}
	while (*in) {
		size_t len = strcspn(in, "/");

		if (len > NAME_COMPONENT_MAX) {
			wrong(parser, "NAME has a part of %zu characters; the most is %d", len,
			      NAME_COMPONENT_MAX);
			return false;
		}
		if ((len == 1 && in[0] == '.') || (len == 2 && in[0] == '.' && in[1] == '.')) {
			wrong(parser, "NAME '%s' has a part that is '.' or '..'", name);
			return false;
		}
		if (out > name && len)
			*out++ = '/';
		memmove(out, in, len);
		out += len;
		in += len + strspn(in + len, "/");
		if (!*in && in[-1] == '/') {
			wrong(parser, "NAME ends with a slash; directories come with their files");
			return false;
		}
	}
	*out = 0;
	if (out == name)
		wrong(parser, "NAME is empty");
	return out > name;
}

static bool check_number(struct parser *parser, const char *what, const char *field,
			 uint64_t *number)
{
	const char *problem = table_number(field, number);

	if (problem)
		wrong(parser, "%s '%s' %s", what, field, problem);
	else if (*number > LARGEST_SIZE)
		wrong(parser, "%s '%s' is too large", what, field);
	return !problem && *number <= LARGEST_SIZE;
}

static bool check_access(struct parser *parser, const char *field, bool *writable)
{
	*writable = !strcmp(field, "rw");
	if (*writable || !strcmp(field, "ro"))
		return true;
	wrong(parser, "'%s' is neither 'ro' nor 'rw'", field);
	return false;
}

static bool check_range(struct parser *parser, const struct table_region *region)
{
	if (!region->length && region->offset) {
		wrong(parser, "LENGTH is 0, which is the whole file only with OFFSET 0");
		return false;
	}
	if (region->length > LARGEST_SIZE - region->offset) {
		wrong(parser, "OFFSET and LENGTH end past the largest file size");
		return false;
	}
	if (region->length > LARGEST_SIZE - region->backing_offset) {
		wrong(parser, "BACKING_OFFSET and LENGTH end past the largest file size");
		return false;
	}
	return true;
}

static bool parse_size(struct parser *parser, const struct table_line *line, struct entry *entry)
{
	bool ok;

	if (line->nr < 3 || line->nr > 4) {
		wrong(parser, "%s; it must be NAME size LENGTH [ro|rw]",
		      line->nr < 3 ? "LENGTH is missing" : "too many fields");
		return false;
	}
	entry->is_size = true;
	ok = check_number(parser, "LENGTH", line->field[2], &entry->region.length);
	if (line->nr == 4)
		ok &= check_access(parser, line->field[3], &entry->region.writable);
	return ok;
}

static bool parse_region(struct parser *parser, const struct table_line *line, struct entry *entry)
{
	struct table_region *region = &entry->region;
	bool ok;

	if (line->nr < 5 || line->nr > 6) {
		wrong(parser,
		      "%s; it must be NAME OFFSET LENGTH BACKING BACKING_OFFSET [ro|rw], or NAME "
		      "size LENGTH [ro|rw]",
		      line->nr < 5 ? "fields are missing" : "too many fields");
		return false;
	}
	ok = check_number(parser, "OFFSET", line->field[1], &region->offset);
	ok &= check_number(parser, "LENGTH", line->field[2], &region->length);
	ok &= check_number(parser, "BACKING_OFFSET", line->field[4], &region->backing_offset);
	if (line->nr == 6)
		ok &= check_access(parser, line->field[5], &region->writable);
	if (!line->field[3][0]) {
		wrong(parser, "BACKING is empty");
		ok = false;
	}
	return ok && check_range(parser, region);
}

static void add_entry(struct parser *parser, const struct table_line *line,
		      const struct entry *entry)
{
	struct entry *entries = room_for_one(parser, parser->entries, parser->nr_entries,
					     &parser->room_entries, sizeof(*entries)),
		     *new;

	if (!entries)
		return;
	parser->entries = entries;
	new = &entries[parser->nr_entries];
	*new = *entry;
	new->region.line = parser->line;
	new->name = strdup(line->field[0]);
	new->region.backing = entry->is_size ? NULL : strdup(line->field[3]);
	if (new->name && (new->region.backing || new->is_size)) {
		parser->nr_entries++;
		return;
	}
	free(new->name);
	free(new->region.backing);
	parser->no_memory = true;
}

static void parse_fields(struct parser *parser, const struct table_line *line)
{
	struct entry entry = { .name = NULL };
	bool is_size = line->nr > 1 && !strcmp(line->field[1], "size");
	bool ok = check_name(parser, line->field[0]);

	ok &= is_size ? parse_size(parser, line, &entry) : parse_region(parser, line, &entry);
	if (ok)
		add_entry(parser, line, &entry);
}

static void parse_line(struct parser *parser, const char *text, size_t len)
{
	struct table_line line;
	const char *problem = table_cut_line(&line, text, len);

	if (!line.text)
		parser->no_memory = true;
	else if (problem)
		wrong(parser, "%s", problem);
	else if (line.nr)
		parse_fields(parser, &line);
	free(line.text);
}

static void parse_text(struct parser *parser, const char *text, size_t len)
{
	const char *end = text + len;

	while (text < end) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		const char *line_end = newline ? newline : end;

		parser->line++;
		parse_line(parser, text, (size_t)(line_end - text));
		text = line_end + 1;
	}
}

/* --- lines together --- */

/* As strcmp(), but "/" is the smallest character: a directory's files follow its name. */
static int compare_names(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return (*a == '/' ? 1 : (unsigned char)*a * 2) - (*b == '/' ? 1 : (unsigned char)*b * 2);
}

/* By name; then size lines; then by offset; then as they came */
static int compare_entries(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int by_name = compare_names(x->name, y->name);

	if (by_name)
		return by_name;
	if (x->is_size != y->is_size)
		return x->is_size ? -1 : 1;
	if (!x->is_size && x->region.offset != y->region.offset)
		return x->region.offset < y->region.offset ? -1 : 1;
	return x->region.line < y->region.line ? -1 : 1;
}

static uint64_t region_end(const struct table_region *region)
{
	return region->length ? region->offset + region->length : LARGEST_SIZE;
}

static void check_overlap(struct parser *parser, const struct table_region *a,
			  const struct table_region *b)
{
	const struct table_region *first = a->line < b->line ? a : b;
	const struct table_region *later = a->line < b->line ? b : a;

	if (b->offset >= region_end(a))
		return;
	if (!a->length || !b->length)
		wrong_at(parser, later->line,
			 "overlaps line %u: a whole-file region must be a file's only one",
			 first->line);
	else
		wrong_at(parser, later->line,
			 "overlaps line %u: both have the bytes from %" PRIu64 " to %" PRIu64,
			 first->line, b->offset,
			 (region_end(a) < region_end(b) ? region_end(a) : region_end(b)) - 1);
}

static void add_size(struct parser *parser, struct table_file *file, const struct entry *entry)
{
	if (file->size_line) {
		wrong_at(parser, entry->region.line, "line %u gives a size already",
			 file->size_line);
		return;
	}
	file->size = entry->region.length;
	file->size_line = entry->region.line;
}

static void check_size(struct parser *parser, const struct table_file *file,
		       const struct table_region *region)
{
	if (!file->size_line)
		return;
	if (!region->length)
		wrong_at(parser, file->size_line,
			 "line %u is a whole-file region, whose backing has the size",
			 region->line);
	else if (region_end(region) > file->size)
		wrong_at(parser, file->size_line,
			 "size %" PRIu64 " is less than the end of line %u, %" PRIu64, file->size,
			 region->line, region_end(region));
}

/* The regions come in order; each is held against the one that reaches farthest. */
static void add_region(struct parser *parser, struct table_file *file, struct entry *entry,
		       size_t *farthest)
{
	struct table_region *region = &file->regions[file->nr_regions];

	*region = entry->region;
	entry->region.backing = NULL; /* the file's now */
	check_size(parser, file, region);
	if (file->nr_regions)
		check_overlap(parser, &file->regions[*farthest], region);
	if (region_end(region) > region_end(&file->regions[*farthest]))
		*farthest = file->nr_regions;
	if (!region->length)
		file->whole = true;
	else if (!file->size_line && region_end(region) > file->size)
		file->size = region_end(region);
	file->nr_regions++;
}

/* @entries are all of one name */
static void add_file(struct parser *parser, struct table *table, struct entry *entries, size_t nr)
{
	struct table_file *file = &table->files[table->nr_files];
	size_t farthest = 0;

	*file = (struct table_file){
		.name = entries[0].name,
		.line = entries[0].region.line,
		.regions = calloc(nr, sizeof(*file->regions)),
	};
	entries[0].name = NULL; /* the file's now */
	table->nr_files++;
	if (!file->regions) {
		parser->no_memory = true;
		return;
	}
	for (size_t i = 0; i < nr; i++) {
		if (entries[i].region.line < file->line)
			file->line = entries[i].region.line;
		file->writable |= entries[i].region.writable;
		if (entries[i].is_size)
			add_size(parser, file, &entries[i]);
		else
			add_region(parser, file, &entries[i], &farthest);
	}
}

static bool is_below(const char *name, const char *dir)
{
	size_t len = strlen(dir);

	return !strncmp(name, dir, len) && name[len] == '/';
}

/* In this order a file's name is followed by the names that make it a directory. */
static void check_directories(struct parser *parser, const struct table *table)
{
	const struct table_file *last = NULL;

	for (size_t i = 0; i < table->nr_files; i++) {
		const struct table_file *file = &table->files[i];

		if (last && is_below(file->name, last->name)) {
			unsigned int a = last->line, b = file->line;

			wrong_at(parser, a > b ? a : b,
				 "'%s' cannot be a file and a directory: see line %u", last->name,
				 a > b ? b : a);
		} else {
			last = file;
		}
	}
}

static void group(struct parser *parser, struct table *table)
{
	struct entry *entries = parser->entries;
	size_t nr = parser->nr_entries, end;

	if (!nr)
		return;
	qsort(entries, nr, sizeof(*entries), compare_entries);
	table->files = calloc(nr, sizeof(*table->files));
	if (!table->files) {
		parser->no_memory = true;
		return;
	}
	for (size_t i = 0; i < nr; i = end) {
		for (end = i + 1; end < nr && !strcmp(entries[i].name, entries[end].name);)
			end++;
		add_file(parser, table, &entries[i], end - i);
	}
	check_directories(parser, table);
}

/* --- all of it --- */

static int compare_mistakes(const void *a, const void *b)
{
	const struct mistake *x = a, *y = b;

	return x->line < y->line ? -1 : x->line > y->line;
}

static void end(struct parser *parser)
{
	for (size_t i = 0; i < parser->nr_entries; i++) {
		free(parser->entries[i].name);
		free(parser->entries[i].region.backing);
	}
	free(parser->entries);
	for (size_t i = 0; i < parser->nr_mistakes; i++)
		free(parser->mistakes[i].message);
	free(parser->mistakes);
}

int table_parse(struct table *table, const char *text, size_t len, table_report_t report, void *ctx)
{
	struct parser parser = { .line = 0 };
	int ret;

	parse_text(&parser, text, len);
	group(&parser, table);
	if (parser.nr_mistakes)
		qsort(parser.mistakes, parser.nr_mistakes, sizeof(*parser.mistakes),
		      compare_mistakes);
	for (size_t i = 0; i < parser.nr_mistakes; i++)
		report(ctx, parser.mistakes[i].line, parser.mistakes[i].message);
	ret = parser.no_memory ? -ENOMEM : (int)parser.nr_mistakes;
	end(&parser);
	return ret;
}

void table_free(struct table *table)
{
	for (size_t i = 0; i < table->nr_files; i++) {
		for (size_t j = 0; j < table->files[i].nr_regions; j++)
			free(table->files[i].regions[j].backing);
		free(table->files[i].regions);
		free(table->files[i].name);
	}
	free(table->files);
	*table = (struct table){ 0 };
}
