// SPDX-License-Identifier: GPL-2.0
/*
 * bench-loop: one pread(2) or pwrite(2) after another, and next to nothing in
 * between. fio brings some thousands of instructions of its own to each I/O;
 * this brings some ten, and so shows what the kernel does.
 *
 * Under icount a nanosecond is an instruction.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
	"usage: bench-loop [OPTION…] FILE\n"
	"\n"
	"Prints nanoseconds an operation, which are instructions in a guest with --icount.\n"
	"\n"
	"  -w        write instead of read\n"
	"  -s        sequentially instead of at random\n"
	"  -o        open and close instead, without I/O\n"
	"  -b BYTES  size of an operation (4096)\n"
	"  -n COUNT  operations a thread (20000)\n"
	"  -j COUNT  threads (1); with more, it prints operations a second of them all\n";

struct job {
	const char *path;
	bool write, sequential, open;
	size_t size;
	uint64_t count;
	unsigned int threads;
	uint64_t blocks;
	pthread_barrier_t *start;
};

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "bench-loop: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int open_file(const struct job *job)
{
	int fd = open(job->path, (job->write ? O_RDWR : O_RDONLY) | O_CLOEXEC);

	if (fd < 0)
		die(job->path);
	return fd;
}

static void do_io(const struct job *job, int fd, char *buf, uint64_t count, uint64_t seed)
{
	uint64_t block = 0;
	ssize_t ret;
	off_t pos;

	for (uint64_t i = 0; i < count; i++) {
		if (job->sequential) {
			block = block + 1 == job->blocks ? 0 : block + 1;
		} else {
			seed = seed * 6364136223846793005ull + 1442695040888963407ull;
			block = (seed >> 32) * job->blocks >> 32;
		}
		pos = block * job->size;
		ret = job->write ? pwrite(fd, buf, job->size, pos) :
				   pread(fd, buf, job->size, pos);
		if (ret != (ssize_t)job->size)
			die(ret < 0 ? "I/O" : "short I/O");
	}
}

static void do_opens(const struct job *job, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		close(open_file(job));
}

static void *thread(void *arg)
{
	const struct job *job = arg;
	char *buf = aligned_alloc(4096, job->size);
	int fd = open_file(job);

	if (!buf)
		die("memory");
	memset(buf, 0x5a, job->size);
	/* The first ones meet cold caches: of inodes, page tables, slabs. */
	do_io(job, fd, buf, job->count < 64 ? job->count : 64, 1);
	if (job->start)
		pthread_barrier_wait(job->start);
	if (job->open)
		do_opens(job, job->count);
	else
		do_io(job, fd, buf, job->count, (uintptr_t)&fd);
	if (job->start)
		pthread_barrier_wait(job->start);
	close(fd);
	free(buf);
	return NULL;
}

/* The time of one thread's operations alone, without the making of it. */
static void run_one(const struct job *job)
{
	char *buf = aligned_alloc(4096, job->size);
	int fd = open_file(job);
	uint64_t start;

	if (!buf)
		die("memory");
	memset(buf, 0x5a, job->size);
	do_io(job, fd, buf, job->count < 64 ? job->count : 64, 1);
	start = now();
	if (job->open)
		do_opens(job, job->count);
	else
		do_io(job, fd, buf, job->count, 2);
	printf("%.2f\n", (double)(now() - start) / job->count);
	close(fd);
	free(buf);
}

static void run_threads(struct job *job)
{
	pthread_t *threads = calloc(job->threads, sizeof(*threads));
	pthread_barrier_t barrier;
	uint64_t start;

	if (!threads || pthread_barrier_init(&barrier, NULL, job->threads + 1))
		die("threads");
	job->start = &barrier;
	for (unsigned int i = 0; i < job->threads; i++) {
		errno = pthread_create(&threads[i], NULL, thread, job);
		if (errno)
			die("threads");
	}
	pthread_barrier_wait(&barrier);
	start = now();
	pthread_barrier_wait(&barrier);
	printf("%.0f\n", 1e9 * job->threads * job->count / (now() - start));
	for (unsigned int i = 0; i < job->threads; i++)
		pthread_join(threads[i], NULL);
	free(threads);
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t value = strtoull(text, &end, 10);

	if (*end || !value) {
		fprintf(stderr, "bench-loop: not a number: %s\n", text);
		exit(2);
	}
	return value;
}

int main(int argc, char **argv)
{
	struct job job = { .size = 4096, .count = 20000, .threads = 1 };
	struct stat st;
	int c;

	while ((c = getopt(argc, argv, "wsob:n:j:h")) != -1) {
		switch (c) {
		case 'w':
			job.write = true;
			break;
		case 's':
			job.sequential = true;
			break;
		case 'o':
			job.open = true;
			break;
		case 'b':
			job.size = number(optarg);
			break;
		case 'n':
			job.count = number(optarg);
			break;
		case 'j':
			job.threads = number(optarg);
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (argc - optind != 1) {
		fputs(usage, stderr);
		return 2;
	}
	job.path = argv[optind];
	if (stat(job.path, &st) < 0)
		die(job.path);
	job.blocks = st.st_size / job.size;
	if (!job.blocks) {
		fprintf(stderr, "bench-loop: %s is too small\n", job.path);
		return 2;
	}
	if (job.threads > 1)
		run_threads(&job);
	else
		run_one(&job);
	return 0;
}
