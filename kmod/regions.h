/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Objects of the module, who owns them, and the locks.
 *
 *   fr_conn     an attached connection. Found from the fuse_conn (conn.c).
 *               References: its control file, and each fr_inode.
 *   fr_backing  a registered file and the credentials for it (backing.c).
 *               References: its id in the connection, and each region entry
 *               of each map leaf (map.h).
 *   fr_inode    what we know of one FUSE inode: its regions (inode.c). Found
 *               from the inode, or from a file through file->f_op, which is
 *               fr_inode.fops once the file has done its first I/O.
 *               References: the table of inodes, until eviction or detach,
 *               and each such file.
 *
 * Lock order, outermost first:
 *
 *   fr_inode.sync_lock       one fsync per inode (sync.c)
 *   inode lock               VFS's: truncate, writes that extend the file
 *     mmap lock              MM's: page faults
 *       fr_inode.store_lock  the first store through a mapping (hold.c)
 *       fr_inode.claim_lock  a new mapping (claim.c); inside, MM's list of all
 *     fr_inode.map_lock      one writer per map
 *       invalidate lock      of a backing (splice.c)
 *       fr_conn.lock         (spin) fr_inode.nr_files, .hashed; list of inodes
 *       fr_inode.holds_lock  (spin) pages not to be stored into
 *   fr_conn_mutex            attach, detach; list of connections
 *     fc->killsb             FUSE's, for read: its mounts and inodes (fuse.c)
 *
 * Readers take fr_conn.srcu only, around the use of a map's root, its regions
 * and their backings. Nothing that could wait for the server runs inside it:
 * backing I/O runs with page faults off, because the user's buffer may be a
 * mapping of a file of this very server. So a bind, which waits for readers
 * when it has removed something, never waits for the server.
 */
#ifndef FR_REGIONS_H
#define FR_REGIONS_H

#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/mutex.h>
#include <linux/pagemap.h>
#include <linux/refcount.h>
#include <linux/rhashtable-types.h>
#include <linux/srcu.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "map.h"

struct fr_hold;
struct fr_op;

#undef pr_fmt
#define pr_fmt(fmt) "fuse_regions: " fmt

struct fr_backing {
	refcount_t count;
	int iocb_flags;		/* what O_SYNC and the like make of every I/O */
	unsigned int access;	/* FR_READ and FR_WRITE, where it can be bound */
	u64 max;		/* bytes that the file can have */
	struct file *file;
	const struct cred *cred;
	errseq_t wb_err;	/* what is known of its errors; see sync.c */
	int err;		/* the last; with @err_at under fr_conn.lock */
	u64 err_at;
	struct rcu_head rcu;
} __aligned(16);	/* map.h keeps flags in the pointer's low bits */

/**
 * struct fr_conn - an attached connection
 * @list:	in fr_conns; fr_conn_mutex, RCU for readers
 * @count:	references
 * @fc:		FUSE's connection; only compared unless the control file lives
 * @attached:	the control file is open; fr_conn_mutex, and lock-free hints
 * @detaching:	its end is not over yet; fr_conn_mutex
 * @srcu:	readers of the maps
 * @backings:	id -> fr_backing; the xarray's own lock
 * @nr_backings: how many; xa_lock of @backings
 * @lock:	protects @inodes, @nr_errs, and fr_inode.nr_files, .hashed and
 *		.retired
 * @inodes:	the fr_inodes that the table of inodes refers to
 * @nr_errs:	errors that its backings have had
 * @ctl_fops:	what the control file's f_op points to
 * @free_work:	the end of it
 */
struct fr_conn {
	struct list_head list;
	refcount_t count;
	void *fc;
	bool attached;
	bool detaching;
	struct srcu_struct srcu;
	struct xarray backings;
	unsigned int nr_backings;
	spinlock_t lock;
	struct list_head inodes;
	u64 nr_errs;
	struct file_operations ctl_fops;
	struct work_struct free_work;
	struct rcu_head rcu;
};

