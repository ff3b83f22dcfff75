// SPDX-License-Identifier: GPL-2.0
/*
 * A QEMU plugin that counts how often each of the guest's instructions ran.
 *
 * bench-loop executes a marker before and after its loop, a nop that has a
 * number in it (see marker.h). The first marker sets all counts to zero, the
 * second has them written to the file out=FILE, one "address count" a line,
 * after a line "@ NUMBER" with the marker's.
 *
 * The declarations are those of version 1 of QEMU's plugin interface, which
 * Debian ships no header for.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "marker.h"

#define EXPORT __attribute__((visibility("default")))

struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_info;
typedef uint64_t qemu_plugin_id_t;

enum { CB_NO_REGS = 0, INLINE_ADD_U64 = 0 };

extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
						  void (*cb)(qemu_plugin_id_t,
							     struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
						   void (*cb)(unsigned int, void *), int flags,
						   void *data);
extern void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *insn, int op,
						       void *ptr, uint64_t imm);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb,
							size_t idx);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
extern size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
extern uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);

EXPORT int qemu_plugin_version = 1;
EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info, int argc,
			       char **argv);

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

static bool is_marker(const struct qemu_plugin_insn *insn, uint32_t *number)
{
	static const unsigned char opcode[] = { 0x0f, 0x1f, 0x80 };
	const unsigned char *data = qemu_plugin_insn_data(insn);
	uint32_t word;

	if (qemu_plugin_insn_size(insn) != sizeof(opcode) + sizeof(word) ||
	    memcmp(data, opcode, sizeof(opcode)) != 0)
		return false;
	memcpy(&word, data + sizeof(opcode), sizeof(word));
	*number = word & ~MARKER_MASK;
	return (word & MARKER_MASK) == MARKER_MAGIC;
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
	(void)info;
	for (int i = 0; i < argc; i++)
		if (strncmp(argv[i], "out=", 4) == 0)
			out = fopen(argv[i] + 4, "we");
	if (!out) {
		fputs("plugin: want out=FILE\n", stderr);
		return 1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
	return 0;
}
