/* SPDX-License-Identifier: GPL-2.0 */
/* Nops that a QEMU plugin recognizes, and a processor does not. */
#ifndef BENCH_MARKER_H
#define BENCH_MARKER_H

#define MARKER_MAGIC	0x46520000u
#define MARKER_MASK	0xffff0000u
#define MARKER_BEGIN	0
#define MARKER_END	1

#ifdef __x86_64__
#define MARKER(number)                                                              \
	__asm__ volatile(".byte 0x0f, 0x1f, 0x80; .long %c0" ::"i"(MARKER_MAGIC | (number)) \
			 : "memory")
#else
#define MARKER(number) do { } while (0)
#endif

#endif /* BENCH_MARKER_H */
