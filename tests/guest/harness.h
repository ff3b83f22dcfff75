/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Everything a guest test includes:
 *
 *	check.h		names of tests, checks, cleanups
 *	raw.h		the module's interface, bytes as they are
 *	backing.h	files whose every byte is known
 *	model.h		regions, as a list of what was done
 *	server.h	a FUSE server to steer and to look into
 *	expect.h	reads checked against the model
 *	oracle.h	the same for files that are written to
 *	world.h		mounts, commands, threads around it
 */
#ifndef FR_TEST_HARNESS_H
#define FR_TEST_HARNESS_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "raw.h"
#include "backing.h"
#include "model.h"
#include "server.h"
#include "expect.h"
#include "oracle.h"
#include "world.h"

#define KIB 1024ull
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define TIB (1024 * GIB)
#define PAGE 4096ull

#define RW (FUSE_REGION_READ | FUSE_REGION_WRITE)

#endif
