// SPDX-License-Identifier: GPL-2.0
/*
 * The event queue: how events enter, merge and leave it.
 *
 * Invariants kept here: at most one event is being delivered; an exception and an event in delivery
 * coexist only between the exit that interrupted the delivery and event_settle(); a payload stays
 * with its exception until delivery begins; nothing is dropped but what the manuals drop (see
 * supersede()). Which event goes next is next.c; what userspace sees of it is abi.c.
 */
#include "event.h"

#include <linux/bits.h>
#include <linux/build_bug.h>
#include <linux/errno.h>
#include <linux/minmax.h>

#include "queue.h"

static_assert(sizeof(struct event) == 24);
static_assert(sizeof(struct event_queue) == 3 * sizeof(struct event) + 40);

#define DR6_BS	BIT(14)

/*
 * Vectors by class: SDM table "Interrupt and Exception Classes", APM "Simultaneous Exceptions"; 21
 * is #CP, 29 is #VC.
 */
#define CONTRIBUTORY	(BIT(0) | BIT(10) | BIT(11) | BIT(12) | BIT(13) | BIT(21) | BIT(29))
/* #PF, and #VE, which counts as one. */
#define PAGE_FAULTS	(BIT(EVENT_PF) | BIT(20))

enum event_class { CLASS_BENIGN, CLASS_CONTRIBUTORY, CLASS_PAGE_FAULT, CLASS_DOUBLE_FAULT };

/*
 * Only exceptions of the CPU have a class: INT n, INT3, INTO, INT1, interrupts and NMIs are benign
 * whatever their vector.
 */
static enum event_class event_class(const struct event *e)
{
	if (EVENT_RULE(CLASS_SOFT_BENIGN, e->type != EVENT_EXCEPTION))
		return CLASS_BENIGN;
	if (EVENT_RULE(CLASS_DOUBLE_FAULT, e->vector == EVENT_DF))
		return CLASS_DOUBLE_FAULT;
	if (EVENT_RULE(CLASS_PAGE_FAULT, e->vector < 32 && BIT(e->vector) & PAGE_FAULTS))
		return CLASS_PAGE_FAULT;
	if (EVENT_RULE(CLASS_CONTRIBUTORY, e->vector < 32 && BIT(e->vector) & CONTRIBUTORY))
		return CLASS_CONTRIBUTORY;
	return CLASS_BENIGN;
}

enum merge { MERGE_SERIAL, MERGE_DOUBLE_FAULT, MERGE_SHUTDOWN };

/*
 * SDM table "Conditions for Generating a Double Fault"; a contributory or page fault on the way to
 * #DF shuts down.
 */
static enum merge event_merge(const struct event *first, const struct event *second)
{
	enum event_class a = event_class(first), b = event_class(second);

	if (EVENT_RULE(MERGE_SHUTDOWN, a == CLASS_DOUBLE_FAULT && b != CLASS_BENIGN))
		return MERGE_SHUTDOWN;
	if (EVENT_RULE(MERGE_CONTRIBUTORY, a == CLASS_CONTRIBUTORY && b == CLASS_CONTRIBUTORY))
		return MERGE_DOUBLE_FAULT;
	if (EVENT_RULE(MERGE_PAGE_FAULT,
		       a == CLASS_PAGE_FAULT && (b == CLASS_CONTRIBUTORY || b == CLASS_PAGE_FAULT)))
		return MERGE_DOUBLE_FAULT;
	return MERGE_SERIAL;
}

void event_clear(struct event *e)
{
	*e = (struct event) {};
}

void event_unstash(struct event_queue *q)
{
	q->irq_stashed = EVENT_RULE(UNSTASH_NEXT, q->irq_stashed > 1);
	q->irq_vector = q->irq_next;
	q->irq_next = 0;
	q->irq_unsettled = false;
	q->irq_soft = false;
}

/*
 * Its delivery had begun: it comes before one that waits. An INT n of userspace's beside it is
 * none. A third one comes about only where L1 injects interrupts that it does not intercept, and
 * then is lost as by a CPU.
 */
