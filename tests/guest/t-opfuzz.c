// SPDX-License-Identifier: GPL-2.0
/* The operations fuzzer (opfuzz.h) in several settings. FUSE_REGIONS_OPS makes each of them longer. */
#define _GNU_SOURCE
#include "opfuzz.h"

TEST(w1_opfuzz)
{
	opfuzz_run(&(struct opfuzz_opts){ 0 });
}

TEST(w1_opfuzz_aligned)
{
	opfuzz_run(&(struct opfuzz_opts){ .align = PAGE });
}

TEST(w1_opfuzz_writeback)
{
	opfuzz_run(&(struct opfuzz_opts){ .srv.writeback = true });
}

TEST(w1_opfuzz_writeback_aligned)
{
	opfuzz_run(&(struct opfuzz_opts){ .srv.writeback = true, .align = PAGE });
}

TEST(w1_opfuzz_whole_file)
{
	opfuzz_run(&(struct opfuzz_opts){ .whole = true });
}

TEST(w1_opfuzz_on_disk)
{
	opfuzz_run(&(struct opfuzz_opts){ .dir = shared_ext4() });
}

TEST(w1_opfuzz_rebind)
{
	opfuzz_run(&(struct opfuzz_opts){ .rebind = true });
}

TEST(w1_opfuzz_rebind_aligned_writeback)
{
	opfuzz_run(&(struct opfuzz_opts){ .rebind = true, .align = PAGE, .srv.writeback = true });
}

TEST(w1_opfuzz_no_attr_cache)
{
	opfuzz_run(&(struct opfuzz_opts){ .srv.no_attr_cache = true, .rebind = true });
}

TEST(w1_opfuzz_threads)
{
	opfuzz_run(&(struct opfuzz_opts){ .srv.threads = true, .rebind = true, .align = 512 });
}
