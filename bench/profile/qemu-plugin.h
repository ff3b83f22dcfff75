/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Version 1 of QEMU's plugin interface, as far as it is used here: Debian
 * ships no header for it.
 */
#ifndef BENCH_QEMU_PLUGIN_H
#define BENCH_QEMU_PLUGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "marker.h"

#define EXPORT __attribute__((visibility("default")))

struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_info;
typedef uint64_t qemu_plugin_id_t;

enum { CB_NO_REGS = 0, INLINE_ADD_U64 = 0, MEM_RW = 3 };

extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
						  void (*cb)(qemu_plugin_id_t,
							     struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
						   void (*cb)(unsigned int, void *), int flags,
						   void *data);
extern void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *insn, int op,
						       void *ptr, uint64_t imm);
extern void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn,
					     void (*cb)(unsigned int, uint32_t, uint64_t, void *),
					     int flags, int rw, void *data);
extern bool qemu_plugin_mem_is_store(uint32_t info);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb,
							size_t idx);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
extern size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
extern uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);

EXPORT extern int qemu_plugin_version;
EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info, int argc,
			       char **argv);

/* Is it one of marker.h's? */
static inline bool is_marker(const struct qemu_plugin_insn *insn, uint32_t *number)
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

/* The value of NAME=VALUE among a plugin's arguments, @name ending in '='. */
static inline const char *plugin_argument(int argc, char **argv, const char *name)
{
	for (int i = 0; i < argc; i++)
		if (strncmp(argv[i], name, strlen(name)) == 0)
			return argv[i] + strlen(name);
	return NULL;
}

#endif /* BENCH_QEMU_PLUGIN_H */