static void hold_interrupt(struct event_queue *q, u8 vector)
{
	bool second = EVENT_RULE(HOLD_BOTH, q->irq_stashed) && !q->irq_soft;

	if (EVENT_RULE(HOLD_TWO, q->irq_stashed > 1))
		return;
	q->irq_next = second ? q->irq_vector : 0;
	q->irq_stashed = 1 + second;
	q->irq_vector = vector;
	q->irq_unsettled = false;
	q->irq_soft = false;
}

void event_raise(struct event_queue *q, const struct event *e)
{
	bool is_db = e->type == EVENT_EXCEPTION && e->vector == EVENT_DB;

	if (!q->exception.type) {
		q->exception = *e;
		q->exception.replay = EVENT_RULE(RAISE_REPLAY, event_is_soft(e));
		q->exception_user = false;
		return;
	}
	/*
	 * Two at one boundary: debug causes accumulate, any other second one is discarded and comes
	 * again after the first.
	 */
	if (EVENT_RULE(RAISE_ACCUMULATE, is_db && e->has_payload))
		q->pending_dbg |= e->payload;
}

void event_raise_triple(struct event_queue *q)
{
	q->triple_fault = true;
}

static bool same_event(const struct event *a, const struct event *b)
{
	return a->type == b->type && a->vector == b->vector && a->has_error == b->has_error &&
	       !EVENT_RULE(SAME_ERROR, a->error != b->error);
}

/*
 * L1's event has been delivered, or never was one: from here on what is in @delivering is L2's own.
 */
static void end_run_pending(struct event_queue *q)
{
	if (EVENT_RULE(RUN_PENDING_NMI, q->run_pending && q->delivering.type == EVENT_NMI))
		q->nmi_masked = true;
	q->run_pending = false;
}

void event_exit(struct event_queue *q, const struct event *vectoring)
{
	bool given;

	/*
	 * L1's own event, interrupted, is still L1's: its length and its place in vmcb12/vmcs12 are
	 * the ones L1 gave. (An equal event that L2 raised later is taken for it; both are
	 * delivered the same way.)
	 */
	if (EVENT_RULE(RUN_PENDING_STAYS,
		       q->run_pending && vectoring->type && same_event(vectoring, &q->delivering)))
		return;

	/*
	 * One that userspace gave, and that did not go in, does not happen again by itself. (One
	 * that the guest raised later is taken for it, as above.)
	 */
	given = EVENT_RULE(SOFT_GIVEN, !q->run_pending && !q->delivering.replay &&
					       vectoring->len == q->delivering.len &&
					       same_event(vectoring, &q->delivering));
	end_run_pending(q);
	q->delivering = *vectoring;
	q->delivering.replay = EVENT_RULE(SOFT_REPLAY, event_is_soft(vectoring)) && !given;
}

/*
 * The second exception goes first. What becomes of the first:
 * - an interrupt or NMI is held pending again, as if it had arrived after the exception (SDM
 *   "Priority Among Concurrent Events": lower priority interrupts are held pending);
 * - an exception or soft event is discarded, and raised again by its instruction (same place);
 * - an event of L1's that L1 would intercept if it were pending (l1_nmi, l1_intr) is no pending
 *   event of this vCPU: it is discarded as the CPU does with one it has injected.
 */
static void supersede(struct event_queue *q, const struct event_view *v)
{
	const struct event *first = &q->delivering;

	if (EVENT_RULE(HOLD_NMI, first->type == EVENT_NMI && !(v->guest_mode && v->l1_nmi))) {
		q->nmi_pending = min(q->nmi_pending + 1, 2);
		if (EVENT_RULE(HELD_NMI_UNMASKS, !q->run_pending))
			q->nmi_masked = false;
	} else if (EVENT_RULE(HOLD_INTERRUPT, first->type == EVENT_INTERRUPT && !(v->guest_mode && v->l1_intr))) {
		hold_interrupt(q, first->vector);
	} else {
		end_run_pending(q);
	}
	event_clear(&q->delivering);
	q->run_pending = false;
}

