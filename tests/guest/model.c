// SPDX-License-Identifier: GPL-2.0
#include <linux/fuse_regions.h>
#include <sched.h>
#include <string.h>

#include "model.h"

/* Held for a moment, by processes that are not killed meanwhile */
static void lock(struct model *m)
{
	while (__atomic_exchange_n(&m->lock, 1, __ATOMIC_ACQUIRE))
		sched_yield();
}

static void unlock(struct model *m)
{
	__atomic_store_n(&m->lock, 0, __ATOMIC_RELEASE);
}

struct model *model_new(uint64_t max)
{
	struct model *m = shared_alloc(sizeof(*m) + max * sizeof(m->ops[0]));

	m->max = max;
	return m;
}

void model_free(struct model *m)
{
	shared_free(m, sizeof(*m) + m->max * sizeof(m->ops[0]));
}

static void append(struct model *m, const struct model_op *op)
{
	lock(m);
	if (op->start == 0 && op->last == MODEL_LAST)
		m->nr = 0; /* nothing older shows any more */
	if (m->nr == m->max)
		FAIL("the test's own model is full");
	m->ops[m->nr++] = *op;
	unlock(m);
}

static uint64_t last_of(uint64_t off, uint64_t len)
{
	return off == 0 && len == 0 ? MODEL_LAST : off + len - 1;
}

void model_bind(struct model *m, uint64_t off, uint64_t len, struct backing *b, uint64_t boff,
		uint32_t flags)
{
	struct model_op op = {
		.start = off,
		.last = last_of(off, len),
		.b = b,
		.bstart = boff,
		.flags = flags & (FUSE_REGION_READ | FUSE_REGION_WRITE | FUSE_REGION_GROW),
	};

	if (len == 0)
		op.flags |= MODEL_WHOLE;
	append(m, &op);
}

void model_unbind(struct model *m, uint64_t off, uint64_t len)
{
	struct model_op op = { .start = off, .last = last_of(off, len) };

	append(m, &op);
}

static bool find_locked(struct model *m, uint64_t pos, struct model_op *run)
{
	uint64_t last = MODEL_LAST;

	for (uint64_t i = m->nr; i-- > 0;) {
		const struct model_op *op = &m->ops[i];

		if (op->start > pos && op->start - 1 < last)
			last = op->start - 1;
		if (op->start > pos || op->last < pos)
			continue;
		*run = *op;
		run->start = pos;
		run->bstart = op->bstart + (pos - op->start);
		run->last = op->last < last ? op->last : last;
		return op->b != NULL;
	}
	memset(run, 0, sizeof(*run));
	run->start = pos;
	run->last = last;
	return false;
}

bool model_find(struct model *m, uint64_t pos, struct model_op *run)
{
	bool bound;

	lock(m);
	bound = find_locked(m, pos, run);
	unlock(m);
	return bound;
}

bool model_whole_eof(struct model *m, uint64_t *eof)
{
	struct model_op run;
	uint64_t size, before;

	if (!model_find(m, MODEL_LAST, &run) || !(run.flags & MODEL_WHOLE))
		return false;
	/* The backing's byte at the file's byte 0 */
	before = run.bstart - MODEL_LAST;
	size = backing_size(run.b);
	*eof = size > before ? size - before : 0;
	return true;
}

/*
 * An unbind that spares whole-file regions: what still shows of one is written
 * down again on top.
 */
void model_trim(struct model *m, uint64_t size)
{
	struct model_op kept[64], run;
	uint64_t pos = size;
	int nr = 0;

	if (size > MODEL_LAST)
		return;
	do {
		if (model_find(m, pos, &run) && (run.flags & MODEL_WHOLE)) {
			CHECK(nr < 64);
			kept[nr++] = run;
		}
		pos = run.last + 1;
	} while (run.last < MODEL_LAST);

	append(m, &(struct model_op){ .start = size, .last = MODEL_LAST });
	for (int i = 0; i < nr; i++)
		append(m, &kept[i]);
}
