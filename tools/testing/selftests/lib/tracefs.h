/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel's tracepoints from a test, through tracefs.
 */
#ifndef STRATA_SELFTEST_TRACEFS_H
#define STRATA_SELFTEST_TRACEFS_H

#include <stdbool.h>
#include <stddef.h>

#include "tap.h"

#define TRACEFS "/sys/kernel/tracing/"

/*
 * Clears the buffer and switches on the events of the systems kvm and strata; skips the case
 * without tracefs.
 */
void trace_begin(void);
/* Switches them off and returns the text of the buffer. */
char *trace_end(void);

/* The first line after @from that holds both words, NULL if there is none. */
const char *trace_find(const char *from, const char *event, const char *words);

/* The next line of the kind, from which the search goes on */
#define EXPECT_LINE(at, event, words)						\
	do {									\
		const char *next_ = trace_find(at, event, words);		\
										\
		if (!next_)							\
			tap_fail(__FILE__, __LINE__, "no %s with '%s'", event, words); \
		else								\
			at = next_;						\
	} while (0)

/* An event's format has this field. */
bool trace_has_field(const char *system, const char *event, const char *field);

#endif
