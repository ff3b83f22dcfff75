// SPDX-License-Identifier: GPL-2.0
/*
 * Read /sys/kernel/btf/vmlinux, and /sys/kernel/btf/fuse where FUSE is a
 * module: split BTF, whose type ids and string offsets go on where those of
 * vmlinux end. Used once, while the module loads.
 */

#include <linux/btf.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#include "btf.h"

#define FR_BTF_MAX_SIZE	(256U << 20)
#define FR_BTF_DEPTH	8	/* of typedefs, and of anonymous members */

/* One BTF file; @index[i] is the byte offset of type first_id + i. */
struct fr_btf_blob {
	char *data;
	const char *types;
	const char *strings;
	u32 strings_len;
	u32 strings_start;
	u32 first_id;
	u32 nr;
	u32 *index;
};

struct fr_btf {
	struct fr_btf_blob blob[2];	/* vmlinux, fuse */
	int nr;
};

static char *fr_btf_read_file(const char *path, size_t *size)
{
	struct file *file = filp_open(path, O_RDONLY, 0);
	char *data;
	loff_t pos = 0;
	ssize_t n;

	if (IS_ERR(file))
		return ERR_CAST(file);
	*size = i_size_read(file_inode(file));
	data = ERR_PTR(-EINVAL);
	if (*size < sizeof(struct btf_header) || *size > FR_BTF_MAX_SIZE)
		goto out;
	data = vmalloc(*size);
	if (!data) {
		data = ERR_PTR(-ENOMEM);
		goto out;
	}
	while (pos < *size) {
		n = kernel_read(file, data + pos, *size - pos, &pos);
		if (n <= 0) {
			vfree(data);
			data = ERR_PTR(n ?: -EIO);
			break;
		}
	}
out:
	filp_close(file, NULL);
	return data;
}

/* Bytes that follow the struct btf_type itself, or -1 for an unknown kind. */
static int fr_btf_tail(const struct btf_type *t)
{
	u32 vlen = BTF_INFO_VLEN(t->info);

	switch (BTF_INFO_KIND(t->info)) {
	case BTF_KIND_INT:
	case BTF_KIND_VAR:
	case BTF_KIND_DECL_TAG:
		return 4;
	case BTF_KIND_ARRAY:
		return sizeof(struct btf_array);
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		return vlen * sizeof(struct btf_member);
	case BTF_KIND_ENUM:
		return vlen * sizeof(struct btf_enum);
	case BTF_KIND_ENUM64:
		return vlen * sizeof(struct btf_enum64);
	case BTF_KIND_FUNC_PROTO:
		return vlen * sizeof(struct btf_param);
	case BTF_KIND_DATASEC:
		return vlen * sizeof(struct btf_var_secinfo);
	case BTF_KIND_PTR:
	case BTF_KIND_FWD:
	case BTF_KIND_TYPEDEF:
	case BTF_KIND_VOLATILE:
	case BTF_KIND_CONST:
	case BTF_KIND_RESTRICT:
	case BTF_KIND_FUNC:
	case BTF_KIND_FLOAT:
	case BTF_KIND_TYPE_TAG:
		return 0;
	default:
		return -1;
	}
}

/* Walk the types once; store their offsets when @index is given. */
static int fr_btf_walk(const struct fr_btf_blob *blob, u32 len, u32 *index)
{
	u32 off = 0, nr = 0;

	while (off < len) {
		const struct btf_type *t = (void *)(blob->types + off);
		int tail;

		if (len - off < sizeof(*t))
			return -EINVAL;
		tail = fr_btf_tail(t);
		if (tail < 0 || tail > len - off - sizeof(*t))
			return -EINVAL;
		if (index)
			index[nr] = off;
		nr++;
		off += sizeof(*t) + tail;
	}
	return nr;
}

