/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/* A hash table of things that have a number. The caller locks. */
#ifndef FR_HASH_H
#define FR_HASH_H

#include <stddef.h>
#include <stdint.h>

/* To be embedded in the thing */
struct hash_link {
	struct hash_link *next;
	uint64_t key;
};

/* Zero it, use it, hash_drain() it. */
struct hash {
	struct hash_link **slots;
	size_t nr_slots; /* a power of two, or 0 */
	size_t used;
};

struct hash_link *hash_find(const struct hash *hash, uint64_t key);

/* @key must not be there yet. 0 or -ENOMEM. */
int hash_add(struct hash *hash, struct hash_link *link, uint64_t key);

/* Takes the entry out and returns it; NULL: no such key. */
struct hash_link *hash_remove(struct hash *hash, uint64_t key);

/* Takes all entries out, giving each to @put, and frees the table. */
void hash_drain(struct hash *hash, void (*put)(struct hash_link *link));

#endif /* FR_HASH_H */
