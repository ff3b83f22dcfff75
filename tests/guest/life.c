// SPDX-License-Identifier: GPL-2.0
#include "life.h"

void life_begin(struct life *l, int nr)
{
	char name[16], path[128];
	struct stat st;

	*l = (struct life){ .s = srv_new(&(struct srv_opts){ .model_max = 64 }), .nr_files = nr };
	for (int i = 0; i < nr; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		srv_file(l->s, name, LIFE_SIZE);
	}
	srv_start(l->s);
	l->dir = mount_tmpfs();
	for (int i = 0; i < 4; i++) {
		l->b[i] = backing_new_in(l->dir, LIFE_SIZE);
		srv_register(l->s, l->b[i]);
	}
	for (int i = 0; i < nr; i++) {
		struct tfile *f = &l->s->files[i];

		srv_path(path, sizeof(path), f);
		CHECK_OK(stat(path, &st));
		CHECK_ZERO(region_bind(f, PAGE + (uint64_t)i % 100, 5000, l->b[i % 4], 7, 0));
		CHECK_ZERO(region_bind(f, 5 * PAGE, 5000, l->b[(i + 1) % 4], 9, 0));
	}
	CHECK_EQ(module_param("live_inodes"), nr);
}

void life_all_released(struct life *l)
{
	for (int i = 0; i < 4; i++)
		close(l->b[i]->fd);
	CHECK_SOON(module_param("live_conns") == 0);
	CHECK_SOON(module_param("live_inodes") == 0);
	CHECK_SOON(module_param("live_backings") == 0);
	CHECK_SOON(module_param("live_nodes") == 0);
	unmount_soon(l->dir);
}