static int fr_btf_load(struct fr_btf *btf, const char *path)
{
	struct fr_btf_blob *blob = &btf->blob[btf->nr];
	const struct fr_btf_blob *base = btf->nr ? &btf->blob[0] : NULL;
	const struct btf_header *h;
	size_t size;
	int nr;

	blob->data = fr_btf_read_file(path, &size);
	if (IS_ERR(blob->data)) {
		nr = PTR_ERR(blob->data);
		blob->data = NULL;
		return nr;
	}
	btf->nr++;	/* fr_btf_close() frees it from here on */

	h = (void *)blob->data;
	if (h->magic != BTF_MAGIC || h->hdr_len > size ||
	    (u64)h->hdr_len + h->type_off + h->type_len > size ||
	    (u64)h->hdr_len + h->str_off + h->str_len > size || !h->str_len)
		return -EINVAL;
	blob->types = blob->data + h->hdr_len + h->type_off;
	blob->strings = blob->data + h->hdr_len + h->str_off;
	blob->strings_len = h->str_len;
	if (blob->strings[h->str_len - 1])
		return -EINVAL;
	blob->first_id = base ? base->first_id + base->nr : 1;
	blob->strings_start = base ? base->strings_len : 0;

	nr = fr_btf_walk(blob, h->type_len, NULL);
	if (nr < 0)
		return nr;
	blob->index = vmalloc_array(nr, sizeof(u32));
	if (!blob->index)
		return -ENOMEM;
	blob->nr = nr;
	fr_btf_walk(blob, h->type_len, blob->index);
	return 0;
}

static const struct btf_type *fr_btf_type(const struct fr_btf *btf, u32 id)
{
	int i;

	for (i = 0; i < btf->nr; i++) {
		const struct fr_btf_blob *b = &btf->blob[i];

		if (id >= b->first_id && id - b->first_id < b->nr)
			return (void *)(b->types + b->index[id - b->first_id]);
	}
	return NULL;	/* 0 is void */
}

static const char *fr_btf_name(const struct fr_btf *btf, u32 off)
{
	int i;

	for (i = 0; i < btf->nr; i++) {
		const struct fr_btf_blob *b = &btf->blob[i];

		if (off >= b->strings_start &&
		    off - b->strings_start < b->strings_len)
			return b->strings + (off - b->strings_start);
	}
	return "";
}

static const struct btf_type *fr_btf_find(const struct fr_btf *btf, u32 kind,
					  const char *name)
{
	int i;
	u32 n;

	/* FUSE's own BTF first: vmlinux may know only forward declarations */
	for (i = btf->nr - 1; i >= 0; i--) {
		const struct fr_btf_blob *b = &btf->blob[i];

		for (n = 0; n < b->nr; n++) {
			const struct btf_type *t = (void *)(b->types +
							    b->index[n]);

			if (BTF_INFO_KIND(t->info) == kind &&
			    !strcmp(fr_btf_name(btf, t->name_off), name))
				return t;
		}
	}
	return NULL;
}

/* Follow typedefs and qualifiers. */
static const struct btf_type *fr_btf_strip(const struct fr_btf *btf, u32 id)
{
	int depth;

	for (depth = 0; depth < FR_BTF_DEPTH; depth++) {
		const struct btf_type *t = fr_btf_type(btf, id);

		if (!t)
			return NULL;
		switch (BTF_INFO_KIND(t->info)) {
		case BTF_KIND_TYPEDEF:
		case BTF_KIND_VOLATILE:
		case BTF_KIND_CONST:
		case BTF_KIND_RESTRICT:
		case BTF_KIND_TYPE_TAG:
			id = t->type;
			break;
		default:
			return t;
		}
	}
	return NULL;
}

static u32 fr_btf_size(const struct fr_btf *btf, u32 id)
{
	const struct btf_type *t = fr_btf_strip(btf, id);

	if (!t)
		return 0;
	switch (BTF_INFO_KIND(t->info)) {
	case BTF_KIND_PTR:
		return sizeof(void *);
	case BTF_KIND_INT:
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
	case BTF_KIND_ENUM:
	case BTF_KIND_ENUM64:
		return t->size;
	default:
		return 0;
	}
}

