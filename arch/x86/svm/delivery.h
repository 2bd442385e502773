/* SPDX-License-Identifier: GPL-2.0 */
/*
 * EVENTINJ and EXITINTINFO as events, and where RIP is while a soft event is injected (APM vol. 2,
 * "Event Injection", "Events That Cause #VMEXIT During Event Delivery"). Pure.
 */
#ifndef STRATA_SVM_DELIVERY_H
#define STRATA_SVM_DELIVERY_H

#include "../event/event.h"

/**
 * struct svm_soft - a soft event that was injected with RIP moved over its instruction
 * @moved: there is one; the rest means something then
 * @type: EVENT_*
 * @vector: of the event
 * @from: RIP before the move
 * @to: RIP that the event is to push
 */
struct svm_soft {
	bool moved;
	u8 type;
	u8 vector;
	unsigned long from;
	unsigned long to;
};

/*
 * svm_event_type(): EVENT_* of an EVENTINJ or EXITINTINFO; #BP and #OF are those of INT3 and INTO.
 */
u8 svm_event_type(u32 info);

/* svm_inject_type(): the type field of an event, as L1 would have it */
u32 svm_inject_type(const struct event *e);

/**
 * svm_inject_info() - EVENTINJ of an event
 * @e: the event
 * @l1s: it is L1's, and goes in as L1 said
 * @v86: virtual-8086 mode
 * @pe: protected mode: real mode pushes no error codes
 */
u32 svm_inject_info(const struct event *e, bool l1s, bool v86, bool pe);

/**
 * svm_interrupted() - the event whose delivery an exit interrupted
 * @info: EXITINTINFO
 * @error: its error code, if the field says that there is one
 * @injected: what had been injected, EVENT_NONE if nothing
 * @e: filled in; EVENT_NONE if @info is not valid. A soft event's length is 0 if only decoding can
 *	tell it
 */
void svm_interrupted(u32 info, u32 error, const struct event *injected, struct event *e);

/**
 * svm_soft_end() - RIP after the exit that followed the injection of a soft event
 * @s: the event; over then
 * @interrupted: the event whose delivery the exit interrupted, EVENT_NONE if none
 * @next_rip: the control block's next RIP, 0 if the CPU does not save it
 * @rip: RIP as the exit left it
 *
 * Return: @rip, or that of the instruction if its event was not delivered.
 */
unsigned long svm_soft_end(struct svm_soft *s, const struct event *interrupted, u64 next_rip,
			   unsigned long rip);

#endif
