// SPDX-License-Identifier: GPL-2.0
/*
 * Millions of random operations on a map and on its model. FR_SEED and
 * FR_ROUNDS in the environment choose others, and more of them.
 */
#include <check.h>
#include <stdlib.h>

#include "trial.h"

/**
 * struct setup - a kind of file to play with
 * @base:	where the window begins
 * @cells:	its size
 * @rounds:	transactions
 */
struct setup {
	u64 base;
	unsigned int cells;
	unsigned int rounds;
};

static const struct setup setups[] = {
	{ 0, 16, 50000 },
	{ 0, 64, 50000 },
	{ 0, 300, 30000 },
	{ 1ULL << 40, 300, 10000 },
	{ FR_LAST_MAX - 299, 300, 30000 },
	{ 0, 4096, 2000 },
	{ FR_LAST_MAX - 4095, 4096, 1000 },
};

/* What a stretch of transactions likes to do, so that maps fill and empty. */
enum mood { FILL, MIX, DRAIN, APPEND, MOODS };

struct range {
	unsigned int from;
	unsigned int to;
};

static u64 seed;

static u64 environment(const char *name, u64 otherwise)
{
	const char *value = getenv(name);

	return value ? strtoull(value, NULL, 0) : otherwise;
}

static unsigned int below(u64 n)
{
	return fake_below(&seed, n);
}

/* The cells behind everything that is bound, or any if there are none. */
static unsigned int append_at(const struct trial *trial)
{
	unsigned int cell = trial->next.cells;

	while (cell && !trial->next.cell[cell - 1].region)
		cell--;
	return cell < trial->next.cells ? cell : below(cell);
}

/* A range that reaches an end of the file, and makes short work of the map. */
static struct range sweeping_range(unsigned int cells)
{
	unsigned int cell = below(cells);

	switch (below(4)) {
	case 0:
		return (struct range){ 0, cells - 1 };
	case 1:
		return (struct range){ 0, cell };
	default:
		return (struct range){ cell, cells - 1 };
	}
}

static struct range random_range(const struct trial *trial, enum mood mood)
{
	static const unsigned int sweeps[MOODS] = { 2000, 80, 300, 2000 };
	const unsigned int cells = trial->model.cells;
	struct range range;
	unsigned int len;

	if (below(sweeps[mood]) == 0)
		return sweeping_range(cells);
	range.from = mood == APPEND ? append_at(trial) : below(cells);
	switch (below(mood == FILL || mood == APPEND ? 300 : 40)) {
	case 0:
		len = 1 + below(cells);
		break;
	case 1:
	case 2:
		len = 1 + below(cells / 8 + 1);
		break;
	case 3:
	case 4:
	case 5:
		return (struct range){ model_run_first(&trial->next, range.from),
				       model_run_last(&trial->next, range.from) };
	default:
		len = 1 + below(below(3) ? 1 : 4);
	}
	range.to = range.from + len - 1;
	if (range.to >= cells)
		range.to = cells - 1;
	return range;
}

static u64 random_backing_start(void)
{
	u64 shift = below(63);

	return fake_random(&seed) >> (1 + shift);
}

static void random_op(struct trial *trial, enum mood mood)
{
	static const unsigned int unbinds[MOODS] = { 5, 30, 60, 2 };
	struct range range = random_range(trial, mood);
	unsigned int flags = 1 + below(FR_FLAGS);
	bool replace = below(2);

	/* Now and then a bind is let run into EEXIST, which ends its transaction. */
	if (!replace && model_is_bound(&trial->next, range.from, range.to))
		replace = below(16);
	if (below(100) < unbinds[mood])
		trial_unbind(trial, range.from, range.to);
	else
		trial_bind(trial, range.from, range.to, below(FAKE_BACKINGS), flags,
			   random_backing_start(), replace);
}

static void random_cut(const struct trial *trial)
{
	static const unsigned int accesses[] = { FR_READ, FR_WRITE };
	struct range range = random_range(trial, MIX);
	u64 pos = model_first(&trial->model, range.from);

	model_check_cut(&trial->model, trial->map.root, pos,
			model_last(&trial->model, range.to) - pos + 1, accesses[below(2)]);
}

static void random_txn(struct trial *trial, enum mood mood)
{
	unsigned int ops = below(4) ? 1 + below(3) : below(40);

	trial_begin(trial, below(4) ? -1 : (long)below(4 + 2 * ops));
	while (ops--)
		random_op(trial, mood);
	trial_end(trial, below(10) == 0);
	random_cut(trial);
}

START_TEST(map_agrees_with_model)
{
	const struct setup *setup = &setups[_i];
	u64 rounds = environment("FR_ROUNDS", setup->rounds), round;
	struct trial *trial = trial_new(setup->base, setup->cells);
	enum mood mood = FILL;

	seed = environment("FR_SEED", 1) + _i;
	for (round = 0; round < rounds; round++) {
		if (below(setup->cells / 4) == 0)
			mood = below(MOODS);
		random_txn(trial, mood);
	}
	trial_free(trial);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("map-random");
	TCase *tcase = tcase_create("random");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tcase);
	tcase_set_timeout(tcase, 0);
	tcase_add_loop_test(tcase, map_agrees_with_model, 0, sizeof(setups) / sizeof(setups[0]));
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
