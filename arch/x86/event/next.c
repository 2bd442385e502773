// SPDX-License-Identifier: GPL-2.0
/*
 * What goes next: the manuals' priority tables, one function per row.
 *
 * SDM "Priority Among Concurrent Events", APM "Simultaneous Interrupts" (table of priorities); for
 * nested VMX also SDM "Monitor Trap Flag", "VMX-Preemption Timer" and "Non-Maskable Interrupts"
 * (event blocking). Rows that concern fetching, decoding and executing the next instruction are the
 * CPU's and the emulator's: what they find is an exception here.
 *
 * An exception that is already recognised comes before all rows: the tables order what is
 * concurrent at an instruction boundary, and an instruction that has faulted was past it. Only a
 * debug trap is recognised at the boundary itself.
 */
#include "event.h"

#include <linux/bits.h>

#include "queue.h"

#define DR6_TRAP_CAUSES	(BIT(0) | BIT(1) | BIT(2) | BIT(3) | BIT(14))
#define DR6_BD		BIT(13)
#define DR6_BT		BIT(15)

/*
 * Aborts and traps push RFLAGS as it is; #DB is either, and its RF is the CPU's or the emulator's
 * concern.
 */
#define NOT_FAULTS	(BIT(EVENT_DB) | BIT(EVENT_BP) | BIT(EVENT_OF) | BIT(EVENT_DF) | BIT(EVENT_MC))

bool event_l1_intercepts(const struct event_view *v, const struct event *e)
{
	bool on;

	if (EVENT_RULE(L1_HAS_L2, !v->guest_mode) || e->type < EVENT_EXCEPTION || e->vector > 31 ||
	    EVENT_RULE(L1_NOT_SOFT_INT, e->type == EVENT_SOFT_INT))
		return false;
	on = v->l1_exceptions & BIT(e->vector);
	if (EVENT_RULE(L1_PF_FILTER, e->type == EVENT_EXCEPTION && e->vector == EVENT_PF &&
		       (e->error & v->l1_pf_mask) != v->l1_pf_match))
		on = !on;
	return EVENT_RULE(L1_EXCEPTION, on);
}

void event_nested_exit(struct event_queue *q, struct event_plan *p, enum event_cause cause)
{
	*p = (struct event_plan) { .step = STEP_NESTED_EXIT, .cause = cause };
	event_nested_leave(q, p);
	if (cause != CAUSE_EXCEPTION)
		return;
	p->event = q->exception;
	event_clear(&q->exception);
	q->exception_user = false;
}

/* A #DB of the row "traps on the previous instruction", whose causes are still to be put in DR6. */
static bool trap_pending(const struct event_queue *q)
{
	const struct event *e = &q->exception;

	return e->type == EVENT_EXCEPTION && e->vector == EVENT_DB && e->has_payload &&
	       (e->payload & DR6_TRAP_CAUSES) &&
	       !EVENT_RULE(TRAP_NO_FAULT, e->payload & (DR6_BD | DR6_BT));
}

/* An entry has to complete before anything else happens. */
static bool busy(const struct event_queue *q)
{
	return q->delivering.type || EVENT_RULE(RUN_PENDING_BLOCKS, q->run_pending);
}

/* The shadow as it matters after the next entry: delivery of an event ends it. */
static u8 shadow_left(const struct event_queue *q, const struct event_view *v)
{
	return EVENT_RULE(DELIVERY_ENDS_SHADOW, q->delivering.type) ? 0 : v->shadow;
}

static bool smi_open(const struct event_queue *q, const struct event_view *v)
{
	return q->smi && !EVENT_RULE(SMI_SMM, q->smm) && !EVENT_RULE(SMI_GIF, !v->gif);
}

static bool init_open(const struct event_queue *q, const struct event_view *v)
{
	return q->init && !EVENT_RULE(INIT_SMM, q->smm) && !EVENT_RULE(INIT_GIF, !v->gif) &&
	       !EVENT_RULE(INIT_VMXON, v->vmxon && !v->guest_mode);
}

