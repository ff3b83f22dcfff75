// SPDX-License-Identifier: GPL-2.0
/*
 * A mapping of a backing must stay one of its region's bytes: the others may be
 * anybody's. MM makes mappings longer (mremap(), merging), and it moves them:
 * remap_file_pages() maps the file of a shared mapping anew, anywhere in it.
 */

#include <linux/fs.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "regions.h"

/* A file system's operations, but for those that map */
struct fr_confined {
	struct list_head list;
	struct file_operations fops;
};

static LIST_HEAD(fr_confined);
static DEFINE_MUTEX(fr_confined_mutex);

/*
 * Looked for by what is in it: where a file system had its operations another
 * one may have its own, once the first is unloaded.
 */
static const struct file_operations *
fr_confined_fops(const struct file_operations *orig)
{
	struct fr_confined *new, *c;

	new = kmalloc(sizeof(*new), GFP_KERNEL | __GFP_NOFAIL);
	new->fops = *orig;
	new->fops.owner = THIS_MODULE;
	new->fops.mmap = NULL;
#ifdef FR_FOPS_MMAP_PREPARE
	new->fops.mmap_prepare = NULL;
#endif
	mutex_lock(&fr_confined_mutex);
	list_for_each_entry(c, &fr_confined, list)
		if (!memcmp(&c->fops, &new->fops, sizeof(c->fops)))
			goto out;
	c = new;
	new = NULL;
	list_add(&c->list, &fr_confined);
out:
	mutex_unlock(&fr_confined_mutex);
	kfree(new);
	return fops_get(&c->fops);
}

/*
 * @vma has just become a mapping of a file of its own. The file system cannot
 * go as long as it is mounted; this module can't, as long as that is mapped.
 */
void fr_confine(struct vm_area_struct *vma)
{
	vm_flags_set(vma, VM_DONTEXPAND);
	/* MM takes a mapping of what can't be written for a private one */
	if (vma->vm_flags & VM_SHARED)
		replace_fops(vma->vm_file,
			     fr_confined_fops(vma->vm_file->f_op));
}

void fr_confine_exit(void)
{
	struct fr_confined *c, *next;

	list_for_each_entry_safe(c, next, &fr_confined, list)
		kfree(c);
}
