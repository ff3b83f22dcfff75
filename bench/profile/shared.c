// SPDX-License-Identifier: GPL-2.0
/*
 * A QEMU plugin that finds out where processors wait for each other's cache
 * lines, while two threads of bench-loop run.
 *
 * An emulator has no caches, and a machine that is busy has no timing; but
 * who uses which line depends on neither. A line of kernel memory has to
 * travel when a processor stores to it that others have used since its last
 * store, and when one loads from it that has not since another's store.
 * Between the markers of bench-loop (marker.h) these are counted, and then go
 * to the file out=FILE as "address-of-the-instruction count", after a line
 * "@ NUMBER".
 */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "qemu-plugin.h"

#define KERNEL		0xffff800000000000ull
#define LINE_SHIFT	6
#define PLACES		12	/* instructions told apart for a line */

/**
 * struct line - a cache line of kernel memory
 * @number:	address / 64
 * @holders:	a bit for each processor that has it as it is now
 * @stored:	somebody stored to it
 * @pc:		instructions that made it travel
 * @count:	how often each did
 */
struct line {
	uint64_t number;
	uint32_t holders;
	bool stored;
	uint64_t pc[PLACES];
	uint64_t count[PLACES];
	struct line *next;
};

#define BUCKETS (1u << 16)
static struct line *buckets[BUCKETS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool recording;
static FILE *out;

int qemu_plugin_version = 1;

static struct line *line_of(uint64_t number)
{
	struct line **bucket = &buckets[number * 0x9e3779b97f4a7c15ull >> 48];
	struct line *l;

	for (l = *bucket; l; l = l->next)
		if (l->number == number)
			return l;
	l = calloc(1, sizeof(*l));
	if (!l)
		abort();
	l->number = number;
	l->next = *bucket;
	*bucket = l;
	return l;
}

static void travel(struct line *l, uint64_t pc)
{
	unsigned int i;

	for (i = 0; i + 1 < PLACES && l->count[i] && l->pc[i] != pc; i++)
		;
	l->pc[i] = pc;
	l->count[i]++;
}

static void access_memory(unsigned int vcpu, uint32_t info, uint64_t address, void *pc)
{
	uint32_t self = 1u << vcpu;
	struct line *l;

	if (!__atomic_load_n(&recording, __ATOMIC_RELAXED) || address < KERNEL)
		return;
	pthread_mutex_lock(&lock);
	l = line_of(address >> LINE_SHIFT);
	if (qemu_plugin_mem_is_store(info)) {
		if (l->holders & ~self)
			travel(l, (uintptr_t)pc);
		l->holders = self;
		l->stored = true;
	} else {
		/* A line that nobody stores to travels once, and never again. */
		if (l->stored && !(l->holders & self))
			travel(l, (uintptr_t)pc);
		l->holders |= self;
	}
	pthread_mutex_unlock(&lock);
}

static void write_line(const struct line *l)
{
	for (int i = 0; i < PLACES && l->count[i]; i++)
		fprintf(out, "%016llx %llu\n", (unsigned long long)l->pc[i],
			(unsigned long long)l->count[i]);
}

/* The second thread's begin forgets what the first did; its end is no end of anything. */
static void marker(unsigned int vcpu, void *data)
{
	uint32_t number = (uintptr_t)data;
	struct line *l;

	(void)vcpu;
	pthread_mutex_lock(&lock);
	if (number == MARKER_END && recording)
		fprintf(out, "@ %u\n", number);
	for (size_t i = 0; i < BUCKETS; i++) {
		while ((l = buckets[i])) {
			if (number == MARKER_END && recording)
				write_line(l);
			buckets[i] = l->next;
			free(l);
		}
	}
	fflush(out);
	__atomic_store_n(&recording, number == MARKER_BEGIN, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&lock);
}

static void translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t n = qemu_plugin_tb_n_insns(tb);
	uint32_t number;

	(void)id;
	for (size_t i = 0; i < n; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		uintptr_t pc = qemu_plugin_insn_vaddr(insn);

		qemu_plugin_register_vcpu_mem_cb(insn, access_memory, CB_NO_REGS, MEM_RW,
						 (void *)pc);
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
		fputs("shared: want out=FILE\n", stderr);
		return 1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
	return 0;
}
