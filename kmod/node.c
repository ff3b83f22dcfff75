// SPDX-License-Identifier: GPL-2.0
/* Memory and reference counts for the map: its host in the kernel. */

#include <linux/slab.h>

#include "regions.h"

static struct kmem_cache *fr_node_cache;

static void *fr_node_alloc(void)
{
	void *node = kmem_cache_alloc(fr_node_cache, GFP_KERNEL_ACCOUNT);

	if (node)
		atomic_long_inc(&fr_live_nodes);
	return node;
}

static void *fr_node_alloc_nofail(void)
{
	void *node = kmem_cache_alloc(fr_node_cache,
				      GFP_KERNEL_ACCOUNT | __GFP_NOFAIL);

	atomic_long_inc(&fr_live_nodes);
	return node;
}

static void fr_node_free(void *node)
{
	kmem_cache_free(fr_node_cache, node);
	atomic_long_dec(&fr_live_nodes);
}

static void fr_node_get_backing(void *backing)
{
	fr_backing_get(backing);
}

static void fr_node_put_backing(void *backing)
{
	fr_backing_put(backing);
}

const struct fr_map_ops fr_node_ops = {
	.alloc	= fr_node_alloc,
	.free	= fr_node_free,
	.get	= fr_node_get_backing,
	.put	= fr_node_put_backing,
};

/* For a truncate, which the server has done by then: there is no way back. */
const struct fr_map_ops fr_node_nofail_ops = {
	.alloc	= fr_node_alloc_nofail,
	.free	= fr_node_free,
	.get	= fr_node_get_backing,
	.put	= fr_node_put_backing,
};

int fr_node_init(void)
{
	fr_node_cache = kmem_cache_create("fuse_regions_node", FR_NODE_SIZE,
					  64, SLAB_ACCOUNT, NULL);
	return fr_node_cache ? 0 : -ENOMEM;
}

void fr_node_exit(void)
{
	kmem_cache_destroy(fr_node_cache);
}
