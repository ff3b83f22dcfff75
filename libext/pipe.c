// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0
/* See pipe.h. */

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "internal.h"
#include "pipe.h"

/* Enough for the largest request at any offset; and what everybody may have */
#define PIPE_SIZE (2 * ZEROES_SIZE)
#define PIPE_SIZE_UNPRIVILEGED ZEROES_SIZE

static void pipe_free(struct pipe *pipe)
{
	close(pipe->in);
	close(pipe->out);
	free(pipe);
}

static struct pipe *pipe_new(void)
{
	struct pipe *pipe = malloc(sizeof(*pipe));
	int ends[2], size;

	if (!pipe || pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) {
		free(pipe);
		return NULL;
	}
	*pipe = (struct pipe){ .out = ends[0], .in = ends[1] };
	if (fcntl(pipe->in, F_SETPIPE_SZ, PIPE_SIZE) < 0)
		fcntl(pipe->in, F_SETPIPE_SZ, PIPE_SIZE_UNPRIVILEGED);
	size = fcntl(pipe->in, F_GETPIPE_SZ);
	pipe->slots = size < 0 ? 0 : (size_t)size / (size_t)sysconf(_SC_PAGESIZE);
	return pipe;
}

struct pipe *pipe_get(struct fuse_regions_conn *conn, size_t slots)
{
	struct pipe *pipe;

	pthread_mutex_lock(&conn->lock);
	pipe = conn->pipes;
	if (pipe)
		conn->pipes = pipe->next;
	pthread_mutex_unlock(&conn->lock);
	if (!pipe)
		pipe = pipe_new();
	if (pipe && pipe->slots < slots) {
		pipe_put(conn, pipe);
		return NULL;
	}
	return pipe;
}

void pipe_put(struct fuse_regions_conn *conn, struct pipe *pipe)
{
	int left;

	if (ioctl(pipe->out, FIONREAD, &left) < 0 || left) {
		pipe_free(pipe);
		return;
	}
	pthread_mutex_lock(&conn->lock);
	pipe->next = conn->pipes;
	conn->pipes = pipe;
	pthread_mutex_unlock(&conn->lock);
}

void pipe_drain(struct fuse_regions_conn *conn)
{
	struct pipe *pipe;

	while ((pipe = conn->pipes)) {
		conn->pipes = pipe->next;
		pipe_free(pipe);
	}
}

bool pipe_add(struct pipe *pipe, const char *data, uint64_t len)
{
	while (len) {
		ssize_t n = write(pipe->in, data, len);

		if (n <= 0)
			return false;
		data += n;
		len -= n;
	}
	return true;
}

bool pipe_splice(struct pipe *pipe, int fd, uint64_t pos, uint64_t len, const char *zeroes)
{
	while (len) {
		off64_t from = (off64_t)pos;
		ssize_t n = pos > INT64_MAX
				    ? 0
				    : splice(fd, &from, pipe->in, NULL, len, SPLICE_F_NONBLOCK);

		if (n < 0)
			return false;
		if (n == 0)
			return pipe_add(pipe, zeroes, len);
		pos += n;
		len -= n;
	}
	return true;
}
