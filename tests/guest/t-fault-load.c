// SPDX-License-Identifier: GPL-2.0
/* L3: whatever fails for want of memory in loading the module, it is then not there at all. */
#define _GNU_SOURCE
#include "fault.h"
#include "harness.h"

static long long load(void *arg)
{
	(void)arg;
	return module_load();
}

static void gone(void *arg, long long res)
{
	(void)arg;
	if (!res)
		CHECK_ZERO(module_unload());
	CHECK_ERR(open(FUSE_REGIONS_DEVICE, O_RDWR), ENOENT);
	CHECK_ERR(access("/sys/module/fuse_regions", F_OK), ENOENT);
}

/* The kernel's own loader is not what is tried: only what it calls of ours. */
TEST(l3_load_faults)
{
	test_watchdog(500);
	close(raw_device());
	CHECK_ZERO(module_unload());
	fault_begin_in("do_one_initcall");
	/* The name of a cache's kobject leaks (6.12) */
	fault_spare("sysfs_slab_add");
	/* Most are pages of what the kernel's type information is read into */
	fault_thin(load, gone, NULL);
	CHECK_ZERO(module_load());
	close(raw_device());
}
