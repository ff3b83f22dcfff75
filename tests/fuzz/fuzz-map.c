// SPDX-License-Identifier: GPL-2.0
/*
 * A stream of operations on a map and on its model.
 *
 * grammar:  input = where txn { txn }
 *           where = byte: odd for a window at the file's end
 *           txn   = fail { op } end
 *           fail  = byte: which allocation fails; 0x80 and up: none does
 *           op    = kind from len what, a byte each; see enum kind
 *           end   = byte: a kind of END or ABORT
 *
 * Built with small nodes, so that a short input makes a high tree.
 */
#include "fuzz.h"
#include "trial.h"

#define CELLS 256

enum kind { BIND, BIND_FEW, REPLACE, REPLACE_REST, UNBIND, UNBIND_FEW, END, ABORT, KINDS };

/**
 * struct input - what is left of it
 * @data:	next byte
 * @size:	how many there are
 */
struct input {
	const u8 *data;
	size_t size;
};

static unsigned int next_byte(struct input *input)
{
	if (!input->size)
		return 0;
	input->size--;
	return *input->data++;
}

static unsigned int at_most(unsigned int cell, unsigned int most)
{
	return cell < most ? cell : most;
}

/* Perform one operation, but for the ends. */
static void operate(struct trial *trial, enum kind kind, struct input *input)
{
	unsigned int from = next_byte(input) % CELLS;
	unsigned int len = next_byte(input), what = next_byte(input);
	unsigned int backing = what / 16, flags = what % 16;
	u64 backing_start = (u64)len << (what % 55);
	unsigned int to;

	if (kind == BIND_FEW || kind == UNBIND_FEW)
		len %= 4;
	if (kind == REPLACE_REST)
		len = CELLS;
	to = at_most(from + len, CELLS - 1);
	if (kind == UNBIND || kind == UNBIND_FEW)
		trial_unbind(trial, from, to);
	else
		trial_bind(trial, from, to, backing, flags, backing_start,
			   kind == REPLACE || kind == REPLACE_REST);
}

static void run_txn(struct trial *trial, struct input *input)
{
	unsigned int fail = next_byte(input);
	enum kind kind = END;

	trial_begin(trial, fail < 0x80 ? (long)fail : -1);
	while (input->size) {
		kind = next_byte(input) % KINDS;
		if (kind == END || kind == ABORT)
			break;
		operate(trial, kind, input);
	}
	trial_end(trial, kind == ABORT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };
	u64 base = next_byte(&input) % 2 ? FR_LAST_MAX - (CELLS - 1) : 0;
	struct trial *trial = trial_new(base, CELLS);
	u64 len = model_last(&trial->model, CELLS - 2);

	while (input.size)
		run_txn(trial, &input);
	model_check_cut(&trial->model, trial->map.root, 0, len, FR_READ);
	model_check_cut(&trial->model, trial->map.root, 0, len, FR_WRITE);
	trial_free(trial);
	return 0;
}
