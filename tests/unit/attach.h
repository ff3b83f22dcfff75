/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a test has the kernel say when the library looks for the module. The compiler
 * reads this before the library's kernel.c (-include).
 */
#ifndef ATTACH_H
#define ATTACH_H

#include <fcntl.h>
#include <sys/ioctl.h>

int attach_open(const char *path, int flags, ...);
int attach_ioctl(int fd, unsigned long request, ...);

#ifdef ATTACH_LIBRARY
#define open attach_open
#define ioctl attach_ioctl
#endif

#endif /* ATTACH_H */
