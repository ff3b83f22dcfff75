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

#include "profile/marker.h"

static const char usage[] =
	"usage: bench-loop [OPTION…] FILE [OTHER]\n"
	"\n"
	"Prints nanoseconds an operation, which are instructions in a guest with --icount.\n"
	"With OTHER: does FILE and OTHER by turns, and prints how many times quicker FILE\n"
	"was, as the median of all turns, the lower and the upper quartile.\n"
	"\n"
	"  -w        write instead of read\n"
	"  -s        sequentially instead of at random\n"
	"  -o        open and close instead, without I/O\n"
	"  -b BYTES  size of an operation (4096)\n"
	"  -n COUNT  operations a thread (20000)\n"
	"  -j COUNT  threads (1)\n"
	"  -r COUNT  turns with OTHER (20)\n";

struct job {
	bool write, sequential, open;
	size_t size;
	uint64_t count;
	unsigned int threads;
	unsigned int turns;
};

/**
 * struct worker - a thread and its share
 * @meet:	all workers meet here before they begin
 * @start:	when it began
 * @end:	when it was done
 */
struct worker {
	const struct job *job;
	const char *path;
	int fd;
	char *buf;
	uint64_t blocks;
	uint64_t seed;
	pthread_t thread;
	pthread_barrier_t *meet;
	uint64_t start, end;
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

static int open_file(const struct worker *w)
{
	int fd = open(w->path, (w->job->write ? O_RDWR : O_RDONLY) | O_CLOEXEC);

	if (fd < 0)
		die(w->path);
	return fd;
}

static void do_io(const struct worker *w, uint64_t count)
{
	const struct job *job = w->job;
	uint64_t seed = w->seed, block = 0;
	ssize_t ret;
	off_t pos;

	for (uint64_t i = 0; i < count; i++) {
		if (job->sequential) {
			block = block + 1 == w->blocks ? 0 : block + 1;
		} else {
			seed = seed * 6364136223846793005ull + 1442695040888963407ull;
			block = (seed >> 32) * w->blocks >> 32;
		}
		pos = block * job->size;
		ret = job->write ? pwrite(w->fd, w->buf, job->size, pos) :
				   pread(w->fd, w->buf, job->size, pos);
		if (ret != (ssize_t)job->size)
			die(ret < 0 ? "I/O" : "short I/O");
	}
}

static void do_job(const struct worker *w)
{
	if (!w->job->open) {
		do_io(w, w->job->count);
		return;
	}
	for (uint64_t i = 0; i < w->job->count; i++)
		close(open_file(w));
}

static void prepare(struct worker *w, const struct job *job, const char *path, unsigned int index)
{
	struct stat st;

	*w = (struct worker){ .job = job, .path = path, .seed = index + 1 };
	w->fd = open_file(w);
	w->buf = aligned_alloc(4096, job->size);
	if (!w->buf || fstat(w->fd, &st) < 0)
		die(path);
	w->blocks = st.st_size / job->size;
	if (!w->blocks) {
		fprintf(stderr, "bench-loop: %s is too small\n", path);
		exit(2);
	}
	memset(w->buf, 0x5a, job->size);
	/* The first ones meet cold caches: of inodes, page tables, slabs. */
	do_io(w, job->count < 64 ? job->count : 64);
}

static void finish(struct worker *w)
{
	close(w->fd);
	free(w->buf);
}

/* Nanoseconds that one thread, this one, takes. */
static uint64_t run_one(const struct job *job, const char *path)
{
	struct worker w;
	uint64_t start, end;

	prepare(&w, job, path, 0);
	MARKER(MARKER_BEGIN);
	start = now();
	do_job(&w);
	end = now();
	MARKER(MARKER_END);
	finish(&w);
	return end - start;
}

static void *thread(void *arg)
{
	struct worker *w = arg;

	pthread_barrier_wait(w->meet);
	MARKER(MARKER_BEGIN);
	w->start = now();
	do_job(w);
	w->end = now();
	MARKER(MARKER_END);
	return NULL;
}

/* Nanoseconds from when the first of several threads begins until the last has done its part. */
static uint64_t run_threads(const struct job *job, const char *path)
{
	struct worker *workers = calloc(job->threads, sizeof(*workers));
	pthread_barrier_t barrier;
	uint64_t start = UINT64_MAX, end = 0;

	if (!workers || pthread_barrier_init(&barrier, NULL, job->threads))
		die("threads");
	for (unsigned int i = 0; i < job->threads; i++) {
		prepare(&workers[i], job, path, i);
		workers[i].meet = &barrier;
		errno = pthread_create(&workers[i].thread, NULL, thread, &workers[i]);
		if (errno)
			die("threads");
	}
	for (unsigned int i = 0; i < job->threads; i++) {
		pthread_join(workers[i].thread, NULL);
		start = workers[i].start < start ? workers[i].start : start;
		end = workers[i].end > end ? workers[i].end : end;
		finish(&workers[i]);
	}
	pthread_barrier_destroy(&barrier);
	free(workers);
	return end - start;
}

static double run(const struct job *job, const char *path)
{
	uint64_t ns = job->threads > 1 ? run_threads(job, path) : run_one(job, path);

	return (double)ns / job->count / job->threads;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Other guests come and go: neighbours in time are comparable, and a median forgets the rest. */
static void run_turns(const struct job *job, const char *path, const char *other)
{
	double *ratios = calloc(job->turns, sizeof(*ratios));
	double a, b;

	if (!ratios)
		die("memory");
	for (unsigned int i = 0; i < job->turns; i++) {
		if (i % 2) {
			a = run(job, path);
			b = run(job, other);
		} else {
			b = run(job, other);
			a = run(job, path);
		}
		ratios[i] = b / a;
	}
	qsort(ratios, job->turns, sizeof(*ratios), compare);
	printf("%.4f %.4f %.4f\n", ratios[job->turns / 2], ratios[job->turns / 4],
	       ratios[job->turns * 3 / 4]);
	free(ratios);
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

static int parse(struct job *job, int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "wsob:n:j:r:h")) != -1) {
		switch (c) {
		case 'w':
			job->write = true;
			break;
		case 's':
			job->sequential = true;
			break;
		case 'o':
			job->open = true;
			break;
		case 'b':
			job->size = number(optarg);
			break;
		case 'n':
			job->count = number(optarg);
			break;
		case 'j':
			job->threads = number(optarg);
			break;
		case 'r':
			job->turns = number(optarg);
			break;
		case 'h':
			fputs(usage, stdout);
			exit(0);
		default:
			return -1;
		}
	}
	return argc - optind == 1 || argc - optind == 2 ? 0 : -1;
}

int main(int argc, char **argv)
{
	struct job job = { .size = 4096, .count = 20000, .threads = 1, .turns = 20 };

	if (parse(&job, argc, argv) < 0) {
		fputs(usage, stderr);
		return 2;
	}
	if (argc - optind == 2)
		run_turns(&job, argv[optind], argv[optind + 1]);
	else
		printf("%.2f\n", run(&job, argv[optind]));
	return 0;
}
