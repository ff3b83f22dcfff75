// SPDX-License-Identifier: GPL-2.0
/* The test server's answers about extended attributes: it has one, a file's capabilities. */
#include <string.h>

#include "handlers.h"

#define CAPS "security.capability"

/* The file, if the request is about its capabilities; NULL: it has been answered */
static struct tfile *enter_caps(fuse_req_t req, fuse_ino_t ino, const char *name, enum srv_op op)
{
	struct srv *s = fuse_req_userdata(req);
	struct tfile *f = file_of(req, ino);

	if (!s->opts.xattrs) {
		/* From then on the kernel does not ask any more */
		fuse_reply_err(req, ENOSYS);
		return NULL;
	}
	if (!f || strcmp(name, CAPS)) {
		fuse_reply_err(req, op == OP_SETXATTR ? EOPNOTSUPP : ENODATA);
		return NULL;
	}
	return enter(req, f, op) ? f : NULL;
}

void do_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct tfile *f = enter_caps(req, ino, name, OP_GETXATTR);

	if (!f)
		return;
	if (!f->nr_caps)
		fuse_reply_err(req, ENODATA);
	else if (!size)
		fuse_reply_xattr(req, f->nr_caps);
	else if (size < f->nr_caps)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, (const char *)f->caps, f->nr_caps);
}

void do_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
		 int flags)
{
	struct tfile *f = enter_caps(req, ino, name, OP_SETXATTR);

	(void)flags;
	if (!f)
		return;
	if (size > sizeof(f->caps)) {
		fuse_reply_err(req, E2BIG);
		return;
	}
	memcpy(f->caps, value, size);
	f->nr_caps = size;
	touch(f);
	fuse_reply_err(req, 0);
}

void do_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct tfile *f = enter_caps(req, ino, name, OP_REMOVEXATTR);

	if (!f)
		return;
	f->nr_caps = 0;
	touch(f);
	fuse_reply_err(req, 0);
}