/* Are pages of FUSE's cache stored into, through mappings? */
enum fr_stores {
	FR_STORES_NONE,
	FR_STORES_SOON,		/* writers are to know, and nothing else yet */
	FR_STORES
};

/* Pages from @first to @last of a file, if there are @any (claim.c) */
struct fr_claimed {
	bool any;
	pgoff_t first;
	pgoff_t last;
};

/**
 * struct fr_inode - what we know of a FUSE inode
 * @fops:	what f_op of its files points to; first, it is the hot part
 * @conn:	its connection
 * @map:	its regions; root published for readers under conn->srcu
 * @map_lock:	one writer at a time
 * @sync_lock:	one fsync at a time; inside only fr_conn.lock is taken (sync.c)
 * @inode:	valid while a file is open, or the caller holds the inode
 * @count:	references
 * @node:	in the table of inodes
 * @entry:	in conn->inodes; conn->lock
 * @nr_files:	files whose f_op is @fops; conn->lock
 * @hashed:	in the table; conn->lock
 * @retired:	old nodes of its map that wait for readers, see bind.c; conn->lock
 * @changed:	a backing was written since the last stat() asked the server;
 *		no lock, see attr.c
 * @mapped:	a backing was mapped for writing: stores go unseen from then on
 * @mapped_first: the file's pages that such mappings have had lie from here on;
 * @mapped_last:  and up to here; @claim_lock
 * @claimed_cache: mappings of FUSE's cache to store into may be being made here
 * @claimed_backing: and such ones of backings here
 * @claims_waiting: mappings that are being made and have claimed nothing yet
 * @claim_lock:	protects these (claim.c)
 * @txn:	the last message that changed @map: not one that failed, nor a
 *		truncation; @map_lock, and none to look at it
 * @trunc_txn:	@txn when the file was last opened with O_TRUNC
 * @written:	a backing was written since the last fsync; no lock, see sync.c
 * @synced:	the backings have been synced at all; @sync_lock
 * @errs_seen:	fr_conn.nr_errs when the last fsync was begun; conn->lock
 * @sent_back:	FUSE has written pages back, which its server may not have yet
 * @spliced:	pages of backings have been handed over; see splice.c
 * @truncating:	it is being shortened, by who has the inode lock; see attr.c
 * @stores:	pages of FUSE's cache may be stored into; see hold.c
 * @store_lock:	until the first store may be
 * @store_gp:	when all writers know
 * @holds:	pages not to be stored into now, struct fr_hold
 * @holds_lock:	protects that, @refused, @short_page and @short_end
 * @holds_wait:	who waits for one to end
 * @refused:	the page of a store that has to wait
 * @refused_until: jiffies up to which its turn is next
 * @short_page:	the last page that was filled where the file ended in it
 * @short_end:	where that was; U64_MAX: there is no such page
 * @twork:	ends it in the evicting task, before that returns to user space
 * @free_work:	the same where the evicting task never does
 */
struct fr_inode {
	struct file_operations fops;
	struct fr_conn *conn;
	struct fr_map map;
	struct mutex map_lock;
	struct mutex sync_lock;
	struct inode *inode;
	refcount_t count;
	struct rhash_head node;
	struct list_head entry;
	unsigned int nr_files;
	bool hashed;
	struct list_head retired;
	u64 txn;
	u64 trunc_txn;
	u64 errs_seen;
	bool synced;
	bool written;
	bool changed;
	bool mapped;
	pgoff_t mapped_first;
	pgoff_t mapped_last;
	struct fr_claimed claimed_cache;
	struct fr_claimed claimed_backing;
	unsigned int claims_waiting;
	struct mutex claim_lock;
	bool sent_back;
	bool spliced;
	bool truncating;
	enum fr_stores stores;
	struct mutex store_lock;
	unsigned long store_gp;
	struct list_head holds;
	spinlock_t holds_lock;
	wait_queue_head_t holds_wait;
	pgoff_t refused;
	unsigned long refused_until;
	pgoff_t short_page;
	u64 short_end;
	struct callback_head twork;
	struct work_struct free_work;
	struct rcu_head rcu;
};

