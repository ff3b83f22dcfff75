// SPDX-License-Identifier: GPL-2.0
#include "trial.h"

struct trial *trial_new(u64 base, unsigned int cells)
{
	/* It is large, and a fuzzer needs a new one each time. */
	static struct trial trial;

	trial.map = (struct fr_map){ .ops = &fake_ops };
	trial.oldest = 0;
	trial.snapshots = 0;
	model_init(&trial.model, base, cells);
	return &trial;
}

static void check_snapshot(const struct snapshot *old)
{
	model_check(&old->model, old->root);
}

/* The reader of the oldest state goes, and with it what only it could see. */
static void drop_oldest(struct trial *trial)
{
	struct snapshot *old = &trial->snapshot[trial->oldest];

	check_snapshot(old);
	fr_nodes_free(&fake_ops, old->retired);
	trial->oldest = (trial->oldest + 1) % TRIAL_SNAPSHOTS;
	trial->snapshots--;
}

/* A reader begins to look at the state that is now published. */
static struct snapshot *take_snapshot(struct trial *trial)
{
	struct snapshot *new;

	if (trial->snapshots == TRIAL_SNAPSHOTS)
		drop_oldest(trial);
	new = &trial->snapshot[(trial->oldest + trial->snapshots) % TRIAL_SNAPSHOTS];
	trial->snapshots++;
	new->root = trial->map.root;
	new->retired = NULL;
	model_copy(&new->model, &trial->model);
	return new;
}

void trial_free(struct trial *trial)
{
	trial_check(trial);
	while (trial->snapshots)
		drop_oldest(trial);
	fr_map_destroy(&trial->map);
	must(!trial->map.root && !trial->map.nr, "a destroyed map is not empty");
	fake_check_none_left();
}

void trial_begin(struct trial *trial, long fail_after)
{
	fake_fail_after(fail_after);
	fr_txn_begin(&trial->txn, &trial->map);
	model_copy(&trial->next, &trial->model);
	trial->err = 0;
	trial->removed = false;
}

/* An error means what it says, or there is none. */
static void check_result(struct trial *trial, int err, bool exists)
{
	if (err == -ENOMEM)
		must(fake_has_failed(), "ENOMEM, though there was memory");
	else
		must(err == (exists ? -EEXIST : 0), "error %d", err);
	must(err == -ENOMEM || !fake_has_failed(), "a failed allocation went unnoticed");
	trial->err = err;
}

void trial_bind(struct trial *trial, unsigned int from, unsigned int to, unsigned int backing,
		unsigned int flags, u64 backing_start, bool replace)
{
	struct fr_region r = {
		.start = model_first(&trial->model, from),
		.last = model_last(&trial->model, to),
		.backing_start = backing_start,
		.backing_flags = (uintptr_t)&fake_backing[backing] | flags,
	};
	bool exists = !replace && model_is_bound(&trial->next, from, to);

	if (trial->err)
		return;
	if (replace && model_is_bound(&trial->model, from, to))
		trial->removed = true;
	check_result(trial, fr_txn_bind(&trial->txn, &r, replace), exists);
	model_bind(&trial->next, from, to, backing, flags, backing_start);
}

void trial_unbind(struct trial *trial, unsigned int from, unsigned int to)
{
	int err;

	if (trial->err)
		return;
	if (model_is_bound(&trial->model, from, to))
		trial->removed = true;
	err = fr_txn_unbind(&trial->txn, model_first(&trial->model, from),
			    model_last(&trial->model, to));
	must(!err || from || to + 1 < trial->model.cells, "unbinding everything failed");
	check_result(trial, err, false);
	model_unbind(&trial->next, from, to);
}

/* Another state of the map has another number, which only grows. */
static void check_number(const struct trial *trial)
{
	const struct fr_node *root = trial->txn.root;

	must(!root || root == trial->map.root || fr_map_txn(root) == trial->txn.id,
	     "a state has the number of another");
}

void trial_end(struct trial *trial, bool abort)
{
	struct snapshot *old;

	fake_fail_after(-1);
	if (abort || trial->err) {
		fr_txn_abort(&trial->txn);
	} else {
		must(trial->txn.removed == trial->removed, "wrong about removed bytes");
		check_number(trial);
		old = take_snapshot(trial);
		fr_txn_commit(&trial->txn);
		old->retired = trial->txn.retired;
		model_copy(&trial->model, &trial->next);
	}
	trial_check(trial);
}

/* Each node is in the tree, or waits for the reader that may still see it. */
static void check_nodes(const struct trial *trial)
{
	long nodes = fr_map_nodes(trial->map.root);
	unsigned int i;

	for (i = 0; i < trial->snapshots; i++) {
		unsigned int at = (trial->oldest + i) % TRIAL_SNAPSHOTS;
		const struct fr_node *list = trial->snapshot[at].retired;

		for (; list; list = fake_next_retired(list))
			nodes++;
	}
	must(nodes == fake_nodes, "%ld nodes, not %ld", fake_nodes, nodes);
}

void trial_check(struct trial *trial)
{
	const char *broken = fr_map_check(&trial->map);

	must(!broken, "%s", broken);
	must(trial->map.nr == model_regions(&trial->model), "wrong number of regions");
	model_check(&trial->model, trial->map.root);
	check_nodes(trial);
	fake_check_refs();
	if (trial->snapshots)
		check_snapshot(&trial->snapshot[trial->oldest]);
}
