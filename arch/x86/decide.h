/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The run loop's part of events: asks event/ what is due, and has the backend carry it out. On the
 * vCPU's own thread.
 */
#ifndef STRATA_X86_DECIDE_H
#define STRATA_X86_DECIDE_H

#include "strata.h"
#include "trace_kvm.h"
#include "trace_queue.h"

struct event_plan;

/* Somebody watches what decisions do to events. */
static __always_inline bool decide_traced(void)
{
	return trace_strata_event_picked_enabled() || trace_strata_event_reinjected_enabled() ||
	       trace_strata_event_windowed_enabled() ||
	       trace_kvm_inj_virq_enabled() || trace_kvm_inj_exception_enabled();
}

/**
 * decide_acknowledge() - the entry takes the controllers' interrupt
 * @v: the vCPU, interrupts off
 *
 * Then the plan is made anew: what they offer next may need a window. The decision itself stands,
 * as an event in delivery comes before all others.
 *
 * Return: false if there was none.
 */
static inline bool decide_acknowledge(struct vcpu *v)
{
	int vector = apic_ack(v);

	if (vector >= 0)
		event_acked(&v->events, vector);
	return vector >= 0;
}

/**
 * decide_entry() - put the event that is due into the control block, and ask for the windows of
 * those that wait
 * @v: the vCPU, interrupts off, something in its queue, its controllers or its windows
 * @plan: only @plan->step is set on entry, to STEP_ENTER; unless it still is on return, no entry is
 *	made and decide_perform() has the rest
 */
void decide_entry(struct vcpu *v, struct event_plan *plan);

/**
 * decide_perform() - do what a decision asks for instead of an entry
 * @v: the vCPU, interrupts on, srcu held
 * @plan: the decision, its step not STEP_ENTER
 *
 * Return: EXIT_RESUME, or what userspace is to see.
 */
enum exit_result decide_perform(struct vcpu *v, const struct event_plan *plan);

/*
 * A soft event whose length the CPU did not tell. Where one of L1's returns to is in L1's control
 * block.
 */
static inline bool decide_lacks_length(const struct event_queue *q)
{
	return event_lacks_length(&q->delivering) && !q->run_pending;
}

/* Find that length: the instruction is still at RIP. May sleep. */
enum exit_result decide_find_length(struct vcpu *v);

/* An interrupt that userspace set goes where it belongs, now that all its state is known. */
void decide_settle_interrupt(struct vcpu *v);

/*
 * An exception and an event in delivery never coexist when KVM_RUN returns: they have been merged,
 * or have gone to L1.
 */
void decide_settle_events(struct vcpu *v);

/* Something waits that the vCPU raised. */
static inline bool decide_raised(const struct event_queue *q)
{
	return q->exception.type || q->pending_dbg || q->triple_fault;
}

/*
 * For traces: an exception or a trap that was not there before. Called where they may have been
 * raised, and nothing waited. What userspace has restored is no new one.
 */
void decide_trace_raised(struct vcpu *v);

#endif
