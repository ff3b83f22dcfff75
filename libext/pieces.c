// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0
/* Cutting a request at region edges: see pieces.h. */

#include <errno.h>
#include <stdlib.h>

#include "pieces.h"

void request_lock(struct request *req)
{
	inode_put(req->inode);
	req->inode = inode_get_locked_shared(req->conn, req->nodeid);
	req->locked = true;
}

void request_unlock(struct request *req)
{
	if (req->locked && req->inode)
		pthread_rwlock_unlock(&req->inode->lock);
	req->locked = false;
}

void request_end(struct request *req)
{
	request_unlock(req);
	inode_put(req->inode);
	free(req->v);
}

static struct piece *add_piece(struct request *req)
{
	size_t room = req->room ? req->room * 2 : 8;
	struct piece *v;

	if (req->nr < req->room)
		return &req->v[req->nr++];
	v = reallocarray(req->v, room, sizeof(*v));
	if (!v)
		return NULL;
	req->v = v;
	req->room = room;
	return &req->v[req->nr++];
}

int request_cut(struct request *req, unsigned int access)
{
	const struct fr_node *root = inode_root(req->inode);
	uint64_t pos = req->pos, end = req->pos + req->len;

	req->changes = req->inode ? req->inode->changes : 0;
	req->nr = 0;
	req->has_gap = false;
	while (pos < end) {
		struct piece *piece = add_piece(req);
		struct fr_piece found;

		if (!piece)
			return -ENOMEM;
		fr_map_find(root, pos, &found);
		*piece = (struct piece){ .pos = pos };
		piece->len = (found.last < end ? found.last + 1 : end) - pos;
		if (found.region)
			piece->flags = fr_region_flags(found.region);
		if (piece->flags & access) {
			piece->backing = fr_region_backing(found.region);
			piece->backing_pos = fr_region_backing_pos(found.region, pos);
		} else {
			req->has_gap = true;
		}
		pos += piece->len;
	}
	return 0;
}

bool request_relock(struct request *req)
{
	struct inode *before = req->inode;
	bool same;

	/* The reference is kept for the comparison, lest a new inode have its address. */
	req->inode = NULL;
	request_lock(req);
	same = req->inode == before && (!before || before->changes == req->changes);
	inode_put(before);
	return same;
}

void request_cut_short(struct request *req, size_t i, uint64_t len)
{
	req->v[i].len = len;
	req->nr = len ? i + 1 : i;
}
