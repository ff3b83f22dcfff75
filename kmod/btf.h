/* SPDX-License-Identifier: GPL-2.0 */
/* A reader of the kernel's BTF, for looking up members and functions. */
#ifndef FR_BTF_H
#define FR_BTF_H

#include <linux/types.h>

struct fr_btf;

/* Read the vmlinux BTF, and FUSE's where FUSE is a module. ERR_PTR on failure. */
struct fr_btf *fr_btf_open(void);
void fr_btf_close(struct fr_btf *btf);

/*
 * Byte offset of @member in struct @type, which must take @size bytes there.
 * -ENOENT: no such struct or member. -EINVAL: it is something else.
 */
int fr_btf_member(struct fr_btf *btf, const char *type, const char *member,
		  u32 size);

/*
 * Does function @name exist and start with parameters that are pointers to
 * struct @args[0], @args[1], ... (NULL ends the list)? 0, -ENOENT, -EINVAL.
 */
int fr_btf_func(struct fr_btf *btf, const char *name, const char *const *args);

#endif /* FR_BTF_H */