void event_machine_check(struct event_queue *q, const struct event_view *v)
{
	const struct event mc = { .type = EVENT_EXCEPTION, .vector = EVENT_MC };
	const struct event *e = &q->exception;

	if (EVENT_RULE(CHECK_KEEPS_TRAP,
		       e->type == EVENT_EXCEPTION && e->vector == EVENT_DB && e->has_payload))
		q->pending_dbg |= e->payload;
	event_user_exception(q, &mc);
	if (EVENT_RULE(CHECK_SETTLES, q->delivering.type))
		supersede(q, v);
}

bool event_settle(struct event_queue *q, const struct event_view *v, struct event_plan *p)
{
	if (!q->exception.type || !q->delivering.type)
		return false;
	/*
	 * The intercept of the second exception comes before the merge (APM "Exception intercepts",
	 * SDM "Exceptions").
	 */
	if (EVENT_RULE(SETTLE_L1_FIRST, event_l1_intercepts(v, &q->exception))) {
		event_nested_exit(q, p, CAUSE_EXCEPTION);
		return true;
	}
	switch (event_merge(&q->delivering, &q->exception)) {
	case MERGE_SHUTDOWN:
		event_clear(&q->exception);
		q->triple_fault = true;
		break;
	case MERGE_DOUBLE_FAULT:
		q->exception = (struct event) { .type = EVENT_EXCEPTION, .vector = EVENT_DF, .has_error = true };
		break;
	case MERGE_SERIAL:
		supersede(q, v);
		return false;
	}
	event_clear(&q->delivering);
	q->run_pending = false;
	q->exception_user = false;
	return false;
}

void event_drain(struct event_queue *q, unsigned long inbox, u8 sipi_vector)
{
	unsigned int nmis = !!(inbox & BIT(INBOX_NMI)) + !!(inbox & BIT(INBOX_NMI2));
	/*
	 * While one is handled the CPU latches one more; else the first of two would have begun at
	 * once.
	 */
	unsigned int limit = EVENT_RULE(NMI_LATCH, q->nmi_masked) ? 1 : 2;

	while (nmis-- && q->nmi_pending < limit)
		q->nmi_pending++;
	if (inbox & BIT(INBOX_SMI))
		q->smi = true;
	if (inbox & BIT(INBOX_INIT)) {
		q->init = true;
		if (EVENT_RULE(INIT_DROPS_SIPI, true)) {
			q->sipi = false;
			q->sipi_vector = 0;
		}
	}
	if (inbox & BIT(INBOX_SIPI)) {
		q->sipi = true;
		q->sipi_vector = sipi_vector;
	}
	if (inbox & BIT(INBOX_TRIPLE))
		q->triple_fault = true;
}

int event_interrupt(struct event_queue *q, u8 vector)
{
	if (EVENT_RULE(INTERRUPT_EXISTS, q->irq_stashed || q->delivering.type == EVENT_INTERRUPT))
		return -EEXIST;
	q->irq_stashed = true;
	q->irq_vector = vector;
	q->irq_unsettled = false;
	q->irq_soft = false;
	return 0;
}

/*
 * IF was set when the delivery began, and only userspace can have cleared it since. The interrupt
 * waits as one that userspace sets while the guest is closed: VMX would not enter with it. One in
 * delivery in L2 may be a virtual one, which L1's IF never concerned, and which would become L1's
 * in the stash.
 */
static void hold_closed(struct event_queue *q, const struct event_view *v)
{
	if (q->delivering.type != EVENT_INTERRUPT || EVENT_RULE(CLOSED_L2, v->guest_mode) ||
	    EVENT_RULE(CLOSED_OPEN, v->intr_open && v->gif) || EVENT_RULE(CLOSED_NO_PLACE, q->irq_stashed > 1))
		return;
	hold_interrupt(q, q->delivering.vector);
	event_clear(&q->delivering);
}

