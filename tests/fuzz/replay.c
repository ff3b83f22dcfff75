// SPDX-License-Identifier: GPL-2.0
/*
 * Runs a fuzz target on files, once each, without libFuzzer.
 *
 *   replay-NAME FILE|DIRECTORY ...
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

#define INPUT_MAX (1 << 20)

static unsigned long inputs;

static int replay_file(const char *path)
{
	static uint8_t data[INPUT_MAX];
	FILE *file = fopen(path, "rb");
	uint8_t *exact;
	size_t size;

	if (!file) {
		perror(path);
		return -1;
	}
	size = fread(data, 1, sizeof(data), file);
	fclose(file);
	/* No byte more than the input has, for the sanitizer to see overruns. */
	exact = malloc(size ? size : 1);
	if (!exact) {
		perror(path);
		return -1;
	}
	memcpy(exact, data, size);
	LLVMFuzzerTestOneInput(exact, size);
	free(exact);
	inputs++;
	return 0;
}

static int replay_directory(const char *path)
{
	struct dirent *entry;
	char name[4096];
	int err = 0;
	DIR *dir = opendir(path);

	if (!dir) {
		perror(path);
		return -1;
	}
	while (!err && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		err = replay_file(name);
	}
	closedir(dir);
	return err;
}

int main(int argc, char **argv)
{
	struct stat st;
	int i, err = 0;

	for (i = 1; i < argc && !err; i++) {
		err = stat(argv[i], &st);
		if (err)
			perror(argv[i]);
		else
			err = S_ISDIR(st.st_mode) ? replay_directory(argv[i])
						  : replay_file(argv[i]);
	}
	printf("%lu inputs\n", inputs);
	return err || !inputs ? EXIT_FAILURE : EXIT_SUCCESS;
}
