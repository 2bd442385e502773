/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How often an exception was queued, picked for an entry, and delivered, by vector and in all VMs
 * together, as strata's tracepoints say (histogram triggers of tracefs: nothing is overwritten).
 */
#ifndef STRATA_SELFTEST_EVENT_COUNTS_H
#define STRATA_SELFTEST_EVENT_COUNTS_H

#include "vm.h"

struct event_counts {
	u64 queued[32], picked[32], delivered[32];
};

/* From now on. Skips the case without tracefs. */
void event_counts_begin(void);
void event_counts_read(struct event_counts *c);
void event_counts_end(void);

#endif