/* params.c */
extern unsigned int fr_max_backings;
extern unsigned int fr_max_regions;
extern unsigned int fr_max_records;
extern atomic_long_t fr_live_conns;
extern atomic_long_t fr_live_backings;
extern atomic_long_t fr_live_inodes;
extern atomic_long_t fr_live_nodes;

/* conn.c */
int fr_conn_attach(struct file *dev, int depth);
void fr_conn_detach(struct fr_conn *conn);
bool fr_conn_known(void *fc);
bool fr_conn_listed(void *fc);
struct fr_conn *fr_conn_find(void *fc);
void fr_conn_put(struct fr_conn *conn);

/* backing.c */
int fr_backing_open(struct fr_conn *conn, int fd);
int fr_backing_close(struct fr_conn *conn, u32 id);
void fr_backing_close_all(struct fr_conn *conn);
struct fr_backing *fr_backing_lookup(struct fr_conn *conn, u32 id);
void fr_backing_get(struct fr_backing *backing);
void fr_backing_put(struct fr_backing *backing);

/* Where its pages are: overlayfs has them in another file system. */
static inline struct address_space *fr_backing_mapping(const struct file *file)
{
	return d_real_inode(file->f_path.dentry)->i_mapping;
}

/* node.c */
extern const struct fr_map_ops fr_node_ops;
extern const struct fr_map_ops fr_node_nofail_ops;
int fr_node_init(void);
void fr_node_exit(void);

/* inode.c */
int fr_inode_init(void);
void fr_inode_exit(void);
struct fr_inode *fr_inode_find(struct inode *inode);
struct fr_inode *fr_inode_get(struct inode *inode, struct fr_conn *conn);
void fr_inode_put(struct fr_inode *fi);
void fr_inode_evict(struct inode *inode);
void fr_inode_detach_all(struct fr_conn *conn);
bool fr_inode_has_regions(struct inode *inode);
void fr_inode_note_trunc(struct inode *inode);
bool fr_inode_file_opened(struct fr_inode *fi);
void fr_inode_file_closed(struct fr_inode *fi);

/* ctl.c */
void fr_ctl_install(struct fr_conn *conn, struct file *dev);
bool fr_ctl_is(const struct file *file);

/* dev.c */
int fr_dev_init(void);
void fr_dev_exit(void);

/* After a write of a backing, and before that is reported. */
static inline void fr_inode_set_written(struct fr_inode *fi)
{
	if (!READ_ONCE(fi->written))
		WRITE_ONCE(fi->written, true);
	if (!READ_ONCE(fi->changed))
		WRITE_ONCE(fi->changed, true);
}

/* bind.c */
ssize_t fr_bind_message(struct fr_conn *conn, u32 len, struct iov_iter *from);
void fr_bind_trim(struct fr_inode *fi, u64 size);
void fr_bind_end(struct fr_inode *fi);

/* file.c */
extern struct file_operations fr_adopted_fops;
extern const struct file_operations *fr_orig_fops;
bool fr_file_learn(const struct file_operations *fops);
void fr_file_adopt(struct inode *inode, struct file *file);
struct fr_inode *fr_file_promote(struct file *file);
void fr_file_ops_init(struct file_operations *fops,
		      const struct file_operations *orig);

/* Not: whoever is in srcu finds size and map as the last truncation left them. */
static inline bool fr_truncating(const struct fr_inode *fi)
{
	/* Pairs with the release in fr_attr_let_writers_go() */
	return smp_load_acquire(&fi->truncating);
}

/* What we know of @file's inode; NULL: it is an ordinary FUSE file to us. */
static inline struct fr_inode *fr_file_inode(struct file *file)
{
	const struct file_operations *fops = READ_ONCE(file->f_op);

	if (unlikely(fops == &fr_adopted_fops))
		return fr_file_promote(file);
	return container_of(fops, struct fr_inode, fops);
}

