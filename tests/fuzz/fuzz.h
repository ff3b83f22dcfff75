/* SPDX-License-Identifier: GPL-2.0 */
/* What libFuzzer, or replay.c, calls with each input. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif /* FUZZ_H */