/* An NMI that L1 takes as an exit is not blocked by what blocks L2's own. */
static bool nmi_open(const struct event_queue *q, const struct event_view *v)
{
	u8 shadow = shadow_left(q, v);

	if (!q->nmi_pending || EVENT_RULE(NMI_GIF, !v->gif))
		return false;
	if (EVENT_RULE(NMI_L1_UNBLOCKED, v->guest_mode && v->l1_nmi))
		return true;
	return !EVENT_RULE(NMI_MASKED, q->nmi_masked) &&
	       !EVENT_RULE(NMI_MOV_SS, shadow & SHADOW_MOV_SS) &&
	       !EVENT_RULE(NMI_STI, (shadow & SHADOW_STI) && v->nmi_sti_blocked);
}

static bool interrupt_open(const struct event_queue *q, const struct event_view *v)
{
	return !EVENT_RULE(INTR_IF, !v->intr_open) && !EVENT_RULE(INTR_GIF, !v->gif) &&
	       !EVENT_RULE(INTR_SHADOW, shadow_left(q, v));
}

static bool trap_open(const struct event_queue *q, const struct event_view *v)
{
	return q->pending_dbg && !EVENT_RULE(TRAP_MOV_SS, shadow_left(q, v) & SHADOW_MOV_SS);
}

bool event_place(const struct event_queue *q, const struct event_view *v)
{
	if (EVENT_RULE(PLACE_STASH, q->irq_stashed) ||
	    EVENT_RULE(PLACE_DELIVERING, q->delivering.type == EVENT_INTERRUPT))
		return false;
	return !EVENT_RULE(PLACE_EXTINT, v->irqchip == IRQCHIP_SPLIT && !v->chip_accepts_extint);
}

bool event_open(const struct event_queue *q, const struct event_view *v)
{
	return !EVENT_RULE(OPEN_DELIVERING, q->delivering.type) &&
	       !EVENT_RULE(OPEN_EXCEPTION, q->exception.type) &&
	       !EVENT_RULE(OPEN_RUN_PENDING, q->run_pending) && interrupt_open(q, v);
}

bool event_ready(const struct event_queue *q, const struct event_view *v)
{
	return EVENT_RULE(READY_FULL_CHIP, v->irqchip == IRQCHIP_FULL) ||
	       (event_place(q, v) && event_open(q, v));
}

static bool init_resets(const struct event_queue *q, const struct event_view *v)
{
	return init_open(q, v) && !EVENT_RULE(INIT_L1, v->guest_mode && v->l1_init);
}

bool event_wakes(const struct event_queue *q, const struct event_view *v)
{
	bool interrupt = q->irq_stashed || v->chip_vector;

	if (EVENT_RULE(WAKES_WAIT, v->wait_for_sipi))
		return q->triple_fault ||
		       (q->sipi && !EVENT_RULE(WAKES_BEFORE_INIT, v->uninitialized)) ||
		       init_resets(q, v);
	return q->delivering.type || q->exception.type || q->triple_fault || q->mtf || q->timer ||
	       trap_open(q, v) || smi_open(q, v) || init_open(q, v) || nmi_open(q, v) ||
	       (interrupt && interrupt_open(q, v));
}

/* Not a row: a shutdown is how the last instruction ended. */
static bool take_shutdown(struct event_queue *q, const struct event_view *v, struct event_plan *p)
{
	if (!q->triple_fault)
		return false;
	q->triple_fault = false;
	event_clear(&q->exception);
	q->exception_user = false;
	if (EVENT_RULE(SHUTDOWN_L1, v->guest_mode && v->l1_shutdown)) {
		event_clear(&q->delivering);
		q->pending_dbg = 0;
		event_nested_exit(q, p, CAUSE_SHUTDOWN);
	} else {
		p->step = STEP_SHUTDOWN;
	}
	return true;
}

