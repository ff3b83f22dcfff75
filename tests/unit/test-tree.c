// SPDX-License-Identifier: GPL-2.0
/* The tree that regionfs shows: paths that are made safe, things that take others' places. */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "tree.h"

static struct tree tree;

static void setup(void)
{
	const struct tree_inode root = { .mode = S_IFDIR | 0755, .uid = 7 };

	tree = (struct tree){ 0 };
	ck_assert_int_eq(tree_init(&tree, &root), 0);
}

static void teardown(void)
{
	tree_free(&tree);
}

static uint32_t add(const char *path, uint32_t mode)
{
	const struct tree_inode inode = { .mode = mode };
	int64_t number = tree_add(&tree, path, &inode);

	ck_assert_int_ge(number, 0);
	return (uint32_t)number;
}

static uint32_t nlink_of(const char *path)
{
	uint32_t number = tree_resolve(&tree, path);

	ck_assert_uint_ne(number, TREE_NONE);
	return tree_inode(&tree, number)->nlink;
}

/* The names in a directory, in their order, each followed by a blank */
static const char *names(const char *path)
{
	static char text[4096];
	uint32_t number = tree_resolve(&tree, path);

	ck_assert_uint_ne(number, TREE_NONE);
	text[0] = 0;
	for (uint32_t i = tree_inode(&tree, number)->first; i != TREE_NONE;
	     i = tree_name(&tree, i)->next) {
		strcat(text, tree_text(&tree, tree_name(&tree, i)->text));
		strcat(text, " ");
	}
	return text;
}

START_TEST(directories_on_the_way)
{
	uint32_t file = add("a/b/c", S_IFREG);

	ck_assert_uint_eq(tree_resolve(&tree, "a/b/c"), file);
	ck_assert_uint_eq(tree_resolve(&tree, "/a//b/./c"), file);
	ck_assert(S_ISDIR(tree_inode(&tree, tree_resolve(&tree, "a/b"))->mode));
	ck_assert_uint_eq(tree_inode(&tree, tree_resolve(&tree, "a"))->uid, 7);
	ck_assert_uint_eq(nlink_of(""), 3);
	ck_assert_uint_eq(nlink_of("a"), 3);
	ck_assert_uint_eq(nlink_of("a/b"), 2);
	ck_assert_uint_eq(nlink_of("a/b/c"), 1);
	ck_assert_uint_eq(tree_inode(&tree, tree_resolve(&tree, "a/b"))->parent,
			  tree_resolve(&tree, "a"));
	ck_assert_uint_eq(tree_resolve(&tree, "a/c"), TREE_NONE);
	ck_assert_uint_eq(tree_resolve(&tree, "a/b/c/d"), TREE_NONE);
}
END_TEST

START_TEST(unsafe_paths)
{
	uint32_t file = add("../../x/../../etc/passwd", S_IFREG);

	ck_assert_uint_eq(tree_resolve(&tree, "etc/passwd"), file);
	ck_assert_str_eq(names(""), "etc ");
	/* What ends with ".." is the root */
	add("a/..", S_IFDIR | 0700);
	ck_assert_str_eq(names(""), "etc ");
	ck_assert_uint_eq(tree_inode(&tree, TREE_ROOT)->mode, S_IFDIR | 0700);
	ck_assert_int_eq(tree_add(&tree, "..", &(struct tree_inode){ .mode = S_IFREG }), -EISDIR);
}
END_TEST

START_TEST(the_last_one_wins)
{
	uint32_t first = add("a", S_IFREG), second = add("a", S_IFREG);

	ck_assert_uint_ne(first, second);
	ck_assert_uint_eq(tree_resolve(&tree, "a"), second);
	ck_assert_uint_eq(tree_inode(&tree, first)->nlink, 0);
	ck_assert_str_eq(names(""), "a ");
}
END_TEST

START_TEST(directories_stay)
{
	uint32_t dir = add("d", S_IFDIR | 0755);

	add("d/a", S_IFREG);
	ck_assert_uint_eq(add("d/", S_IFDIR | 0700), dir);
	ck_assert_uint_eq(tree_inode(&tree, dir)->mode, S_IFDIR | 0700);
	ck_assert_str_eq(names("d"), "a ");
	ck_assert_uint_eq(nlink_of(""), 3);
}
END_TEST

START_TEST(a_file_for_a_directory)
{
	add("d/a", S_IFREG);
	add("d", S_IFREG);
	ck_assert_uint_eq(tree_resolve(&tree, "d/a"), TREE_NONE);
	ck_assert_uint_eq(nlink_of(""), 2);
	/* And back */
	add("d/b", S_IFREG);
	ck_assert_str_eq(names("d"), "b ");
	ck_assert_uint_eq(nlink_of(""), 3);
	ck_assert_str_eq(names(""), "d ");
}
END_TEST

START_TEST(links)
{
	uint32_t file = add("a", S_IFREG);

	ck_assert_int_eq(tree_add_link(&tree, "x/b", file), 0);
	ck_assert_uint_eq(tree_resolve(&tree, "x/b"), file);
	ck_assert_uint_eq(nlink_of("a"), 2);
	add("a", S_IFREG);
	ck_assert_uint_eq(nlink_of("x/b"), 1);
	ck_assert_int_eq(tree_add_link(&tree, "x/b", file), 0);
	ck_assert_uint_eq(nlink_of("x/b"), 1);
	ck_assert_int_eq(tree_add_link(&tree, "/", file), -EISDIR);
}
END_TEST

START_TEST(many)
{
	const struct tree_inode inode = { .mode = S_IFREG };
	char path[64];

	for (unsigned int i = 0; i < 100000; i++) {
		snprintf(path, sizeof(path), "%u/%u", i % 100, i);
		must(tree_add(&tree, path, &inode) > 0, "adding a file failed");
	}
	tree_done(&tree);
	for (unsigned int i = 0; i < 100000; i++) {
		uint32_t dir;

		snprintf(path, sizeof(path), "%u", i % 100);
		dir = tree_lookup(&tree, TREE_ROOT, path);
		must(dir != TREE_NONE, "a directory is missing");
		snprintf(path, sizeof(path), "%u", i);
		must(tree_lookup(&tree, dir, path) != TREE_NONE, "a file is missing");
		snprintf(path, sizeof(path), "%u", i + 1);
		must(tree_lookup(&tree, dir, path) == TREE_NONE, "a file is in two places");
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tree");

	unit_tcase_with(suite, "tree", setup, teardown, directories_on_the_way, unsafe_paths,
			the_last_one_wins, directories_stay, a_file_for_a_directory, links, many);
	return unit_run(suite);
}
