/* SPDX-License-Identifier: GPL-2.0 */
/* Which of two caches a mapping may have (claim.c). */
#ifndef FR_CLAIM_H
#define FR_CLAIM_H

#include "regions.h"

/**
 * struct fr_claim - a mapping that is being made
 * @fi:		of this inode
 * @mapping:	FUSE's cache of it
 * @first:	the first page of the file in it, and
 * @last:	the last
 * @write:	it can be stored into, now or once mprotect() lets it be
 * @counted:	1: MM counts it
 * @waits:	1: the same, and it has claimed nothing; fr_inode.claim_lock
 * @cache:	FUSE's cache is stored into, or may come to be, in these pages
 * @tries:	how often others are waited for
 */
struct fr_claim {
	struct fr_inode *fi;
	struct address_space *mapping;
	pgoff_t first;
	pgoff_t last;
	bool write;
	unsigned int counted;
	unsigned int waits;
	bool cache;
	unsigned int tries;
};

void fr_claim_begin(struct fr_claim *claim, struct fr_inode *fi,
		    const struct file *file, const struct vm_area_struct *vma);
bool fr_claim_in_cache(const struct fr_claim *claim, bool all);
bool fr_claim_backing(struct fr_claim *claim, bool all);
void fr_claim_reset(struct fr_claim *claim);
bool fr_claim_cache(struct fr_claim *claim);
bool fr_claim_unseen(struct fr_claim *claim);
void fr_claim_end(struct fr_claim *claim);

#endif /* FR_CLAIM_H */
