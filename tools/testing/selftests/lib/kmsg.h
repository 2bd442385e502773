/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The host's kernel log.
 */
#ifndef STRATA_SELFTEST_KMSG_H
#define STRATA_SELFTEST_KMSG_H

#include <stdbool.h>

/* A descriptor that reads what the kernel says from now on, or, with @all, has said so far too. */
int kmsg_open(bool all);
/* Reads on to the first record that holds both words; false if there is none so far. */
bool kmsg_says(int fd, const char *word, const char *other);

#endif
