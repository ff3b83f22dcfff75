// SPDX-License-Identifier: GPL-2.0
/*
 * The test server's answers. Runs in the server's process; what it knows of
 * files is in shared memory (server.h).
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "handlers.h"

#define LONG 86400.0

static struct srv *srv_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

struct tfile *file_of(fuse_req_t req, fuse_ino_t ino)
{
	struct srv *s = srv_of(req);

	if (ino < 2 || ino - 2 >= (fuse_ino_t)s->nr_files)
		return NULL;
	return &s->files[ino - 2];
}

static void count(struct tfile *f, enum srv_op op)
{
	__atomic_add_fetch(&f->nr[op], 1, __ATOMIC_SEQ_CST);
}

static void hang(struct tfile *f, const uint32_t *where, enum srv_op op)
{
	if (!(__atomic_load_n(where, __ATOMIC_SEQ_CST) & (1u << op)))
		return;
	__atomic_add_fetch(&f->hanging, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(where, __ATOMIC_SEQ_CST) & (1u << op))
		sleep_ms(1);
	__atomic_sub_fetch(&f->hanging, 1, __ATOMIC_SEQ_CST);
}

bool enter_at(fuse_req_t req, struct tfile *f, enum srv_op op, uint64_t off, size_t size)
{
	int err = 0;

	if (!f) {
		fuse_reply_err(req, EISDIR);
		return false;
	}
	count(f, op);
	f->last_uid[op] = fuse_req_ctx(req)->uid;
	hang(f, &f->hang, op);
	if (f->hook[op])
		err = f->hook[op](f->srv, f, off, size);
	if (err)
		fuse_reply_err(req, err);
	return !err;
}

bool enter(fuse_req_t req, struct tfile *f, enum srv_op op)
{
	return enter_at(req, f, op, 0, 0);
}

static bool later(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec > b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec > b->tv_nsec);
}

static struct stat stat_of(const struct tfile *f)
{
	return (struct stat){
		.st_ino = f->nodeid,
		.st_mode = f->mode,
		.st_nlink = 1,
		.st_uid = f->uid,
		.st_size = (off_t)f->size,
		.st_blksize = 4096,
		.st_blocks = (blkcnt_t)((f->size + 511) / 512),
		.st_mtim = f->mtime,
		.st_ctim = f->ctime,
		.st_atim = f->mtime,
	};
}

/* What an fstat() of the backing behind @run says */
static struct stat stat_backing(const struct model_op *run)
{
	int fd = (int)CHECK_OK(backing_reopen(run->b, O_RDONLY));
	struct stat st;

	CHECK_OK(fstat(fd, &st));
	close(fd);
	return st;
}

/* Where the kernel may extend a file without a word, the backings tell how far it got. */
void learn_size(struct tfile *f)
{
	struct model_op run = { 0 };
	uint64_t eof, end;

	if (model_whole_eof(f->model, &eof)) {
		f->size = eof;
		return;
	}
	for (uint64_t pos = 0; f->attr_of_backings && pos < MODEL_LAST; pos = run.last + 1) {
		if (!model_find(f->model, pos, &run) || !(run.flags & FUSE_REGION_GROW))
			continue;
		end = (uint64_t)stat_backing(&run).st_size;
		if (end <= run.bstart)
			continue;
		end = run.start + (end - run.bstart);
		if (end > run.last + 1)
			end = run.last + 1;
		if (end > f->size)
			f->size = end;
	}
}

/* The same for when it was written to */
static void learn_times(struct tfile *f)
{
	struct model_op run = { 0 };

	for (uint64_t pos = 0; f->attr_of_backings && pos < MODEL_LAST; pos = run.last + 1) {
		struct stat st;

		if (!model_find(f->model, pos, &run) || !(run.flags & FUSE_REGION_WRITE))
			continue;
		st = stat_backing(&run);
		if (later(&st.st_mtim, &f->mtime))
			f->mtime = st.st_mtim;
		if (later(&st.st_ctim, &f->ctime))
			f->ctime = st.st_ctim;
	}
}