static bool begin_exception(struct event_queue *q, const struct event_view *v, struct event_plan *p)
{
	struct event *e = &q->exception;

	/*
	 * All causes known when #DB is vectored are in DR6, those of an INT1 under a MOV SS shadow
	 * included.
	 */
	if (EVENT_RULE(DB_MERGES,
		       e->vector == EVENT_DB && e->type != EVENT_SOFT_INT && q->pending_dbg)) {
		e->has_payload = true;
		e->payload |= q->pending_dbg;
		q->pending_dbg = 0;
	}
	if (event_l1_intercepts(v, e)) {
		event_nested_exit(q, p, CAUSE_EXCEPTION);
		return true;
	}
	p->event = *e;
	p->apply = EVENT_RULE(APPLY_PAYLOAD, true);
	p->set_rf = EVENT_RULE(FAULT_SETS_RF, e->type == EVENT_EXCEPTION && e->vector < 32 &&
						      !(BIT(e->vector) & NOT_FAULTS));
	q->delivering = *e;
	q->delivering.has_payload = false;
	q->delivering.payload = 0;
	event_clear(e);
	q->exception_user = false;
	/* Not the event L1 asked for. */
	q->run_pending = false;
	return true;
}

/* Row "machine check" and "trap on task switch", and faults (see the head of this file). */
static bool take_exception(struct event_queue *q, const struct event_view *v, struct event_plan *p)
{
	/* An entry under way cannot be overtaken by the rows in between. */
	if (!q->exception.type || EVENT_RULE(TRAP_ROW, trap_pending(q) && !q->run_pending))
		return false;
	return begin_exception(q, v, p);
}

/*
 * An exit to L1 of a higher row takes the trap with it, if L1's control block has a place; else the
 * trap goes first.
 */
static bool leave_trap(struct event_queue *q, const struct event_view *v)
{
	if (!trap_pending(q))
		return true;
	if (EVENT_RULE(TRAP_STAYS, !v->l1_pending_dbg))
		return false;
	q->pending_dbg |= q->exception.payload;
	event_clear(&q->exception);
	q->exception_user = false;
	return true;
}

/* Row "external hardware interventions": SMI */
static bool take_smi(struct event_queue *q, const struct event_view *v, struct event_plan *p)
{
	if (!smi_open(q, v) || EVENT_RULE(SMI_BUSY, busy(q)))
		return false;
	if (EVENT_RULE(SMI_L1, v->guest_mode && v->l1_smi)) {
		/* It stays pending: the exit clears GIF, and L1 takes it with STGI. */
		if (!leave_trap(q, v))
			return false;
		event_nested_exit(q, p, CAUSE_SMI);
		return true;
	}
	q->smi = false;
	q->smm = true;
	q->smm_inside_nmi = q->nmi_masked;
	q->nmi_masked = EVENT_RULE(SMI_MASKS_NMI, true);
	if (EVENT_RULE(SMI_KEEPS_TRAP, trap_pending(q)))
		q->smm_dbg |= q->exception.payload;
	event_clear(&q->exception);
	q->exception_user = false;
	q->smm_dbg |= q->pending_dbg;
	q->pending_dbg = 0;
	p->step = STEP_SMI;
	return true;
}

bool event_sipi_pending(const struct event_queue *q, const struct event_view *v)
{
	bool awaited = v->wait_for_sipi && !EVENT_RULE(SIPI_BEFORE_INIT, v->uninitialized);

	return q->sipi && (awaited || EVENT_RULE(SIPI_FOLLOWS_INIT, init_resets(q, v)));
}

/*
 * Row "external hardware interventions": INIT that resets. It comes before the SMI of the same row
 * (APM's order) and before what is being delivered: nothing of that would be left. An SMI stays
 * (SDM "Processor State After Reset"), and the SIPI that is to follow.
 */
static bool take_reset(struct event_queue *q, const struct event_view *v, struct event_plan *p)
{
	if (!init_resets(q, v))
		return false;
	*q = (struct event_queue) { .smi = q->smi, .sipi = q->sipi, .sipi_vector = q->sipi_vector };
	p->step = STEP_INIT;
	return true;
}

