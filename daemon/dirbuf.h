/* SPDX-License-Identifier: GPL-2.0 */
/* A READDIR or READDIRPLUS reply that is being put together. */
#ifndef REGIONFS_DIRBUF_H
#define REGIONFS_DIRBUF_H

#include <stdbool.h>

#include <fuse_lowlevel.h>

struct dirbuf {
	fuse_req_t req;
	char *data;
	size_t used;
	size_t size;
	bool plus;
};

/* False: there is no memory, and the request has its reply. */
bool dirbuf_begin(struct dirbuf *buf, fuse_req_t req, size_t size, bool plus);

/* @next: the offset that continues after this entry. False: it is full. */
bool dirbuf_add(struct dirbuf *buf, const char *name, const struct fuse_entry_param *entry,
		off_t next);

/* "." or "..", which do not count as lookups */
bool dirbuf_add_dot(struct dirbuf *buf, const char *name, fuse_ino_t nodeid, off_t next);

void dirbuf_reply(struct dirbuf *buf);

#endif /* REGIONFS_DIRBUF_H */
