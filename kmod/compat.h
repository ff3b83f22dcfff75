/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Everything that knows kernel versions. Where the compiler can tell what a
 * kernel has, it is asked; a version number stands only where it cannot.
 */
#ifndef FR_COMPAT_H
#define FR_COMPAT_H

#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/ftrace.h>
#include <linux/sched.h>
#include <linux/version.h>

#if __has_include(<linux/folio_batch.h>)	/* its name from 7.x on */
#include <linux/folio_batch.h>
#else
#include <linux/pagevec.h>
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
#error "fuse-regions needs Linux 6.12 or later"
#endif

#ifndef CONFIG_DYNAMIC_FTRACE_WITH_ARGS
#error "fuse-regions needs a kernel with CONFIG_DYNAMIC_FTRACE_WITH_ARGS"
#endif

#ifdef CONFIG_PREEMPT_RT	/* ftrace's callbacks may not sleep, but its spinlocks do */
#error "fuse-regions does not work on kernels with CONFIG_PREEMPT_RT"
#endif

#ifndef CONFIG_DEBUG_INFO_BTF
#error "fuse-regions needs a kernel with CONFIG_DEBUG_INFO_BTF"
#endif

#ifndef CONFIG_FS_STACK		/* backing_file_open() */
#error "fuse-regions needs a kernel with CONFIG_FS_STACK"
#endif

#if !IS_ENABLED(CONFIG_FUSE_FS)
#error "fuse-regions needs a kernel with CONFIG_FUSE_FS"
#endif

/*
 * The hash value of find_inode_nowait() became u64 in 7.x; take its type from
 * its own declaration.
 */
#define FR_INODE_HASH_IS_U64						\
	__builtin_types_compatible_p(typeof(&find_inode_nowait),	\
		struct inode *(*)(struct super_block *, u64,		\
				  int (*)(struct inode *, u64, void *),	\
				  void *))

typedef typeof(__builtin_choose_expr(FR_INODE_HASH_IS_U64, (u64)0,
				     0UL)) fr_hash_t;

/*
 * override_creds() without reference counts, as it is from 6.14 on: whoever
 * lends the credentials holds on to them.
 */
static inline const struct cred *fr_override_creds(const struct cred *cred)
{
	return rcu_replace_pointer(current->cred, cred, 1);
}

static inline void fr_revert_creds(const struct cred *old)
{
	rcu_replace_pointer(current->cred, old, 1);
}

#endif /* FR_COMPAT_H */