/* main.c */
extern struct workqueue_struct *fr_wq;
extern struct workqueue_struct *fr_end_wq;
extern struct workqueue_struct *fr_io_wq;
extern struct workqueue_struct *fr_write_wq;
extern atomic_t fr_pending;
void fr_pending_done(void);

/* read.c */
ssize_t fr_read_iter(struct kiocb *iocb, struct iov_iter *to);
ssize_t fr_read(struct fr_inode *fi, struct kiocb *iocb, struct iov_iter *to);
u64 fr_read_eof(struct fr_inode *fi, const struct fr_node *root);
u64 fr_eof(struct fr_inode *fi);

/* aio.c */
int fr_aio_init(void);
void fr_aio_exit(void);
ssize_t fr_aio(struct fr_inode *fi, struct kiocb *iocb, struct iov_iter *iter,
	       const struct fr_region *region, unsigned int access);

/* splice.c */
ssize_t fr_splice_read(struct file *in, loff_t *ppos,
		       struct pipe_inode_info *pipe, size_t len,
		       unsigned int flags);
void fr_splice_part(struct fr_inode *fi, const struct fr_node *root,
		    const struct fr_op *ops, u32 count, bool write);

/* seek.c */
loff_t fr_llseek(struct file *file, loff_t offset, int whence);
int fr_fadvise(struct file *file, loff_t offset, loff_t len, int advice);

/* write.c */
ssize_t fr_write_iter(struct kiocb *iocb, struct iov_iter *from);
ssize_t fr_write(struct fr_inode *fi, struct kiocb *iocb, struct iov_iter *from);
void fr_write_done(struct fr_inode *fi, loff_t pos, size_t len);
int fr_write_await_size(struct inode *inode);

/* sync.c */
int fr_fsync(struct file *file, loff_t start, loff_t end, int datasync);

/* attr.c */
void fr_attr_take_over(struct fr_inode *fi);
void fr_attr_give_back(struct fr_inode *fi);

/* grow.c */
int fr_grow_begin(struct fr_inode *fi, struct fr_hold *hold, u64 eof,
		  bool locked);
void fr_grow_end(struct fr_inode *fi, struct fr_hold *hold, u64 eof, u64 now);
u64 fr_grow_from(struct fr_inode *fi, u64 eof, u64 pos);
int fr_grow_catch_up(struct fr_inode *fi, u64 eof);
long fr_fallocate(struct file *file, int mode, loff_t offset, loff_t len);
void fr_grow_copying(struct file *file, loff_t pos, size_t len);
void fr_grow_flush(struct fr_inode *fi);

/* The first and the last byte of the file in it */
static inline u64 fr_vma_start(const struct vm_area_struct *vma)
{
	return (u64)vma->vm_pgoff << PAGE_SHIFT;
}

static inline u64 fr_vma_last(const struct vm_area_struct *vma)
{
	return fr_vma_start(vma) + (vma->vm_end - vma->vm_start) - 1;
}

static inline bool fr_vma_may_write_back(const struct vm_area_struct *vma)
{
	/* Of another's mapping, these stay as they are in MM's list. */
	vm_flags_t flags = data_race(vma->vm_flags);

	return (flags & VM_SHARED) && (flags & VM_MAYWRITE);
}

/* mmap.c */
int fr_mmap(struct file *file, struct vm_area_struct *vma);

/* confine.c */
void fr_confine(struct vm_area_struct *vma);
void fr_confine_exit(void);

/* cache.c */
static inline u64 fr_folio_last(struct folio *folio)
{
	return folio_pos(folio) + folio_size(folio) - 1;
}

int fr_cache_init(void);
void fr_cache_exit(void);
int fr_cache_write(struct address_space *mapping, u64 start, u64 last);
void fr_cache_take_over(struct fr_inode *fi);
void fr_cache_give_back(struct fr_inode *fi);

