/* SPDX-License-Identifier: GPL-2.0 */
/* What the event core's own files share. */
#ifndef STRATA_EVENT_QUEUE_H
#define STRATA_EVENT_QUEUE_H

#include "event.h"

void event_clear(struct event *e);

/* The first interrupt of the stash is gone; the second one is the first. */
void event_unstash(struct event_queue *q);

/*
 * Turn the plan into an exit to L1, handing over what is being delivered and, for an exception, the
 * exception.
 */
void event_nested_exit(struct event_queue *q, struct event_plan *p, enum event_cause cause);

#endif