void event_settle_user(struct event_queue *q, const struct event_view *v)
{
	bool soft = q->irq_soft;

	if (!event_run_begins(q))
		return;
	hold_closed(q, v);
	if (!q->irq_unsettled)
		return;
	q->irq_unsettled = false;
	q->irq_soft = false;
	/*
	 * The in-tree module shows the interrupt of an entry under way as injected, too. It is one.
	 */
	if (EVENT_RULE(SETTLE_L1S_OWN, !soft && q->run_pending &&
					       q->delivering.type == EVENT_INTERRUPT &&
					       q->delivering.vector == q->irq_vector)) {
		event_unstash(q);
		return;
	}
	/*
	 * IF does not hold back an INT n; beside another event it is none: it happens again at its
	 * RIP.
	 */
	if (!EVENT_RULE(SETTLE_SOFT, soft) && !EVENT_RULE(SETTLE_OPEN, event_open(q, v)))
		return;
	if (!q->delivering.type && !q->exception.type)
		q->delivering = (struct event) {
			.type = soft ? EVENT_SOFT_INT : EVENT_INTERRUPT,
			.vector = q->irq_vector,
		};
	event_unstash(q);
}

void event_drop_exception(struct event_queue *q)
{
	if (EVENT_RULE(DROP_GUESTS, !q->exception_user))
		event_clear(&q->exception);
	if (EVENT_RULE(DROP_REPLAY, q->delivering.replay))
		event_clear(&q->delivering);
}

void event_nmi_unmask(struct event_queue *q)
{
	/* IRET inside SMM unmasks for SMM; RSM restores what was before. */
	q->nmi_masked = false;
}

void event_nmi_set_masked(struct event_queue *q, bool masked)
{
	q->nmi_masked = masked;
}

u64 event_dr6(u64 dr6, u64 payload)
{
	/*
	 * RTM and BLD read inverted; each #DB clears the breakpoint bits and sets RTM unless its
	 * payload says otherwise.
	 */
	const u64 low = BIT(11) | BIT(16);

	dr6 = (dr6 & ~(u64)0xf) | BIT(16);
	return (dr6 | (payload & ~low)) & ~(payload & low);
}

void event_trap(struct event_queue *q, u64 causes, u8 shadow)
{
	struct event db = { .type = EVENT_EXCEPTION, .vector = EVENT_DB, .has_payload = true, .payload = causes };

	if (EVENT_RULE(TRAP_HELD, shadow & SHADOW_MOV_SS))
		q->pending_dbg |= causes;
	else
		event_raise(q, &db);
}

void event_rsm(struct event_queue *q, u8 shadow, bool again)
{
	/* The step over an instruction that runs again is still to come. */
	if (EVENT_RULE(RSM_AGAIN, again))
		q->smm_dbg &= ~(u64)DR6_BS;
	q->smm = false;
	q->nmi_masked = EVENT_RULE(RSM_NMI, q->smm_inside_nmi);
	q->smm_inside_nmi = false;
	if (EVENT_RULE(RSM_TRAP, q->smm_dbg))
		event_trap(q, q->smm_dbg, shadow);
	q->smm_dbg = 0;
}

void event_nested_begin(struct event_queue *q, const struct event *injected)
{
	q->delivering = *injected;
	q->delivering.replay = false;
	q->run_pending = true;
}

void event_nested_cancel(struct event_queue *q)
{
	if (EVENT_RULE(CANCEL_NONE, !q->run_pending))
		return;
	q->run_pending = false;
	q->delivering = q->set_aside;
	event_clear(&q->set_aside);
}

void event_nested_leave(struct event_queue *q, struct event_plan *p)
{
	p->vectoring = q->delivering;
	p->pending_dbg = q->pending_dbg;
	event_clear(&q->delivering);
	q->pending_dbg = 0;
	q->run_pending = false;
	q->mtf = false;
	q->timer = false;
}