static double timeout(const struct srv *s)
{
	return s->opts.no_attr_cache ? 0 : LONG;
}

static struct fuse_entry_param entry_of(const struct tfile *f)
{
	return (struct fuse_entry_param){
		.ino = f->nodeid,
		.generation = f->generation,
		.attr = stat_of(f),
		.attr_timeout = timeout(f->srv),
		.entry_timeout = LONG,
	};
}

void touch(struct tfile *f)
{
	clock_gettime(CLOCK_REALTIME, &f->ctime);
	f->mtime = f->ctime;
}

static struct tfile *find_name(struct srv *s, const char *name)
{
	for (int i = 0; i < s->nr_files; i++)
		if (!strcmp(s->files[i].name, name))
			return &s->files[i];
	return NULL;
}

/* This process's descriptor, which the test can't close for it */
static int own_ctl;

static void drop_ctl(void)
{
	if (own_ctl >= 0)
		close(own_ctl);
	own_ctl = -1;
}

/* Attach from here: the connection is mounted, and no file is open yet. */
static void do_init(void *userdata, struct fuse_conn_info *conn)
{
	struct srv *s = userdata;

	own_ctl = s->ctl;
	if (s->opts.writeback)
		conn->want |= FUSE_CAP_WRITEBACK_CACHE;
	if (s->opts.killpriv)
		conn->want |= FUSE_CAP_HANDLE_KILLPRIV_V2;
	if (s->opts.mainline) {
		conn->want |= FUSE_CAP_PASSTHROUGH;
		conn->max_backing_stack_depth = (unsigned int)s->opts.mainline;
	}
	if (s->ctl < 0)
		return;
	s->attach_res = raw_clone(s->ctl, s->session);
	if (s->attach_res || s->opts.no_attach)
		return;
	s->attach = raw_attach_arg(s->ctl);
	s->attach.max_stack_depth = s->opts.max_stack_depth;
	s->attach_res = raw_attach(&s->attach);
}

static void do_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct tfile *f = find_name(srv_of(req), name);
	struct fuse_entry_param e;

	(void)parent;
	if (!strcmp(name, SRV_DROP_CTL))
		drop_ctl();
	if (!f || f->hidden) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	if (!enter(req, f, OP_LOOKUP))
		return;
	e = entry_of(f);
	fuse_reply_entry(req, &e);
}

static void do_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	struct tfile *f = file_of(req, ino);

	(void)nlookup;
	if (f)
		count(f, OP_FORGET);
	fuse_reply_none(req);
}

static void do_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st = { .st_ino = 1, .st_mode = S_IFDIR | 0755, .st_nlink = 2 };
	struct tfile *f = file_of(req, ino);

	(void)fi;
	if (f) {
		/* Before it may be held up: the answer is then an old one, as it may be in life. */
		learn_size(f);
		learn_times(f);
		st = stat_of(f);
	}
	if (ino != 1 && !enter(req, f, OP_GETATTR))
		return;
	fuse_reply_attr(req, &st, timeout(srv_of(req)));
}

static void set_size(struct tfile *f, uint64_t size)
{
	struct model_op run;
	uint64_t eof;

	learn_size(f);
	if (model_whole_eof(f->model, &eof) && model_find(f->model, MODEL_LAST, &run)) {
		int fd = (int)CHECK_OK(backing_reopen(run.b, O_WRONLY));

		CHECK_OK(ftruncate(fd, (off_t)(size + run.bstart - MODEL_LAST)));
		close(fd);
	}
	if (size < f->size)
		model_trim(f->model, size);
	if (f->store) {
		int fd = (int)CHECK_OK(backing_reopen(f->store, O_WRONLY));

		CHECK_OK(ftruncate(fd, (off_t)(size + f->store_shift)));
		close(fd);
	}
	f->size = size;
	touch(f);
}

