// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0
/* A hash table of things that have a number. */

#include <errno.h>
#include <stdlib.h>

#include "hash.h"

#define HASH_FIRST_SLOTS 64

/* Fibonacci hashing: neighbouring numbers, the usual ones, spread well */
static size_t hash_slot(uint64_t key, size_t nr_slots)
{
	return (size_t)((key * 0x9e3779b97f4a7c15ULL) >> 32) & (nr_slots - 1);
}

/* The pointer that points to the entry with @key, or to the NULL at its chain's end. */
static struct hash_link **hash_place(const struct hash *hash, uint64_t key)
{
	struct hash_link **place = &hash->slots[hash_slot(key, hash->nr_slots)];

	while (*place && (*place)->key != key)
		place = &(*place)->next;
	return place;
}

struct hash_link *hash_find(const struct hash *hash, uint64_t key)
{
	return hash->used ? *hash_place(hash, key) : NULL;
}

static int hash_grow(struct hash *hash)
{
	size_t nr_slots = hash->nr_slots ? hash->nr_slots * 2 : HASH_FIRST_SLOTS;
	struct hash_link **slots = calloc(nr_slots, sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	for (size_t i = 0; i < hash->nr_slots; i++) {
		while (hash->slots[i]) {
			struct hash_link *link = hash->slots[i];
			struct hash_link **to = &slots[hash_slot(link->key, nr_slots)];

			hash->slots[i] = link->next;
			link->next = *to;
			*to = link;
		}
	}
	free(hash->slots);
	hash->slots = slots;
	hash->nr_slots = nr_slots;
	return 0;
}

int hash_add(struct hash *hash, struct hash_link *link, uint64_t key)
{
	struct hash_link **slot;

	/* A table that could not grow works on, only slower. */
	if (hash->used >= hash->nr_slots && hash_grow(hash) && !hash->nr_slots)
		return -ENOMEM;
	slot = &hash->slots[hash_slot(key, hash->nr_slots)];
	link->key = key;
	link->next = *slot;
	*slot = link;
	hash->used++;
	return 0;
}

struct hash_link *hash_remove(struct hash *hash, uint64_t key)
{
	struct hash_link **place, *link;

	if (!hash->used)
		return NULL;
	place = hash_place(hash, key);
	link = *place;
	if (link) {
		*place = link->next;
		hash->used--;
	}
	return link;
}

void hash_drain(struct hash *hash, void (*put)(struct hash_link *link))
{
	for (size_t i = 0; i < hash->nr_slots; i++) {
		while (hash->slots[i]) {
			struct hash_link *link = hash->slots[i];

			hash->slots[i] = link->next;
			put(link);
		}
	}
	free(hash->slots);
	*hash = (struct hash){ 0 };
}
