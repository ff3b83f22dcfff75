// SPDX-License-Identifier: GPL-2.0
/* A READDIR or READDIRPLUS reply that is being put together. */

#include <errno.h>
#include <stdlib.h>

#include "dirbuf.h"

bool dirbuf_begin(struct dirbuf *buf, fuse_req_t req, size_t size, bool plus)
{
	*buf = (struct dirbuf){
		.req = req,
		.data = malloc(size),
		.size = size,
		.plus = plus,
	};
	if (!buf->data)
		fuse_reply_err(req, ENOMEM);
	return buf->data;
}

bool dirbuf_add(struct dirbuf *buf, const char *name, const struct fuse_entry_param *entry,
		off_t next)
{
	size_t left = buf->size - buf->used;
	size_t need = buf->plus ? fuse_add_direntry_plus(buf->req, buf->data + buf->used, left,
							 name, entry, next)
				: fuse_add_direntry(buf->req, buf->data + buf->used, left, name,
						    &entry->attr, next);

	if (need > left)
		return false;
	buf->used += need;
	return true;
}

bool dirbuf_add_dot(struct dirbuf *buf, const char *name, fuse_ino_t nodeid, off_t next)
{
	/* The nodeid 0 tells READDIRPLUS that there is nothing to remember. */
	struct fuse_entry_param entry = {
		.attr = { .st_ino = nodeid, .st_mode = S_IFDIR },
	};

	return dirbuf_add(buf, name, &entry, next);
}

void dirbuf_reply(struct dirbuf *buf)
{
	fuse_reply_buf(buf->req, buf->data, buf->used);
	free(buf->data);
}