/* The same row: INIT that L1 intercepts */
static bool take_init(struct event_queue *q, const struct event_view *v, struct event_plan *p)
{
	if (!init_open(q, v) || EVENT_RULE(INIT_BUSY, busy(q)) || !leave_trap(q, v))
		return false;
	q->init = !EVENT_RULE(INIT_TAKEN, v->l1_exit_takes);
	event_nested_exit(q, p, CAUSE_INIT);
	return true;
}

static bool take_sipi(struct event_queue *q, const struct event_view *v, struct event_plan *p)
{
	struct event sipi = { .vector = q->sipi_vector };

	if (!q->sipi)
		return false;
	q->sipi = false;
	q->sipi_vector = 0;
	if (EVENT_RULE(SIPI_L1, v->guest_mode))
		event_nested_exit(q, p, CAUSE_SIPI);
	else
		p->step = STEP_SIPI;
	p->event = sipi;
	return true;
}

/* SDM "Monitor Trap Flag": below SMI and INIT, above debug traps */
static bool take_mtf(struct event_queue *q, const struct event_view *v, struct event_plan *p)
{
	if (!q->mtf || !v->guest_mode || EVENT_RULE(MTF_BUSY, busy(q)) || !leave_trap(q, v))
		return false;
	event_nested_exit(q, p, CAUSE_MTF);
	return true;
}

/* Row "traps on the previous instruction" */
static bool take_trap(struct event_queue *q, const struct event_view *v, struct event_plan *p)
{
	struct event db = { .type = EVENT_EXCEPTION, .vector = EVENT_DB, .has_payload = true };

	if (EVENT_RULE(TRAP_BUSY, busy(q)))
		return false;
	if (!q->exception.type) {
		if (!trap_open(q, v))
			return false;
		q->exception = db;
	}
	return begin_exception(q, v, p);
}

/* SDM "VMX-Preemption Timer": below debug traps, above NMIs */
static bool take_timer(struct event_queue *q, const struct event_view *v, struct event_plan *p)
{
	if (!q->timer || !v->guest_mode || EVENT_RULE(TIMER_BUSY, busy(q)))
		return false;
	event_nested_exit(q, p, CAUSE_TIMER);
	return true;
}

/* Row "nonmaskable interrupts" */
static bool take_nmi(struct event_queue *q, const struct event_view *v, struct event_plan *p)
{
	if (!nmi_open(q, v) || EVENT_RULE(NMI_BUSY, busy(q)))
		return false;
	if (EVENT_RULE(NMI_L1, v->guest_mode && v->l1_nmi)) {
		if (EVENT_RULE(NMI_TAKEN, v->l1_exit_takes)) {
			/* The exit blocks NMIs as their delivery would. */
			q->nmi_pending--;
			q->nmi_masked = true;
		}
		event_nested_exit(q, p, CAUSE_NMI);
		return true;
	}
	q->nmi_pending--;
	q->nmi_masked = EVENT_RULE(NMI_MASKS, true);
	q->delivering = (struct event) { .type = EVENT_NMI, .vector = EVENT_NMI_VECTOR };
	p->event = q->delivering;
	return true;
}

static struct event take_stash(struct event_queue *q)
{
	struct event e = { .type = EVENT_INTERRUPT, .vector = q->irq_vector };

	event_unstash(q);
	return e;
}

/*
 * Row "maskable hardware interrupts": userspace's controller first, it has been acknowledged
 * already
 */
static bool take_interrupt(struct event_queue *q, const struct event_view *v, struct event_plan *p)
{
	if (!(q->irq_stashed || v->chip_vector) || !event_open(q, v))
		return false;
	if (EVENT_RULE(INTR_L1, v->guest_mode && v->l1_intr)) {
		event_nested_exit(q, p, CAUSE_INTR);
		if (EVENT_RULE(INTR_TAKEN, v->l1_ack_intr) && q->irq_stashed)
			p->event = take_stash(q);
		return true;
	}
	if (q->irq_stashed) {
		q->delivering = take_stash(q);
		p->event = q->delivering;
		return true;
	}
	if (EVENT_RULE(WINDOW_BEFORE_CHIP,
		       v->want_window && v->irqchip != IRQCHIP_FULL && event_place(q, v)))
		return false;
	p->step = STEP_ACK_ENTER;
	return true;
}

