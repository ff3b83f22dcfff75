// SPDX-License-Identifier: GPL-2.0
/* What is in an archive: see tar-index.h. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tar-index.h"

/* --- arrays --- */

/* Room for one more. The sizes are what numbers of 32 bits can name, or more. */
static int grow(void *array, uint64_t *room, uint64_t need, size_t size)
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

	if (nr >= TAR_NONE - 1)
		return -EOVERFLOW;
	err = grow(array, &room64, (uint64_t)nr + 1, size);
	*room = room64 < TAR_NONE ? room64 : TAR_NONE;
	return err;
}

int64_t tar_add_text(struct tar_index *index, const char *text, size_t len)
{
	uint64_t at = index->text_size;
	int err;

	/* Names refer to it by 32 bits. */
	if (at + len + 1 > UINT32_MAX)
		return -EOVERFLOW;
	err = grow(&index->text, &index->room_text, at + len + 1, 1);
	if (err)
		return err;
	memcpy(index->text + at, text, len);
	index->text[at + len] = 0;
	index->text_size += len + 1;
	return at;
}

int tar_add_segment(struct tar_index *index, const struct tar_segment *segment)
{
	int err = grow(&index->segments, &index->room_segments, index->nr_segments + 1,
		       sizeof(*segment));

	if (!err)
		index->segments[index->nr_segments++] = *segment;
	return err;
}

static int64_t add_inode(struct tar_index *index, const struct tar_inode *inode)
{
	int err = grow32(&index->inodes, &index->room_inodes, index->nr_inodes, sizeof(*inode));

	if (err)
		return err;
	index->inodes[index->nr_inodes] = *inode;
	return index->nr_inodes++;
}

static void *shrink(void *array, uint64_t nr, size_t size)
{
	void *smaller = nr ? reallocarray(array, nr, size) : NULL;

	return smaller ? smaller : array;
}

void tar_index_done(struct tar_index *index)
{
	index->inodes = shrink(index->inodes, index->nr_inodes, sizeof(*index->inodes));
	index->names = shrink(index->names, index->nr_names, sizeof(*index->names));
	index->segments = shrink(index->segments, index->nr_segments, sizeof(*index->segments));
	index->text = shrink(index->text, index->text_size, 1);
	index->room_inodes = index->nr_inodes;
	index->room_names = index->nr_names;
	index->room_segments = index->nr_segments;
	index->room_text = index->text_size;
}

void tar_index_free(struct tar_index *index)
{
	free(index->inodes);
	free(index->names);
	free(index->segments);
	free(index->text);
	free(index->slots);
	*index = (struct tar_index){ 0 };
}

/* --- names --- */

static uint32_t hash(const struct tar_index *index, uint32_t dir, const char *name, size_t len)
{
	uint64_t h = 0xcbf29ce484222325ULL ^ dir;

	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)name[i]) * 0x100000001b3ULL;
	h ^= h >> 32;
	return (uint32_t)(h * 0x9e3779b1u) & (index->nr_slots - 1);
}

static uint32_t find_name(const struct tar_index *index, uint32_t dir, const char *name, size_t len)
{
	uint32_t i = index->slots[hash(index, dir, name, len)];

	for (; i != TAR_NONE; i = index->names[i].chain) {
		const char *text = tar_text(index, index->names[i].text);

		if (index->names[i].dir == dir && !strncmp(text, name, len) && !text[len])
			break;
	}
	return i;
}

static void add_to_slot(struct tar_index *index, uint32_t i)
{
	struct tar_name *name = &index->names[i];
	const char *text = tar_text(index, name->text);
	uint32_t *slot = &index->slots[hash(index, name->dir, text, strlen(text))];

	name->chain = *slot;
	*slot = i;
}

