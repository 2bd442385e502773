// SPDX-License-Identifier: GPL-2.0
/*
 * The host's kernel log; see kmsg.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "kmsg.h"
#include "tap.h"

int kmsg_open(bool all)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	REQUIRE(fd >= 0);
	REQUIRE(all || lseek(fd, 0, SEEK_END) >= 0);
	return fd;
}

/* One record for each read; EPIPE says that some were overwritten. */
bool kmsg_says(int fd, const char *word, const char *other)
{
	char record[2048];
	ssize_t n;

	while ((n = read(fd, record, sizeof(record) - 1)) > 0 || (n < 0 && errno == EPIPE)) {
		record[n > 0 ? n : 0] = 0;
		if (strstr(record, word) && strstr(record, other))
			return true;
	}
	return false;
}