/* Not a row: nothing is left for the guest, and userspace may add an interrupt. */
static bool take_window(struct event_queue *q, const struct event_view *v, struct event_plan *p)
{
	if (!v->want_window || EVENT_RULE(WINDOW_FULL_CHIP, v->irqchip == IRQCHIP_FULL))
		return false;
	if (EVENT_RULE(WINDOW_READY, !event_place(q, v) || !event_open(q, v)))
		return false;
	p->step = STEP_WINDOW_EXIT;
	return true;
}

/* What is left over asks for an exit at the moment it can be taken. */
static void plan_windows(const struct event_queue *q, const struct event_view *v,
			 struct event_plan *p)
{
	bool to_l1 = v->guest_mode && v->l1_intr;
	/*
	 * The place that counts is the one after the entry: an interrupt that goes in now is gone
	 * by then.
	 */
	bool user = v->want_window && v->irqchip != IRQCHIP_FULL && !q->irq_stashed &&
		    !(v->irqchip == IRQCHIP_SPLIT && !v->chip_accepts_extint);
	bool interrupt = q->irq_stashed || (v->chip_vector && p->step != STEP_ACK_ENTER);
	bool nmi_to_l1 = v->guest_mode && v->l1_nmi;

	p->irq_window = EVENT_RULE(IRQ_WINDOW, interrupt || user);
	p->nmi_window = EVENT_RULE(NMI_WINDOW, q->nmi_pending && !nmi_to_l1);
	p->smi_window = EVENT_RULE(SMI_WINDOW, q->smi && !q->smm && !v->gif);
	p->gif_window =
		EVENT_RULE(GIF_WINDOW, !v->gif && ((q->smi && !q->smm) || (q->init && !q->smm) ||
						   q->nmi_pending || interrupt || user));
	p->trap_window = EVENT_RULE(TRAP_WINDOW, q->pending_dbg && !busy(q) && !trap_open(q, v));
	p->exit_soon = EVENT_RULE(
		EXIT_SOON, busy(q) && (smi_open(q, v) || init_open(q, v) || nmi_open(q, v) ||
				       trap_open(q, v) || (v->guest_mode && (q->mtf || q->timer)) ||
				       (to_l1 && interrupt && interrupt_open(q, v))));
}

/* The rows, highest first; what is in delivery comes before all of them. */
static bool take_first(struct event_queue *q, const struct event_view *v, struct event_plan *p)
{
	return q->delivering.type || take_exception(q, v, p) ||
	       take_smi(q, v, p) || take_init(q, v, p) || take_mtf(q, v, p) ||
	       take_trap(q, v, p) || take_timer(q, v, p) || take_nmi(q, v, p) ||
	       take_interrupt(q, v, p) || take_window(q, v, p);
}

void event_next(struct event_queue *q, const struct event_view *v, struct event_plan *p)
{
	*p = (struct event_plan) { .step = STEP_ENTER };

	if (event_settle(q, v, p) || take_shutdown(q, v, p) || take_reset(q, v, p))
		return;
	/* Outside the wait-for-SIPI state it is ignored, and before the first INIT. */
	if (EVENT_RULE(SIPI_IGNORED, !v->wait_for_sipi || v->uninitialized)) {
		q->sipi = false;
		q->sipi_vector = 0;
	}
	if (EVENT_RULE(WAIT_FOR_SIPI, v->wait_for_sipi)) {
		if (!take_sipi(q, v, p))
			p->step = STEP_WAIT;
		return;
	}
	take_first(q, v, p);
	if (p->step == STEP_ENTER || p->step == STEP_ACK_ENTER)
		plan_windows(q, v, p);
}