static void do_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		       struct fuse_file_info *fi)
{
	struct tfile *f = file_of(req, ino);
	struct stat st;

	(void)fi;
	if (!enter(req, f, OP_SETATTR))
		return;
	if (to_set & FUSE_SET_ATTR_MODE)
		f->mode = attr->st_mode;
	if (to_set & FUSE_SET_ATTR_UID)
		f->uid = attr->st_uid;
	if (to_set & FUSE_SET_ATTR_SIZE)
		set_size(f, (uint64_t)attr->st_size);
	if (to_set & FUSE_SET_ATTR_MTIME)
		f->mtime = attr->st_mtim;
	if (to_set & FUSE_SET_ATTR_MTIME_NOW)
		touch(f);
	st = stat_of(f);
	hang(f, &f->hang_late, OP_SETATTR);
	fuse_reply_attr(req, &st, timeout(f->srv));
}

/* False: it has been answered */
static bool prepare_open(fuse_req_t req, struct tfile *f, struct fuse_file_info *fi)
{
	fi->direct_io = f->direct_io;
	fi->keep_cache = f->keep_cache;
	if (f->mainline) {
		int fd = (int)CHECK_OK(backing_reopen(f->store, O_RDWR));

		fi->backing_id = fuse_passthrough_open(req, fd);
		close(fd);
		if (fi->backing_id <= 0) {
			fuse_reply_err(req, EPERM);
			return false;
		}
	}
	return true;
}

static void do_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct tfile *f = file_of(req, ino);

	if (!enter(req, f, OP_OPEN))
		return;
	if (f->srv->opts.no_open) {
		fuse_reply_err(req, ENOSYS);
		return;
	}
	if (fi->flags & O_TRUNC)
		set_size(f, 0);
	if (prepare_open(req, f, fi))
		fuse_reply_open(req, fi);
}

static void do_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		      struct fuse_file_info *fi)
{
	struct tfile *f = find_name(srv_of(req), name);
	struct fuse_entry_param e;

	(void)parent;
	if (!f) {
		fuse_reply_err(req, EROFS);
		return;
	}
	if (!enter(req, f, OP_CREATE))
		return;
	f->hidden = false;
	f->mode = mode;
	touch(f);
	e = entry_of(f);
	if (prepare_open(req, f, fi))
		fuse_reply_create(req, &e, fi);
}

static void do_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct tfile *f = find_name(srv_of(req), name);

	(void)parent;
	if (!f || !enter(req, f, OP_UNLINK))
		return;
	f->hidden = true;
	fuse_reply_err(req, 0);
}

static void do_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)fi;
	if (enter(req, file_of(req, ino), OP_FLUSH))
		fuse_reply_err(req, 0);
}

static void do_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)datasync;
	(void)fi;
	if (enter(req, file_of(req, ino), OP_FSYNC))
		fuse_reply_err(req, 0);
}

static void do_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (!enter(req, file_of(req, ino), OP_RELEASE))
		return;
	if (fi->backing_id > 0)
		fuse_passthrough_close(req, fi->backing_id);
	fuse_reply_err(req, 0);
}

static const struct fuse_lowlevel_ops handlers = {
	.init = do_init,
	.lookup = do_lookup,
	.forget = do_forget,
	.getattr = do_getattr,
	.setattr = do_setattr,
	.open = do_open,
	.create = do_create,
	.unlink = do_unlink,
	.read = do_read,
	.write = do_write,
	.flush = do_flush,
	.fsync = do_fsync,
	.release = do_release,
	.fallocate = do_fallocate,
	.lseek = do_lseek,
	.copy_file_range = do_copy,
	.getxattr = do_getxattr,
	.setxattr = do_setxattr,
	.removexattr = do_removexattr,
};

struct fuse_session *srv_session_new(struct srv *s)
{
	char opts[256], program[] = "test", dash_o[] = "-o";
	char *argv[] = { program, dash_o, opts, NULL };
	struct fuse_args args = FUSE_ARGS_INIT(3, argv);
	struct fuse_session *se;

	snprintf(opts, sizeof(opts), "allow_other,default_permissions,fsname=fr-test%s%s",
		 s->opts.mount_opts ? "," : "", s->opts.mount_opts ?: "");
	se = fuse_session_new(&args, &handlers, sizeof(handlers), s);
	CHECK(se);
	fuse_opt_free_args(&args);
	return se;
}
