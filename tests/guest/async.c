// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <libaio.h>
#include <liburing.h>
#include <unistd.h>

#include "async.h"
#include "check.h"

long plain_write(int fd, const void *buf, size_t len, uint64_t off)
{
	ssize_t res = pwrite(fd, buf, len, (off_t)off);

	return res < 0 ? -errno : res;
}

long libaio_write(int fd, const void *buf, size_t len, uint64_t off)
{
	struct iocb iocb, *iocbs[] = { &iocb };
	struct io_event event;
	io_context_t ctx = 0;

	CHECK_ZERO(io_setup(1, &ctx));
	io_prep_pwrite(&iocb, fd, (void *)buf, len, (long long)off);
	CHECK_EQ(io_submit(ctx, 1, iocbs), 1);
	CHECK_EQ(io_getevents(ctx, 1, 1, &event, NULL), 1);
	CHECK_ZERO(io_destroy(ctx));
	return (long)event.res;
}

long uring_write(int fd, const void *buf, size_t len, uint64_t off)
{
	struct io_uring_cqe *cqe;
	struct io_uring ring;
	long res;

	if (io_uring_queue_init(1, &ring, 0))
		SKIP("no io_uring here");
	io_uring_prep_write(io_uring_get_sqe(&ring), fd, buf, (unsigned int)len, off);
	CHECK_EQ(io_uring_submit(&ring), 1);
	CHECK_ZERO(io_uring_wait_cqe(&ring, &cqe));
	res = cqe->res;
	io_uring_queue_exit(&ring);
	return res;
}
