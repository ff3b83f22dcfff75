// SPDX-License-Identifier: GPL-2.0
/* The command line of a mount. */

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs.h"

enum { KEY_READ_ONLY, KEY_READ_WRITE, KEY_ALLOW_OTHER, KEY_FSNAME, KEY_MAX_THREADS };

#define MAX_THREADS "max_threads="

#define SET(template, member)                            \
	{                                                \
		template, offsetof(struct fs, member), 1 \
	}

static const struct fuse_opt options[] = {
	SET("-f", foreground),
	SET("-d", debug),
	SET("debug", debug),
	SET("-s", single_thread),
	SET("noregions", noregions),
	SET("clone_fd", clone_fd),
	{ "stats=%s", offsetof(struct fs, stats_path), 0 },
	FUSE_OPT_KEY("ro", KEY_READ_ONLY),
	FUSE_OPT_KEY("rw", KEY_READ_WRITE),
	FUSE_OPT_KEY("allow_other", KEY_ALLOW_OTHER),
	FUSE_OPT_KEY("fsname=", KEY_FSNAME),
	FUSE_OPT_KEY(MAX_THREADS, KEY_MAX_THREADS),
	FUSE_OPT_END,
};

/* What parse_one() needs beyond the mount itself */
struct parsing {
	struct fs fs; /* first: the offsets above are into it */
	bool has_fsname;
	bool failed;
};

/* In UTF-8, U+0080 to U+009f are control characters, too: the first byte, and the other. */
static bool is_control(unsigned char before, unsigned char c, unsigned char after)
{
	return c < ' ' || c == 0x7f || (c == 0xc2 && after >= 0x80 && after < 0xa0) ||
	       (before == 0xc2 && c >= 0x80 && c < 0xa0);
}

/* Names are anybody's: an archive's member must not drive the terminal. As ls -b shows them. */
static void escape(char *out, const char *text)
{
	unsigned char before = 0;

	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;
		bool control = is_control(before, c, (unsigned char)text[1]);

		before = c;
		if (control)
			out += sprintf(out, "\\%03o", c);
		else
			*out++ = *text;
	}
	*out = '\0';
}

/* One write, so that lines of several processes stay whole. */
static void say(const char *format, va_list ap)
{
	char *text = NULL, *line = NULL;

	if (vasprintf(&text, format, ap) < 0)
		text = NULL;
	if (text)
		line = malloc(4 * strlen(text) + 1);
	if (line)
		escape(line, text);
	/* Without memory at least what kind of mistake it is */
	fprintf(stderr, "regionfs: %s\n", line ? line : format);
	free(text);
	free(line);
}

void fs_error(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	say(format, ap);
	va_end(ap);
}

int fs_usage_error(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	say(format, ap);
	va_end(ap);
	fputs("Try 'regionfs --help'.\n", stderr);
	return FS_USAGE;
}

static int take_operand(struct parsing *parsing, const char *arg)
{
	struct fs *fs = &parsing->fs;
	char **slot = !fs->source ? &fs->source : !fs->mountpoint ? &fs->mountpoint : NULL;

	if (!slot) {
		fs_usage_error("extra operand '%s'", arg);
		parsing->failed = true;
		return -1;
	}
	*slot = strdup(arg);
	return *slot ? 0 : -1;
}

static int take_threads(struct parsing *parsing, const char *text)
{
	char *end;
	unsigned long nr;

	errno = 0;
	nr = strtoul(text, &end, 10);
	if (isdigit((unsigned char)text[0]) && !*end && !errno && nr && nr <= INT_MAX) {
		parsing->fs.max_threads = (unsigned int)nr;
		return 0;
	}
	fs_usage_error(MAX_THREADS "%s: not a number from 1 to %d", text, INT_MAX);
	parsing->failed = true;
	return -1;
}

/* 1: leave it to libfuse; 0: taken; -1: stop */
static int parse_one(void *data, const char *arg, int key, struct fuse_args *args)
{
	struct parsing *parsing = data;

	(void)args;
	switch (key) {
	case FUSE_OPT_KEY_NONOPT:
		return take_operand(parsing, arg);
	case KEY_READ_ONLY:
		parsing->fs.read_only = true;
		return 1;
	case KEY_READ_WRITE: /* the last of them counts */
		parsing->fs.read_only = false;
		return 1;
	case KEY_ALLOW_OTHER:
		parsing->fs.allow_other = true;
		return 1;
	case KEY_FSNAME:
		parsing->has_fsname = true;
		return 1;
	case KEY_MAX_THREADS:
		return take_threads(parsing, arg + strlen(MAX_THREADS));
	default:
		if (arg[0] != '-')
			return 1;
		fs_usage_error("unknown option '%s'", arg);
		parsing->failed = true;
		return -1;
	}
}

int fs_add_option(struct fs *fs, const char *option)
{
	if (!fuse_opt_add_arg(&fs->args, "-o") && !fuse_opt_add_arg(&fs->args, option))
		return FS_OK;
	fs_error("out of memory");
	return FS_FAILED;
}

/* What df and mount show; commas would end the option, so they are escaped. */
static int add_fsname(struct fs *fs)
{
	char *text = NULL, *escaped = NULL;
	int ret = FS_FAILED;

	if (asprintf(&text, "fsname=%s", fs->source) >= 0 &&
	    !fuse_opt_add_opt_escaped(&escaped, text))
		ret = fs_add_option(fs, escaped);
	free(text);
	free(escaped);
	return ret;
}

static int add_defaults(struct fs *fs, bool has_fsname)
{
	int ret = fs_add_option(fs, "subtype=regionfs");

	if (!ret && !has_fsname)
		ret = add_fsname(fs);
	if (!ret && fs->debug)
		ret = fs_add_option(fs, "debug");
	/* Whoever is let in by it is held to the modes that the files show. */
	if (!ret && fs->allow_other)
		ret = fs_add_option(fs, "default_permissions");
	return ret;
}

int fs_parse(struct fs *fs, const char *kind, int argc, char **argv)
{
	struct parsing parsing = { .fs = {
					   .args = FUSE_ARGS_INIT(argc, argv),
					   .stats_fd = -1,
					   .ready_fd = -1,
				   } };
	int ret = fuse_opt_parse(&parsing.fs.args, &parsing, options, parse_one);

	*fs = parsing.fs;
	if (ret < 0)
		return parsing.failed ? FS_USAGE : fs_usage_error("cannot parse the options");
	if (!fs->source)
		return fs_usage_error("no %s given", strcmp(kind, "tar") ? "table" : "archive");
	if (!fs->mountpoint)
		return fs_usage_error("no mount point given");
	return add_defaults(fs, parsing.has_fsname);
}