static int rehash(struct tar_index *index, uint32_t nr_slots)
{
	uint32_t *slots = reallocarray(NULL, nr_slots, sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	memset(slots, 0xff, (size_t)nr_slots * sizeof(*slots));
	free(index->slots);
	index->slots = slots;
	index->nr_slots = nr_slots;
	for (uint32_t i = 0; i < index->nr_names; i++)
		add_to_slot(index, i);
	return 0;
}

int tar_index_init(struct tar_index *index, const struct tar_inode *root)
{
	struct tar_inode inode = *root;
	int64_t ret;

	inode.nlink = 2;
	inode.parent = TAR_ROOT;
	inode.first = TAR_NONE;
	inode.last = TAR_NONE;
	ret = add_inode(index, &inode);
	return ret < 0 ? (int)ret : rehash(index, 256);
}

static int add_name(struct tar_index *index, uint32_t dir, const char *name, size_t len,
		    uint32_t inode)
{
	struct tar_inode *parent;
	uint32_t i = index->nr_names;
	int64_t text;
	int err;

	err = grow32(&index->names, &index->room_names, i, sizeof(*index->names));
	if (err)
		return err;
	if (i >= index->nr_slots && index->nr_slots < 1u << 31) {
		err = rehash(index, index->nr_slots * 2);
		if (err)
			return err;
	}
	text = tar_add_text(index, name, len);
	if (text < 0)
		return (int)text;
	index->names[i] = (struct tar_name){
		.text = (uint32_t)text,
		.dir = dir,
		.inode = inode,
		.next = TAR_NONE,
	};
	index->nr_names++;
	add_to_slot(index, i);
	parent = tar_inode(index, dir);
	if (parent->first == TAR_NONE)
		parent->first = i;
	else
		index->names[parent->last].next = i;
	parent->last = i;
	return 0;
}

uint32_t tar_lookup(const struct tar_index *index, uint32_t dir, const char *name)
{
	uint32_t i = find_name(index, dir, name, strlen(name));

	return i == TAR_NONE ? TAR_NONE : index->names[i].inode;
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

uint32_t tar_resolve(const struct tar_index *index, const char *path)
{
	struct component component;
	uint32_t inode = TAR_ROOT;

	path = safe_path(path);
	while (next_component(&path, &component)) {
		uint32_t name;

		if (!S_ISDIR(tar_inode(index, inode)->mode))
			return TAR_NONE;
		name = find_name(index, inode, component.name, component.len);
		if (name == TAR_NONE)
			return TAR_NONE;
		inode = index->names[name].inode;
	}
	return inode;
}

/* Make the name refer to @inode, whether it exists or not. */
static int set_name(struct tar_index *index, uint32_t dir, const struct component *component,
		    uint32_t inode)
{
	uint32_t name = find_name(index, dir, component->name, component->len);
	struct tar_inode *old;
	int err;

	if (name == TAR_NONE) {
		err = add_name(index, dir, component->name, component->len, inode);
		if (err)
			return err;
	} else {
		old = tar_inode(index, index->names[name].inode);
		if (S_ISDIR(old->mode))
			tar_inode(index, dir)->nlink--;
		else
			old->nlink--;
		index->names[name].inode = inode;
	}
	if (S_ISDIR(tar_inode(index, inode)->mode))
		tar_inode(index, dir)->nlink++;
	return 0;
}

static int64_t make_directory(struct tar_index *index, uint32_t dir,
			      const struct component *component, const struct tar_inode *attr)
{
	struct tar_inode inode = *attr;
	int64_t number;
	int err;

	inode.nlink = 2;
	inode.parent = dir;
	inode.first = TAR_NONE;
	inode.last = TAR_NONE;
	number = add_inode(index, &inode);
	if (number < 0)
		return number;
	err = set_name(index, dir, component, (uint32_t)number);
	return err ? err : number;
}

/*
 * Go to the directory that holds the last component of @path, making what is
 * missing. @last has length 0 when the path is the root itself.
 */
static int64_t walk(struct tar_index *index, const char *path, struct component *last)
{
	uint32_t dir = TAR_ROOT;
	struct component next;

	path = safe_path(path);
	if (!next_component(&path, last)) {
		last->len = 0;
		return TAR_ROOT;
	}
	while (next_component(&path, &next)) {
		uint32_t name = find_name(index, dir, last->name, last->len);
		int64_t inode = name == TAR_NONE ? TAR_NONE : index->names[name].inode;

		if (inode == TAR_NONE || !S_ISDIR(tar_inode(index, (uint32_t)inode)->mode)) {
			struct tar_inode attr = {
				.mode = S_IFDIR | 0755,
				.uid = index->inodes[TAR_ROOT].uid,
				.gid = index->inodes[TAR_ROOT].gid,
				.mtime = index->inodes[TAR_ROOT].mtime,
			};

			inode = make_directory(index, dir, last, &attr);
			if (inode < 0)
				return inode;
		}
		dir = (uint32_t)inode;
		*last = next;
	}
	return dir;
}

/* A directory that is listed again, or after what is in it */
static int64_t update_directory(struct tar_index *index, uint32_t number,
				const struct tar_inode *attr)
{
	struct tar_inode *inode = tar_inode(index, number);

	inode->mode = attr->mode;
	inode->uid = attr->uid;
	inode->gid = attr->gid;
	inode->mtime = attr->mtime;
	inode->mtime_ns = attr->mtime_ns;
	return number;
}

int64_t tar_add(struct tar_index *index, const char *path, const struct tar_inode *inode)
{
	struct component last;
	int64_t dir = walk(index, path, &last), number;
	uint32_t name;
	int err;

	if (dir < 0)
		return dir;
	if (!last.len)
		return S_ISDIR(inode->mode) ? update_directory(index, TAR_ROOT, inode) : -EISDIR;
	if (S_ISDIR(inode->mode)) {
		name = find_name(index, (uint32_t)dir, last.name, last.len);
		if (name != TAR_NONE && S_ISDIR(index->inodes[index->names[name].inode].mode))
			return update_directory(index, index->names[name].inode, inode);
		return make_directory(index, (uint32_t)dir, &last, inode);
	}
	number = add_inode(index, inode);
	if (number < 0)
		return number;
	index->inodes[number].nlink = 1;
	err = set_name(index, (uint32_t)dir, &last, (uint32_t)number);
	return err ? err : number;
}

int tar_add_link(struct tar_index *index, const char *path, uint32_t inode)
{
	struct component last;
	int64_t dir = walk(index, path, &last);
	int err;

	if (dir < 0)
		return (int)dir;
	if (!last.len)
		return -EISDIR;
	/* First, lest a link to itself goes through 0. */
	tar_inode(index, inode)->nlink++;
	err = set_name(index, (uint32_t)dir, &last, inode);
	if (err)
		tar_inode(index, inode)->nlink--;
	return err;
}

/* --- data --- */

uint32_t tar_segment_count(const struct tar_inode *inode)
{
	if (inode->nr_segments == TAR_ALL_HOLE || !inode->size)
		return 0;
	return inode->nr_segments ? inode->nr_segments : 1;
}

struct tar_segment tar_segment(const struct tar_index *index, const struct tar_inode *inode,
			       uint32_t i)
{
	if (inode->nr_segments)
		return index->segments[inode->first_segment + i];
	return (struct tar_segment){ .length = inode->size, .data = inode->data };
}

uint32_t tar_segment_after(const struct tar_index *index, const struct tar_inode *inode,
			   uint64_t offset)
{
	uint32_t low = 0, high = tar_segment_count(inode);

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		struct tar_segment segment = tar_segment(index, inode, middle);

		if (segment.offset + segment.length <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

uint64_t tar_stored(const struct tar_index *index, const struct tar_inode *inode)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < tar_segment_count(inode); i++)
		sum += tar_segment(index, inode, i).length;
	return sum;
}
