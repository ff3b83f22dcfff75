// SPDX-License-Identifier: GPL-2.0
/* A tree of inodes and names: see tree.h. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tree.h"

/* --- arrays --- */

/* Room for one more. The sizes are what numbers of 32 bits can name, or more. */
int array_grow(void *array, uint64_t *room, uint64_t need, size_t size)
{
	uint64_t more = *room ? *room + *room / 2 : 64;
	void *bigger;

	if (need <= *room)
		return 0;
	if (more < need)
		more = need;
	bigger = reallocarray(*(void **)array, more, size);
	if (!bigger)
		return -ENOMEM;
	*(void **)array = bigger;
	*room = more;
	return 0;
}

static int grow32(void *array, uint32_t *room, uint32_t nr, size_t size)
{
	uint64_t room64 = *room;
	int err;

	if (nr >= TREE_NONE - 1)
		return -EOVERFLOW;
	err = array_grow(array, &room64, (uint64_t)nr + 1, size);
	*room = room64 < TREE_NONE ? room64 : TREE_NONE;
	return err;
}

int64_t tree_add_text(struct tree *tree, const char *text, size_t len)
{
	uint64_t at = tree->text_size;
	int err;

	/* Names refer to it by 32 bits. */
	if (at + len + 1 > UINT32_MAX)
		return -EOVERFLOW;
	err = array_grow(&tree->text, &tree->room_text, at + len + 1, 1);
	if (err)
		return err;
	memcpy(tree->text + at, text, len);
	tree->text[at + len] = 0;
	tree->text_size += len + 1;
	return at;
}

static int64_t add_inode(struct tree *tree, const struct tree_inode *inode)
{
	int err = grow32(&tree->inodes, &tree->room_inodes, tree->nr_inodes, sizeof(*inode));

	if (err)
		return err;
	tree->inodes[tree->nr_inodes] = *inode;
	return tree->nr_inodes++;
}

static void *shrink(void *array, uint64_t nr, size_t size)
{
	void *smaller = nr ? reallocarray(array, nr, size) : NULL;

	return smaller ? smaller : array;
}

void tree_done(struct tree *tree)
{
	tree->inodes = shrink(tree->inodes, tree->nr_inodes, sizeof(*tree->inodes));
	tree->names = shrink(tree->names, tree->nr_names, sizeof(*tree->names));
	tree->text = shrink(tree->text, tree->text_size, 1);
	tree->room_inodes = tree->nr_inodes;
	tree->room_names = tree->nr_names;
	tree->room_text = tree->text_size;
}

void tree_free(struct tree *tree)
{
	free(tree->inodes);
	free(tree->names);
	free(tree->text);
	free(tree->slots);
	*tree = (struct tree){ 0 };
}

/* --- names --- */

static uint32_t hash(const struct tree *tree, uint32_t dir, const char *name, size_t len)
{
	uint64_t h = 0xcbf29ce484222325ULL ^ dir;

	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)name[i]) * 0x100000001b3ULL;
	h ^= h >> 32;
	return (uint32_t)(h * 0x9e3779b1u) & (tree->nr_slots - 1);
}

static uint32_t find_name(const struct tree *tree, uint32_t dir, const char *name, size_t len)
{
	uint32_t i = tree->slots[hash(tree, dir, name, len)];

	for (; i != TREE_NONE; i = tree->names[i].chain) {
		const char *text = tree_text(tree, tree->names[i].text);

		if (tree->names[i].dir == dir && !strncmp(text, name, len) && !text[len])
			break;
	}
	return i;
}

static void add_to_slot(struct tree *tree, uint32_t i)
{
	struct tree_name *name = &tree->names[i];
	const char *text = tree_text(tree, name->text);
	uint32_t *slot = &tree->slots[hash(tree, name->dir, text, strlen(text))];

	name->chain = *slot;
	*slot = i;
}

