/* SPDX-License-Identifier: GPL-2.0 */
/* What filling FUSE's page cache (cache.c) and its write-back share. */
#ifndef FR_CACHE_H
#define FR_CACHE_H

#include "regions.h"

/* FUSE's own, once an inode had a region */
extern const struct address_space_operations *fr_orig_aops;

/*
 * How many bytes of a dirty folio are the file's? And with how many of these was it
 * filled? Others may have made a whole file's backing longer since: behind @filled
 * it has only what was stored into it, and zeroes.
 */
size_t fr_cache_length(struct fr_inode *fi, struct folio *folio, size_t *filled);
bool fr_cache_writable(struct fr_inode *fi, u64 start, u64 last);
bool fr_cache_unwritten(struct address_space *mapping, u64 start, u64 last);
void fr_cache_sent_back(struct fr_inode *fi);

/* writeback.c */
int fr_writepages(struct address_space *mapping, struct writeback_control *wbc);
int fr_launder_folio(struct folio *folio);

#endif /* FR_CACHE_H */
