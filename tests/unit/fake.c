// SPDX-License-Identifier: GPL-2.0
#include "fake.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "map-node.h"

/* Precedes each node, and keeps it 16-byte aligned. */
struct header {
	_Alignas(16) struct header *next;
	struct header **where;
};

struct fake_backing fake_backing[FAKE_BACKINGS];
long fake_nodes;

static struct header *all_nodes;
static long good_left = -1;
static bool failed;

void fake_die(const char *file, int line, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "%s:%d: ", file, line);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	abort();
}

void fake_fail_after(long n)
{
	good_left = n;
	failed = false;
}

bool fake_has_failed(void)
{
	return failed;
}

static void *node_alloc(void)
{
	struct header *header;

	if (good_left >= 0 && good_left-- == 0) {
		failed = true;
		return NULL;
	}
	header = malloc(sizeof(*header) + FR_NODE_SIZE);
	must(header, "out of memory");
	/* The map must not rely on what is in there. */
	memset(header, 0xa5, sizeof(*header) + FR_NODE_SIZE);
	header->next = all_nodes;
	header->where = &all_nodes;
	if (all_nodes)
		all_nodes->where = &header->next;
	all_nodes = header;
	fake_nodes++;
	return header + 1;
}

static void node_free(void *node)
{
	struct header *header = (struct header *)node - 1;

	*header->where = header->next;
	if (header->next)
		header->next->where = header->where;
	free(header);
	fake_nodes--;
}

static void backing_get(void *backing)
{
	struct fake_backing *b = backing;

	must(b >= fake_backing && b < fake_backing + FAKE_BACKINGS, "get of no backing");
	b->refs++;
}

static void backing_put(void *backing)
{
	struct fake_backing *b = backing;

	must(b >= fake_backing && b < fake_backing + FAKE_BACKINGS, "put of no backing");
	must(b->refs > 0, "a reference too many is dropped");
	b->refs--;
}

const struct fr_map_ops fake_ops = {
	.alloc = node_alloc,
	.free = node_free,
	.get = backing_get,
	.put = backing_put,
};

struct fr_node *fake_next_retired(const struct fr_node *node)
{
	return node->link;
}

void fake_check_refs(void)
{
	long refs[FAKE_BACKINGS] = { 0 };
	const struct header *header;
	const struct fake_backing *b;
	unsigned int i;

	for (header = all_nodes; header; header = header->next) {
		const struct fr_node *node = (const struct fr_node *)(header + 1);

		for (i = 0; !node->level && i < node->nr; i++) {
			b = fr_region_backing(&node->region[i]);
			refs[b - fake_backing]++;
		}
	}
	for (i = 0; i < FAKE_BACKINGS; i++)
		must(refs[i] == fake_backing[i].refs, "backing %u has %ld references, not %ld", i,
		     fake_backing[i].refs, refs[i]);
}

void fake_check_none_left(void)
{
	must(!fake_nodes, "%ld nodes are left", fake_nodes);
	fake_check_refs();
}

u64 fake_random(u64 *state)
{
	u64 x = *state += 0x9e3779b97f4a7c15ULL;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

u64 fake_below(u64 *state, u64 n)
{
	return fake_random(state) % n;
}
