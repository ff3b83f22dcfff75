// SPDX-License-Identifier: GPL-2.0
/*
 * A QEMU plugin that counts how often each of the guest's instructions ran.
 *
 * bench-loop executes a marker before and after its loop, a nop that has a
 * number in it (see marker.h). The first marker sets all counts to zero, the
 * second has them written to the file out=FILE, one "address count" a line,
 * after a line "@ NUMBER" with the marker's.
 */

#include <stdio.h>
#include <stdlib.h>

#include "qemu-plugin.h"

int qemu_plugin_version = 1;

struct counter {
	uint64_t address;
	uint64_t count;
	struct counter *next;
};

#define BUCKETS (1u << 20)
static struct counter *buckets[BUCKETS];
static FILE *out;

/* Translated code keeps pointers to these for ever, so none is ever freed. */
static struct counter *counter_of(uint64_t address)
{
	struct counter **bucket = &buckets[address * 0x9e3779b97f4a7c15ull >> 44];
	struct counter *c;

	for (c = *bucket; c; c = c->next)
		if (c->address == address)
			return c;
	c = calloc(1, sizeof(*c));
	if (!c)
		abort();
	c->address = address;
	c->next = *bucket;
	*bucket = c;
	return c;
}

static void marker(unsigned int vcpu, void *data)
{
	uint32_t number = (uintptr_t)data;

	(void)vcpu;
	if (number != MARKER_BEGIN)
		fprintf(out, "@ %u\n", number);
	for (size_t i = 0; i < BUCKETS; i++) {
		for (struct counter *c = buckets[i]; c; c = c->next) {
			if (c->count && number != MARKER_BEGIN)
				fprintf(out, "%016llx %llu\n", (unsigned long long)c->address,
					(unsigned long long)c->count);
			c->count = 0;
		}
	}
	fflush(out);
}

static void translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t n = qemu_plugin_tb_n_insns(tb);
	uint32_t number;

	(void)id;
	for (size_t i = 0; i < n; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		struct counter *c = counter_of(qemu_plugin_insn_vaddr(insn));

		qemu_plugin_register_vcpu_insn_exec_inline(insn, INLINE_ADD_U64, &c->count, 1);
		if (is_marker(insn, &number))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, marker, CB_NO_REGS,
							       (void *)(uintptr_t)number);
	}
}

int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info, int argc, char **argv)
{
	const char *path = plugin_argument(argc, argv, "out=");

	(void)info;
	out = path ? fopen(path, "we") : NULL;
	if (!out) {
		fputs("count: want out=FILE\n", stderr);
		return 1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
	return 0;
}