/* Has FUSE's cache any page? */
static inline bool fr_cache_has_pages(const struct address_space *mapping)
{
	/* What becomes of one that comes or goes meanwhile, holds tell, or SRCU */
	return data_race(mapping->nrpages);
}

static inline bool fr_cache_needs_writeback(struct address_space *mapping,
					    u64 start, u64 last)
{
	/* VFS looks at the tags without a lock, too, before it takes any */
	return data_race(filemap_range_needs_writeback(mapping, start, last));
}

/* May there be something to flush? Costs what each read and write can bear. */
static inline bool fr_cache_busy(const struct fr_inode *fi,
				 const struct file *file)
{
	return fr_cache_has_pages(file->f_mapping) || READ_ONCE(fi->sent_back);
}

int fr_cache_flush(struct fr_inode *fi, u64 start, u64 last, bool nowait);

/* Why pages of FUSE's cache are held, or dropped (writeback.c: if dirty) */
enum fr_hold_why {
	FR_HOLD_WRITE,		/* a write is under way */
	FR_HOLD_BACK,		/* pages are being given to FUSE */
	FR_DROP_WRITTEN,	/* one was; if dirty, stored into since */
	FR_DROP_BOUND,		/* a message came; if dirty, as before that */
};

/**
 * struct fr_hold - pages that may not be stored into for now
 * @entry:	in fr_inode.holds; its lock
 * @first:	of the pages
 * @last:	of the pages
 * @why:	why
 * @task:	who drops them, if they are to be dropped
 * @copier:	whose copy_file_range() makes the file longer, see grow.c
 * @work:	what does, or NULL
 */
struct fr_hold {
	struct list_head entry;
	pgoff_t first;
	pgoff_t last;
	enum fr_hold_why why;
	struct task_struct *task;
	struct task_struct *copier;
	struct delayed_work *work;
};

bool fr_cache_sending(struct fr_inode *fi);
bool fr_cache_see_sending(struct fr_inode *fi);
bool fr_cache_behind(struct fr_inode *fi, u64 start, u64 last);
bool fr_cache_outgrown(struct fr_inode *fi, struct folio *folio);

/* drop.c */
void fr_drop(struct fr_inode *fi, u64 start, u64 last, enum fr_hold_why why);
void fr_drop_soon(struct fr_inode *fi, u64 start, u64 last,
		  enum fr_hold_why why);
enum fr_hold_why fr_drop_why(struct fr_inode *fi);
void fr_drop_hurry(struct fr_inode *fi);
void fr_drop_end(struct fr_inode *fi);

/* hold.c */
void fr_hold_begin(struct fr_inode *fi, struct fr_hold *hold, u64 start,
		   u64 last, enum fr_hold_why why);
void fr_hold_begin_copy(struct fr_inode *fi, struct fr_hold *hold, u64 start);
struct fr_hold *fr_hold_of_copy(struct fr_inode *fi);
bool fr_held_bound(struct fr_inode *fi, u64 start, u64 last);
int fr_hold_flush(struct fr_inode *fi, u64 start, u64 last, bool locked);
void fr_hold_end(struct fr_inode *fi, struct fr_hold *hold);
void fr_hold_shrink(struct fr_inode *fi, struct fr_hold *hold, pgoff_t first,
		    pgoff_t last);
bool fr_hold_first_store(struct fr_inode *fi);
bool fr_hold_refuse(struct fr_inode *fi, pgoff_t page);
void fr_hold_wait(struct fr_inode *fi, pgoff_t page);
bool fr_hold_old(struct fr_inode *fi, pgoff_t first, pgoff_t last);
bool fr_hold_wait_old(struct fr_inode *fi, pgoff_t first, pgoff_t last);
void fr_hold_pass_old(struct fr_inode *fi, u64 pos, size_t len);

#endif /* FR_REGIONS_H */