/* Bit offset of @name in @t, also inside anonymous structs; *@id its type. */
static int fr_btf_bit(const struct fr_btf *btf, const struct btf_type *t,
		      const char *name, u32 *id, int depth)
{
	const struct btf_member *m = (void *)(t + 1);
	u32 i;

	for (i = 0; i < BTF_INFO_VLEN(t->info); i++, m++) {
		const char *found = fr_btf_name(btf, m->name_off);
		const struct btf_type *inner;
		int bit = m->offset, sub;

		if (BTF_INFO_KFLAG(t->info)) {
			if (BTF_MEMBER_BITFIELD_SIZE(m->offset))
				continue;
			bit = BTF_MEMBER_BIT_OFFSET(m->offset);
		}
		if (!strcmp(found, name)) {
			*id = m->type;
			return bit;
		}
		if (*found || depth == FR_BTF_DEPTH)
			continue;
		inner = fr_btf_strip(btf, m->type);
		if (!inner || (BTF_INFO_KIND(inner->info) != BTF_KIND_STRUCT &&
			       BTF_INFO_KIND(inner->info) != BTF_KIND_UNION))
			continue;
		sub = fr_btf_bit(btf, inner, name, id, depth + 1);
		if (sub >= 0)
			return bit + sub;
	}
	return -ENOENT;
}

int fr_btf_member(struct fr_btf *btf, const char *type, const char *member,
		  u32 size)
{
	const struct btf_type *t = fr_btf_find(btf, BTF_KIND_STRUCT, type);
	int bit;
	u32 id;

	if (!t)
		return -ENOENT;
	bit = fr_btf_bit(btf, t, member, &id, 0);
	if (bit < 0)
		return bit;
	if (bit % 8 || fr_btf_size(btf, id) != size)
		return -EINVAL;
	return bit / 8;
}

int fr_btf_func(struct fr_btf *btf, const char *name, const char *const *args)
{
	const struct btf_type *t = fr_btf_find(btf, BTF_KIND_FUNC, name);
	const struct btf_param *p;
	u32 i;

	if (!t)
		return -ENOENT;
	t = fr_btf_type(btf, t->type);
	if (!t || BTF_INFO_KIND(t->info) != BTF_KIND_FUNC_PROTO)
		return -EINVAL;
	p = (void *)(t + 1);
	for (i = 0; args[i]; i++) {
		const struct btf_type *type;
		bool value = args[i][0] == '=';

		if (i >= BTF_INFO_VLEN(t->info))
			return -EINVAL;
		type = fr_btf_strip(btf, p[i].type);
		if (type && !value && BTF_INFO_KIND(type->info) == BTF_KIND_PTR)
			type = fr_btf_strip(btf, type->type);
		else if (!value)
			return -EINVAL;
		if (!type || strcmp(fr_btf_name(btf, type->name_off),
				    args[i] + value))
			return -EINVAL;
	}
	return 0;
}

struct fr_btf *fr_btf_open(void)
{
	struct fr_btf *btf = kzalloc(sizeof(*btf), GFP_KERNEL);
	int err;

	if (!btf)
		return ERR_PTR(-ENOMEM);
	err = fr_btf_load(btf, "/sys/kernel/btf/vmlinux");
	if (!err && IS_MODULE(CONFIG_FUSE_FS))
		err = fr_btf_load(btf, "/sys/kernel/btf/fuse");
	if (err) {
		fr_btf_close(btf);
		return ERR_PTR(err);
	}
	return btf;
}

void fr_btf_close(struct fr_btf *btf)
{
	int i;

	for (i = 0; i < btf->nr; i++) {
		vfree(btf->blob[i].index);
		vfree(btf->blob[i].data);
	}
	kfree(btf);
}
