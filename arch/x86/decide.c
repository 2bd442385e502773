// SPDX-License-Identifier: GPL-2.0
/*
 * Which event goes in at the next entry, and what is done where another step than an entry is due:
 * carries out what event/ decides.
 */
#include "decide.h"
#include "backend.h"
#include "exit.h"
#include "event/abi.h"
#include "smm/smm.h"
#include "trace_kvm.h"
#include "trace_queue.h"

#include "../../virt/arch.h"

#include <linux/smp.h>
#include <trace/events/ipi.h>

/* Delivery begins: what the exception carries enters its register now. */
static void apply_payload(struct vcpu *v, const struct event_plan *p)
{
	if (p->set_rf)
		vcpu_set_reg(v, REG_RFLAGS, vcpu_rflags(v) | X86_EFLAGS_RF);
	if (!p->event.has_payload)
		return;
	if (p->event.vector == X86_TRAP_PF)
		v->cr2 = p->event.payload;
	else if (p->event.vector == X86_TRAP_DB)
		debug_apply_payload(v, p->event.payload);
}

static void plan_again(struct vcpu *v, struct event_view *view, struct event_plan *plan, bool acked)
{
	vcpu_view(v, view);
	/* Another vCPU took the PIC's interrupt: what is offered now asks for its own entry. */
	view->chip_vector &= acked;
	event_next(&v->events, view, plan);
}

/* What the decision does to events, for those who watch. @again: one was in delivery already. */
static noinline void trace_decision(struct vcpu *v, const struct event_plan *p, bool again)
{
	const struct event *e = &v->events.delivering;
	unsigned int windows = (p->irq_window ? TRACE_WINDOW_IRQ : 0) | (p->nmi_window ? TRACE_WINDOW_NMI : 0) |
			       (p->smi_window ? TRACE_WINDOW_SMI : 0) | (p->gif_window ? TRACE_WINDOW_GIF : 0) |
			       (p->trap_window ? TRACE_WINDOW_TRAP : 0) | (p->exit_soon ? TRACE_WINDOW_SOON : 0);

	if (p->step != STEP_ENTER)
		return;
	if (windows)
		trace_strata_event_windowed(v, windows);
	if (!e->type)
		return;
	if (again)
		trace_strata_event_reinjected(v, e);
	else
		trace_strata_event_picked(v, e);
	if (e->type == EVENT_INTERRUPT || e->type == EVENT_SOFT_INT)
		trace_kvm_inj_virq(e->vector, e->type == EVENT_SOFT_INT, again);
	else if (e->type != EVENT_NMI)
		trace_kvm_inj_exception(e, again);
}

void decide_trace_raised(struct vcpu *v)
{
	const struct event_queue *q = &v->events;

	if (q->exception.type && !q->exception_user)
		trace_strata_event_queued(v, PLACE_EXCEPTION, q->exception.type,
					  q->exception.vector);
	else if (q->pending_dbg)
		trace_strata_event_queued(v, PLACE_TRAP, EVENT_EXCEPTION, X86_TRAP_DB);
	if (q->triple_fault)
		trace_strata_event_queued(v, PLACE_EXCEPTION, TRACE_SHUTDOWN, 0);
}

void vcpu_event_exit(struct vcpu *v, const struct event *vectoring)
{
	const struct event *e = &v->events.delivering;

	if (trace_strata_event_delivered_enabled() && e->type &&
	    (e->type != vectoring->type || e->vector != vectoring->vector))
		trace_strata_event_delivered(v, e);
	event_exit(&v->events, vectoring);
}

void decide_entry(struct vcpu *v, struct event_plan *plan)
{
	/* What L1 asked for at its VM entry is there already, and goes in for the first time. */
	bool again = v->events.delivering.type && !v->events.run_pending;
	struct event_view view;

	vcpu_view(v, &view);
	event_next(&v->events, &view, plan);
	if (plan->step == STEP_ACK_ENTER)
		plan_again(v, &view, plan, decide_acknowledge(v));
	if (decide_traced())
		trace_decision(v, plan, again);
	if (plan->step != STEP_ENTER)
		return;
	io_last_ends(v);
	if (plan->apply)
		apply_payload(v, plan);
	if (v->events.delivering.type) {
		backend_call(inject)(v);
		/* Events are counted, not attempts. */
		v->virt.stats.irq_injections +=
			!again && v->events.delivering.type == EVENT_INTERRUPT;
		v->virt.stats.nmi_injections += !again && v->events.delivering.type == EVENT_NMI;
	}
	/*
	 * A window that stays closed to all interrupts is none to wait for: the guest would get
	 * nowhere.
	 */
	if (unlikely(v->cpu.debug.guest_debug & KVM_GUESTDBG_BLOCKIRQ))
		plan->irq_window = false;
	/* The window opens behind the instruction, whatever IF is. */
	if (unlikely(v->last_entry == LAST_ENTRY_NOW)) {
		plan->nmi_window = true;
		v->last_entry = LAST_ENTRY_TRIED;
	}
	/* TF would be pushed. The delivery is a step of its own, and ends the entry. */
	if (unlikely(v->cpu.debug.guest_debug & KVM_GUESTDBG_SINGLESTEP) &&
	    v->events.delivering.type)
		plan->exit_soon = v->steps_event = true;
	backend_call(windows)(v, plan);
	v->windows = plan->irq_window | plan->nmi_window | plan->smi_window | plan->gif_window;
	/*
	 * Interrupts are off: this one is pending at the entry, and ends the guest once the event
	 * is in.
	 */
	if (plan->exit_soon)
		smp_send_reschedule(smp_processor_id());
}

enum exit_result decide_perform(struct vcpu *v, const struct event_plan *plan)
{
	switch (plan->step) {
	case STEP_WINDOW_EXIT:
		v->virt.run->exit_reason = KVM_EXIT_IRQ_WINDOW_OPEN;
		return EXIT_TO_USER;
	case STEP_NESTED_EXIT:
		trace_strata_event_intercepted(v, plan->cause, &plan->event);
		return backend_call(nested_exit)(v, plan);
	case STEP_SHUTDOWN:
		return exit_shutdown(v);
	case STEP_SMI:
		return smm_enter(v);
	case STEP_INIT:
		vcpu_reset(v, true);
		/*
		 * Without a local APIC in the kernel userspace knows what INIT means to its
		 * processors.
		 */
		if (v->apic)
			v->mp_state = v->apic->lapic.cfg.bsp ? KVM_MP_STATE_RUNNABLE : KVM_MP_STATE_INIT_RECEIVED;
		return EXIT_RESUME;
	default:
		virt_vm_bugged(v->virt.vm);
		return exit_error(v, -EIO);
	}
}

enum exit_result decide_find_length(struct vcpu *v)
{
	struct event *e = event_lacks_length(&v->events.delivering) ? &v->events.delivering : &v->events.exception;

	e->len = emu_soft_length(v, e);
	if (e->len)
		return EXIT_RESUME;
	return exit_internal_error(v, KVM_INTERNAL_ERROR_DELIVERY_EV, e->vector, e->type);
}

void decide_settle_interrupt(struct vcpu *v)
{
	struct event_view view;

	vcpu_view(v, &view);
	event_settle_user(&v->events, &view);
}

void decide_settle_events(struct vcpu *v)
{
	struct event_plan plan;
	struct event_view view;

	vcpu_view(v, &view);
	if (event_settle(&v->events, &view, &plan))
		backend_call(nested_exit)(v, &plan);
}
