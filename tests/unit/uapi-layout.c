/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The interface's layout, for the compiler to check: C and C++, 64 and 32 bit.
 * uapi-compile.sh compiles this in all these ways; there is nothing to run.
 */
#include <linux/fuse_regions.h>

/* The compiler's own, so that no C library is needed. */
#define offset_of(type, field) __builtin_offsetof(type, field)
#ifdef __cplusplus
#define check(expression) static_assert(expression, #expression)
#else
#define check(expression) _Static_assert(expression, #expression)
#endif

#define is_at(type, field, offset, size)                  \
	check(offset_of(struct type, field) == (offset)); \
	check(sizeof(((struct type *)0)->field) == (size))

/* Each field begins where the last one ended, so there are no holes. */
is_at(fuse_regions_attach, fd, 0, 4);
is_at(fuse_regions_attach, abi_version, 4, 4);
is_at(fuse_regions_attach, flags, 8, 4);
is_at(fuse_regions_attach, max_stack_depth, 12, 4);
is_at(fuse_regions_attach, features, 16, 8);
is_at(fuse_regions_attach, max_backings, 24, 4);
is_at(fuse_regions_attach, max_regions, 28, 4);
is_at(fuse_regions_attach, max_records, 32, 4);
is_at(fuse_regions_attach, notify_code, 36, 4);
is_at(fuse_regions_attach, reserved, 40, 16);
check(sizeof(struct fuse_regions_attach) == 56);

is_at(fuse_regions_backing, fd, 0, 4);
is_at(fuse_regions_backing, flags, 4, 4);
is_at(fuse_regions_backing, reserved, 8, 8);
check(sizeof(struct fuse_regions_backing) == 16);

is_at(fuse_notify_passthrough_out, nodeid, 0, 8);
is_at(fuse_notify_passthrough_out, count, 8, 4);
is_at(fuse_notify_passthrough_out, flags, 12, 4);
is_at(fuse_notify_passthrough_out, reserved, 16, 8);
check(sizeof(struct fuse_notify_passthrough_out) == 24);

is_at(fuse_passthrough_region, offset, 0, 8);
is_at(fuse_passthrough_region, length, 8, 8);
is_at(fuse_passthrough_region, backing_id, 16, 4);
is_at(fuse_passthrough_region, flags, 20, 4);
is_at(fuse_passthrough_region, backing_offset, 24, 8);
is_at(fuse_passthrough_region, reserved, 32, 8);
check(sizeof(struct fuse_passthrough_region) == 40);

/* The same numbers for all callers: the size is part of an ioctl's number. */
check(FUSE_REGIONS_IOC_ATTACH == 0xc038e600U);
check(FUSE_REGIONS_IOC_BACKING_OPEN == 0x4010e601U);
check(FUSE_REGIONS_IOC_BACKING_CLOSE == 0x4004e602U);
