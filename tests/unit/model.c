// SPDX-License-Identifier: GPL-2.0
#include "model.h"

#include <inttypes.h>

void model_init(struct model *model, u64 base, unsigned int cells)
{
	must(cells >= 2 && cells <= MODEL_CELLS_MAX, "a model of %u cells", cells);
	must(base <= FR_LAST_MAX - (cells - 1), "a model past the end");
	model->base = base;
	model->cells = cells;
	model->last_region = 0;
	memset(model->cell, 0, cells * sizeof(model->cell[0]));
}

void model_copy(struct model *dst, const struct model *src)
{
	memcpy(dst, src, offsetof(struct model, cell));
	memcpy(dst->cell, src->cell, src->cells * sizeof(src->cell[0]));
}

u64 model_first(const struct model *model, unsigned int cell)
{
	return cell ? model->base + cell : 0;
}

u64 model_last(const struct model *model, unsigned int cell)
{
	return cell + 1 < model->cells ? model->base + cell : FR_LAST_MAX;
}

unsigned int model_cell(const struct model *model, u64 pos)
{
	if (pos <= model->base)
		return 0;
	if (pos - model->base >= model->cells)
		return model->cells - 1;
	return pos - model->base;
}

bool model_is_bound(const struct model *model, unsigned int from, unsigned int to)
{
	for (; from <= to; from++) {
		if (model->cell[from].region)
			return true;
	}
	return false;
}

void model_unbind(struct model *model, unsigned int from, unsigned int to)
{
	memset(&model->cell[from], 0, (to - from + 1) * sizeof(model->cell[0]));
}

void model_bind(struct model *model, unsigned int from, unsigned int to, unsigned int backing,
		unsigned int flags, u64 backing_start)
{
	u64 start = model_first(model, from);
	unsigned int i;

	model->last_region++;
	for (i = from; i <= to; i++)
		model->cell[i] = (struct model_cell){
			.region = model->last_region,
			.backing = backing,
			.flags = flags,
			.backing_pos = backing_start + (model_first(model, i) - start),
		};
}

unsigned int model_run_first(const struct model *model, unsigned int cell)
{
	while (cell && model->cell[cell - 1].region == model->cell[cell].region)
		cell--;
	return cell;
}

unsigned int model_run_last(const struct model *model, unsigned int cell)
{
	while (cell + 1 < model->cells && model->cell[cell + 1].region == model->cell[cell].region)
		cell++;
	return cell;
}

u64 model_regions(const struct model *model)
{
	unsigned int i;
	u64 nr = 0;

	for (i = 0; i < model->cells; i = model_run_last(model, i) + 1)
		nr += !!model->cell[i].region;
	return nr;
}

/* Is @r, where it is at all, the region that @cell is of? */
static void check_region(const struct model *model, unsigned int cell, u64 pos,
			 const struct fr_region *r)
{
	const struct model_cell *want = &model->cell[cell];
	u64 first = model_first(model, model_run_first(model, cell));

	must(!r == !want->region, "%s at %" PRIu64, r ? "a region" : "a gap", pos);
	if (!r)
		return;
	must(r->start == first, "region at %" PRIu64 " starts at %" PRIu64 ", not %" PRIu64, pos,
	     r->start, first);
	must(fr_region_backing(r) == &fake_backing[want->backing], "wrong backing at %" PRIu64,
	     pos);
	must(fr_region_flags(r) == want->flags, "wrong flags at %" PRIu64, pos);
	must(fr_region_backing_pos(r, pos) == want->backing_pos + (pos - model_first(model, cell)),
	     "wrong byte of the backing at %" PRIu64, pos);
}

void model_check_piece(const struct model *model, u64 pos, const struct fr_piece *piece)
{
	unsigned int cell = model_cell(model, pos);
	u64 last = model_last(model, model_run_last(model, cell));

	must(piece->pos == pos, "looked for %" PRIu64 ", found %" PRIu64, pos, piece->pos);
	must(piece->last == last, "piece at %" PRIu64 " ends at %" PRIu64 ", not %" PRIu64, pos,
	     piece->last, last);
	check_region(model, cell, pos, piece->region);
	must(!piece->region || piece->region->last == last, "region ends elsewhere than its piece");
}

static void check_tail(const struct model *model, const struct fr_node *root)
{
	const struct model_cell *cell = &model->cell[model->cells - 1];
	const struct fr_region *tail = fr_map_whole_tail(root);

	must(!tail == !(cell->region && (cell->flags & FR_WHOLE)), "wrong about the whole tail");
	if (tail)
		check_region(model, model->cells - 1, FR_LAST_MAX, tail);
}

void model_check(const struct model *model, const struct fr_node *root)
{
	struct fr_piece piece;
	u64 pos = 0;

	for (;;) {
		fr_map_find(root, pos, &piece);
		model_check_piece(model, pos, &piece);
		if (piece.last == FR_LAST_MAX)
			break;
		/* Its last byte belongs to it as much as its first one does. */
		fr_map_find(root, piece.last, &piece);
		model_check_piece(model, piece.pos, &piece);
		pos = piece.last + 1;
	}
	check_tail(model, root);
}

/* The last cell of the piece that begins at @cell, where only @access counts. */
static unsigned int cut_last(const struct model *model, unsigned int cell, unsigned int access)
{
	if (model->cell[cell].flags & access)
		return model_run_last(model, cell);
	while (cell + 1 < model->cells && !(model->cell[cell + 1].flags & access))
		cell++;
	return cell;
}

void model_check_cut(const struct model *model, const struct fr_node *root, u64 pos, u64 len,
		     unsigned int access)
{
	const u64 io_last = pos + len - 1;
	struct fr_piece piece;
	struct fr_cut cut;
	u64 last;

	fr_cut_begin(&cut, root, pos, len, access);
	for (; pos <= io_last; pos = last + 1) {
		unsigned int cell = model_cell(model, pos);

		must(fr_cut_next(&cut, &piece), "no piece at %" PRIu64, pos);
		must(piece.pos == pos, "piece at %" PRIu64 ", not %" PRIu64, piece.pos, pos);
		last = model_last(model, cut_last(model, cell, access));
		if (last > io_last)
			last = io_last;
		must(piece.last == last, "piece at %" PRIu64 " ends at %" PRIu64 ", not %" PRIu64,
		     pos, piece.last, last);
		must(!piece.region == !(model->cell[cell].flags & access),
		     "wrong party at %" PRIu64, pos);
		if (piece.region)
			check_region(model, cell, pos, piece.region);
	}
	must(!fr_cut_next(&cut, &piece), "a piece behind the last one");
}