static int rehash(struct tree *tree, uint32_t nr_slots)
{
	uint32_t *slots = reallocarray(NULL, nr_slots, sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	memset(slots, 0xff, (size_t)nr_slots * sizeof(*slots));
	free(tree->slots);
	tree->slots = slots;
	tree->nr_slots = nr_slots;
	for (uint32_t i = 0; i < tree->nr_names; i++)
		add_to_slot(tree, i);
	return 0;
}

int tree_init(struct tree *tree, const struct tree_inode *root)
{
	struct tree_inode inode = *root;
	int64_t ret;

	inode.nlink = 2;
	inode.parent = TREE_ROOT;
	inode.first = TREE_NONE;
	inode.last = TREE_NONE;
	ret = add_inode(tree, &inode);
	return ret < 0 ? (int)ret : rehash(tree, 256);
}

static int add_name(struct tree *tree, uint32_t dir, const char *name, size_t len, uint32_t inode)
{
	struct tree_inode *parent;
	uint32_t i = tree->nr_names;
	int64_t text;
	int err;

	err = grow32(&tree->names, &tree->room_names, i, sizeof(*tree->names));
	if (err)
		return err;
	if (i >= tree->nr_slots && tree->nr_slots < 1u << 31) {
		err = rehash(tree, tree->nr_slots * 2);
		if (err)
			return err;
	}
	text = tree_add_text(tree, name, len);
	if (text < 0)
		return (int)text;
	tree->names[i] = (struct tree_name){
		.text = (uint32_t)text,
		.dir = dir,
		.inode = inode,
		.next = TREE_NONE,
	};
	tree->nr_names++;
	add_to_slot(tree, i);
	parent = tree_inode(tree, dir);
	if (parent->first == TREE_NONE)
		parent->first = i;
	else
		tree->names[parent->last].next = i;
	parent->last = i;
	return 0;
}

uint32_t tree_lookup(const struct tree *tree, uint32_t dir, const char *name)
{
	uint32_t i = find_name(tree, dir, name, strlen(name));

	return i == TREE_NONE ? TREE_NONE : tree->names[i].inode;
}

/* --- paths --- */

/* A step of a walk along a path */
struct component {
	const char *name;
	size_t len;
};

/* The next component from @*path on; false at the end. "." counts for nothing. */
static bool next_component(const char **path, struct component *component)
{
	do {
		*path += strspn(*path, "/");
		component->name = *path;
		component->len = strcspn(*path, "/");
		*path += component->len;
	} while (component->len == 1 && component->name[0] == '.');
	return component->len > 0;
}

/* What is left when all up to the last ".." is gone: nothing leads out of the mount. */
static const char *safe_path(const char *path)
{
	struct component component;
	const char *safe = path;

	while (next_component(&path, &component))
		if (component.len == 2 && !memcmp(component.name, "..", 2))
			safe = path;
	return safe;
}

uint32_t tree_resolve(const struct tree *tree, const char *path)
{
	struct component component;
	uint32_t inode = TREE_ROOT;

	path = safe_path(path);
	while (next_component(&path, &component)) {
		uint32_t name;

		if (!S_ISDIR(tree_inode(tree, inode)->mode))
			return TREE_NONE;
		name = find_name(tree, inode, component.name, component.len);
		if (name == TREE_NONE)
			return TREE_NONE;
		inode = tree->names[name].inode;
	}
	return inode;
}

/* A name that @inode has, or TREE_NONE */
static uint32_t name_of(const struct tree *tree, uint32_t inode)
{
	uint32_t i = 0;

	while (i < tree->nr_names && tree->names[i].inode != inode)
		i++;
	return i < tree->nr_names ? i : TREE_NONE;
}

char *tree_path(const struct tree *tree, uint32_t inode)
{
	char *path = NULL;

	while (inode != TREE_ROOT) {
		uint32_t i = name_of(tree, inode);
		char *longer = NULL;

		if (i != TREE_NONE &&
		    asprintf(&longer, "%s%s%s", tree_text(tree, tree->names[i].text),
			     path ? "/" : "", path ? path : "") < 0)
			longer = NULL;
		free(path);
		if (!longer)
			return NULL;
		path = longer;
		inode = tree->names[i].dir;
	}
	return path;
}

/* Make the name refer to @inode, whether it exists or not. */
static int set_name(struct tree *tree, uint32_t dir, const struct component *component,
		    uint32_t inode)
{
	uint32_t name = find_name(tree, dir, component->name, component->len);
	struct tree_inode *old;
	int err;

	if (name == TREE_NONE) {
		err = add_name(tree, dir, component->name, component->len, inode);
		if (err)
			return err;
	} else {
		old = tree_inode(tree, tree->names[name].inode);
		if (S_ISDIR(old->mode))
			tree_inode(tree, dir)->nlink--;
		else
			old->nlink--;
		tree->names[name].inode = inode;
	}
	if (S_ISDIR(tree_inode(tree, inode)->mode))
		tree_inode(tree, dir)->nlink++;
	return 0;
}

static int64_t make_directory(struct tree *tree, uint32_t dir, const struct component *component,
			      const struct tree_inode *attr)
{
	struct tree_inode inode = *attr;
	int64_t number;
	int err;

	inode.nlink = 2;
	inode.parent = dir;
	inode.first = TREE_NONE;
	inode.last = TREE_NONE;
	number = add_inode(tree, &inode);
	if (number < 0)
		return number;
	err = set_name(tree, dir, component, (uint32_t)number);
	return err ? err : number;
}

/*
 * Go to the directory that holds the last component of @path, making what is
 * missing. @last has length 0 when the path is the root itself.
 */
static int64_t walk(struct tree *tree, const char *path, struct component *last)
{
	uint32_t dir = TREE_ROOT;
	struct component next;

	path = safe_path(path);
	if (!next_component(&path, last)) {
		last->len = 0;
		return TREE_ROOT;
	}
	while (next_component(&path, &next)) {
		uint32_t name = find_name(tree, dir, last->name, last->len);
		int64_t inode = name == TREE_NONE ? TREE_NONE : tree->names[name].inode;

		if (inode == TREE_NONE || !S_ISDIR(tree_inode(tree, (uint32_t)inode)->mode)) {
			struct tree_inode attr = {
				.mode = S_IFDIR | 0755,
				.uid = tree->inodes[TREE_ROOT].uid,
				.gid = tree->inodes[TREE_ROOT].gid,
				.mtime = tree->inodes[TREE_ROOT].mtime,
			};

			inode = make_directory(tree, dir, last, &attr);
			if (inode < 0)
				return inode;
		}
		dir = (uint32_t)inode;
		*last = next;
	}
	return dir;
}

/* A directory that is listed again, or after what is in it */
static int64_t update_directory(struct tree *tree, uint32_t number, const struct tree_inode *attr)
{
	struct tree_inode *inode = tree_inode(tree, number);

	inode->mode = attr->mode;
	inode->uid = attr->uid;
	inode->gid = attr->gid;
	inode->mtime = attr->mtime;
	inode->mtime_ns = attr->mtime_ns;
	return number;
}

int64_t tree_add(struct tree *tree, const char *path, const struct tree_inode *inode)
{
	struct component last;
	int64_t dir = walk(tree, path, &last), number;
	uint32_t name;
	int err;

	if (dir < 0)
		return dir;
	if (!last.len)
		return S_ISDIR(inode->mode) ? update_directory(tree, TREE_ROOT, inode) : -EISDIR;
	if (S_ISDIR(inode->mode)) {
		name = find_name(tree, (uint32_t)dir, last.name, last.len);
		if (name != TREE_NONE && S_ISDIR(tree->inodes[tree->names[name].inode].mode))
			return update_directory(tree, tree->names[name].inode, inode);
		return make_directory(tree, (uint32_t)dir, &last, inode);
	}
	number = add_inode(tree, inode);
	if (number < 0)
		return number;
	tree->inodes[number].nlink = 1;
	err = set_name(tree, (uint32_t)dir, &last, (uint32_t)number);
	return err ? err : number;
}

int tree_add_link(struct tree *tree, const char *path, uint32_t inode)
{
	struct component last;
	int64_t dir = walk(tree, path, &last);
	int err;

	if (dir < 0)
		return (int)dir;
	if (!last.len)
		return -EISDIR;
	/* First, lest a link to itself goes through 0. */
	tree_inode(tree, inode)->nlink++;
	err = set_name(tree, (uint32_t)dir, &last, inode);
	if (err)
		tree_inode(tree, inode)->nlink--;
	return err;
}
