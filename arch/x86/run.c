// SPDX-License-Identifier: GPL-2.0
/*
 * The run loop: settle what userspace set, work requests, have events decided, enter, handle the
 * exit.
 *
 * From the moment the mode is IN_GUEST until the entry interrupts are off: who sets a request
 * afterwards sends an IPI, which ends the guest at once.
 */
#include "backend.h"
#include "decide.h"
#include "exit.h"
#include "halt.h"
#include "smm/smm.h"
#include "trace_kvm.h"
#include "trace_queue.h"

#include "../../virt/arch.h"

#include "../../include/compat/kvm_run.h"
#include "../../include/compat/resume.h"

#include <linux/moduleparam.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/strata.h>
#include <linux/vtime.h>
#include <asm/debugreg.h>

#define OP(ret, name, args) DEFINE_STATIC_CALL_NULL(backend_##name, *((struct backend_ops *)0)->name);
BACKEND_OPS(OP)
#undef OP

static bool fast_exits = true;
module_param(fast_exits, bool, 0444);
MODULE_PARM_DESC(fast_exits, "enter again with interrupts still off after exits that need neither sleep nor lock");

static bool leave_shadows = true;
module_param(leave_shadows, bool, 0444);
MODULE_PARM_DESC(leave_shadows, "let a guest out of an interrupt shadow before KVM_RUN ends for a signal");

void vcpu_cache_reg(struct vcpu *v, enum reg reg)
{
	backend_call(cache_reg)(v, reg);
}

/* ---- requests ---- */

static enum exit_result exit_ioapic_eoi(struct vcpu *v)
{
	v->virt.run->exit_reason = KVM_EXIT_IOAPIC_EOI;
	v->virt.run->eoi.vector = v->apic->eoi_exit;
	return EXIT_TO_USER;
}

/*
 * The machine is going down, and the CPU does not virtualize any more: the vCPU stands still until
 * userspace wants its thread back.
 */
static enum exit_result wait_for_end(struct vcpu *v)
{
	struct virt_vcpu *vv = &v->virt;

	virt_srcu_pause(vv);
	rcuwait_wait_event(&vv->wait, signal_pending(current), TASK_INTERRUPTIBLE);
	virt_srcu_resume(vv);
	vv->run->exit_reason = KVM_EXIT_INTR;
	return exit_error(v, -EINTR);
}

static enum exit_result exit_tpr_access(struct vcpu *v)
{
	struct kvm_run *run = v->virt.run;

	run->exit_reason = KVM_EXIT_TPR_ACCESS;
	run->tpr_access.rip = v->apic->tpr_rip;
	run->tpr_access.is_write = v->apic->tpr_write;
	return EXIT_TO_USER;
}

static enum exit_result work_requests(struct vcpu *v)
{
	struct virt_vcpu *vv = &v->virt;

	if (virt_take_request(vv, VIRT_REQ_DEAD))
		return exit_error(v, -EIO);
	if (test_bit(VIRT_REQ_OFF, &vv->requests))
		return wait_for_end(v);
	virt_take_request(vv, VIRT_REQ_KICK);
	if (virt_take_request(vv, REQ_EVENT)) {
		vv->stats.req_event++;
		if (unlikely(READ_ONCE(v->inbox)))
			event_drain(&v->events, xchg(&v->inbox, 0), READ_ONCE(v->sipi_vector));
		if (v->apic)
			apic_drain(v);
		if (likely(!READ_ONCE(vv->requests)))
			return EXIT_RESUME;
	}
	if (virt_take_request(vv, REQ_APIC_TIMER))
		apic_timer_due(v);
	if (virt_take_request(vv, REQ_EOI_EXIT))
		return exit_ioapic_eoi(v);
	if (virt_take_request(vv, REQ_TPR_ACCESS))
		return exit_tpr_access(v);
	if (virt_take_request(vv, REQ_CLOCK))
		clock_update(v);
	if (virt_take_request(vv, REQ_STEAL))
		steal_update(v);
	if (virt_take_request(vv, REQ_APF))
		apf_update(v);
	if (virt_take_request(vv, REQ_MSR_FILTER))
		backend_call(update_msr_access)(v);
	if (virt_take_request(vv, REQ_NESTED_PAGES) && v->guest_mode) {
		enum exit_result r = backend_call(nested_pages)(v);

		if (r != EXIT_RESUME)
			return r;
	}
	if (virt_take_request(vv, REQ_NESTED_FAULT) && v->guest_mode) {
		enum exit_result r = backend_call(nested_fault)(v);

		if (r != EXIT_RESUME)
			return r;
	}
	if (virt_take_request(vv, VIRT_REQ_TLB_FLUSH)) {
		vv->stats.tlb_flush++;
		backend_call(flush_tlb)(v);
	}
	return EXIT_RESUME;
}

/* ---- entering ---- */

static bool must_not_enter(struct vcpu *v)
{
	return READ_ONCE(v->virt.requests) || (host_work() && v->last_entry != LAST_ENTRY_NOW);
}

static bool events_waiting(const struct vcpu *v)
{
	return (v->want_window | v->windows) || !event_idle(&v->events) ||
	       (v->apic && apic_offers(v->apic));
}

/*
 * Most often the local APIC has just one interrupt, and it can go in: what decide_entry() would do
 * then. False: that has to look, also at what was acknowledged, as the PIC may have come up with
 * another one meanwhile.
 */
static __always_inline bool take_chip_interrupt(struct vcpu *v)
{
	const struct vcpu_apic *a = v->apic;
	struct event_view view = { .chip_vector = true };

	if (!a || a->hw || !lapic_pending_vector(&a->lapic) || apic_pic_offers(a))
		return false;
	if ((v->guest_mode | v->want_window | v->windows | v->cpu.debug.guest_debug) ||
	    decide_traced())
		return false;
	backend_call(view)(v, &view);
	if (unlikely(!event_only_chip(&v->events, &view) || !decide_acknowledge(v) ||
		     apic_offers(a)))
		return false;
	backend_call(inject)(v);
	v->virt.stats.irq_injections++;
	return true;
}

/*
 * Guest state in, world switch, guest state out. Interrupts are off; on return the host has taken
 * what ended the guest.
 */
static void enter_guest(struct vcpu *v)
{
	struct vcpu_debug *d = &v->cpu.debug;

	bool step = (d->guest_debug & KVM_GUESTDBG_SINGLESTEP) && !v->steps_event, own_tf = false;

	if (unlikely(step)) {
		own_tf = vcpu_rflags(v) & X86_EFLAGS_TF;
		vcpu_set_reg(v, REG_RFLAGS, vcpu_rflags(v) | X86_EFLAGS_TF);
	}
	fpu_prepare_entry();
	if (unlikely(v->cpu.xcr_switch))
		xcr_load_guest(v);
	if (unlikely(d->active | d->guest_owned))
		debug_load_guest(v);
	backend_call(enter)(v);
	/* An exit clears DR7. */
	if (unlikely(d->active | d->guest_owned || hw_breakpoint_active()))
		debug_load_host(v);
	if (unlikely(v->cpu.xcr_switch))
		xcr_load_host(v);
	backend_call(after_enter)(v);
	if (unlikely(step) && !own_tf)
		vcpu_set_reg(v, REG_RFLAGS, vcpu_rflags(v) & ~X86_EFLAGS_TF);
}

/* One entry. EXIT_RESUME with *@entered false: something else comes first. */
static __always_inline enum exit_result try_enter(struct vcpu *v, bool *entered)
{
	/*
	 * Few entries need more than the step: the compiler's clearing of the whole would be most
	 * of the work.
	 */
	struct event_plan plan __attribute__((__uninitialized__));

	plan.step = STEP_ENTER;
	*entered = false;
	preempt_disable();
	virt_srcu_pause(&v->virt);
	local_irq_disable();
	/* Pairs with virt_kick() and virt_request_all(). */
	smp_store_mb(v->virt.mode, VIRT_IN_GUEST);
	if (likely(!must_not_enter(v))) {
		if (unlikely(events_waiting(v)) && !take_chip_interrupt(v))
			decide_entry(v, &plan);
		if (likely(plan.step == STEP_ENTER)) {
			vtime_account_guest_enter();
			enter_guest(v);
			*entered = true;
		}
	}
	WRITE_ONCE(v->virt.mode, VIRT_OUTSIDE);
	/* Interrupts that ended the guest are taken here, and their time is the guest's. */
	local_irq_enable();
	if (*entered)
		vtime_account_guest_exit();
	virt_srcu_resume(&v->virt);
	preempt_enable();
	return plan.step == STEP_ENTER ? EXIT_RESUME : decide_perform(v, &plan);
}

/*
 * TIF_NOTIFY_RESUME. The kernel does that work on the way to user mode, and only there can it be
 * asked to. So KVM_RUN returns, and the system call begins again behind userspace's back. What
 * matters to user mode alone can wait until the thread gets there.
 */
static enum exit_result resume_work(struct vcpu *v)
{
	if (!test_and_clear_thread_flag(TIF_NOTIFY_RESUME))
		return EXIT_RESUME;
	/* Cleared before the look, which pairs with task_work_add(). */
	smp_mb__after_atomic();
	v->resume_later = true;
	if (!resume_work_due())
		return EXIT_RESUME;
	/*
	 * Without a signal, this makes the way out look at the result. With one that has a handler,
	 * userspace gets -EINTR.
	 */
	set_thread_flag(TIF_NOTIFY_SIGNAL);
	v->virt.run->exit_reason = KVM_EXIT_INTR;
	return exit_error(v, -ERESTARTNOHAND);
}

/*
 * KVM_RUN is to end within an interrupt shadow: an instruction more, and there is none that
 * userspace has to keep. Tried once; what comes in between, or exits in another way, leaves the
 * shadow where it is.
 */
static bool leave_shadow(struct vcpu *v)
{
	struct event_view view;

	if (v->last_entry != LAST_ENTRY_NOT) {
		v->last_entry = LAST_ENTRY_TRIED;
		return false;
	}
	if (!leave_shadows || !backend_caps.leaves_shadow || v->guest_mode ||
	    v->cpu.debug.guest_debug || v->events.nmi_masked || !event_idle(&v->events))
		return false;
	vcpu_view(v, &view);
	if (!view.shadow || !view.gif)
		return false;
	v->last_entry = LAST_ENTRY_NOW;
	v->windows = true;	/* so that the entry asks for its end */
	return true;
}

static noinline enum exit_result do_host_work(struct vcpu *v)
{
	struct virt_vcpu *vv = &v->virt;

	if (need_resched()) {
		virt_srcu_pause(vv);
		schedule();
		virt_srcu_resume(vv);
	}
	if (!signal_pending(current))
		return resume_work(v);
	if (leave_shadow(v))
		return EXIT_RESUME;
	vv->run->exit_reason = KVM_EXIT_INTR;
	vv->stats.signal_exits++;
	return exit_error(v, -EINTR);
}

/* Signals and rescheduling; EXIT_ERROR with -EINTR if userspace is to see a signal. */
static __always_inline enum exit_result work_host(struct vcpu *v)
{
	return likely(!host_work()) ? EXIT_RESUME : do_host_work(v);
}

/* Before the exit is handled: afterwards the control block may be that of another level. */
static noinline u32 hardware_exit_reason(struct vcpu *v)
{
	u64 info1, info2;
	u32 reason;

	backend_call(exit_info)(v, &reason, &info1, &info2);
	return reason;
}

static enum exit_result exit_each(struct vcpu *v, u32 reason)
{
	struct kvm_run *run = v->virt.run;

	run->exit_reason = STRATA_EXIT_EACH;
	run->hw.hardware_exit_reason = reason;
	return EXIT_TO_USER;
}

/*
 * Has the event been delivered that was to be? Where something came in between, userspace sees a
 * stop later.
 */
static enum exit_result stepped_event(struct vcpu *v, enum exit_result r)
{
	v->steps_event = false;
	return r != EXIT_RESUME || v->events.delivering.type || v->events.exception.type ? r : exit_debug(v, DR_STEP);
}

static __always_inline enum exit_result run_once(struct vcpu *v)
{
	enum exit_result r = EXIT_RESUME;
	u32 reason = 0;
	bool entered;

	if (unlikely(READ_ONCE(v->virt.requests)))
		r = work_requests(v);
	if (r == EXIT_RESUME)
		r = work_host(v);
	if (unlikely(decide_lacks_length(&v->events)) && r == EXIT_RESUME)
		r = decide_find_length(v);
	if (r != EXIT_RESUME)
		return r;
	if (unlikely(v->pv.vapic))
		vapic_show(v);
	r = try_enter(v, &entered);
	if (r != EXIT_RESUME || !entered)
		return r;
	if (unlikely(v->pv.eoi_offered))
		eoi_collect(v, true);
	if (unlikely(v->pv.vapic))
		vapic_take(v);
	if (unlikely(v->exit_slow))
		reason = hardware_exit_reason(v);
	r = backend_call(handle_exit)(v);
	if (trace_strata_event_queued_enabled())
		decide_trace_raised(v);
	if (unlikely(v->steps_event))
		r = stepped_event(v, r);
	if (unlikely(v->exit_slow) && r == EXIT_RESUME && vcpu_vm(v)->exit_each)
		return exit_each(v, reason);
	return r;
}

/* ---- KVM_RUN ---- */

/* What userspace wrote into kvm_run or through ioctls since the last time becomes true. */
static enum exit_result settle(struct vcpu *v)
{
	struct kvm_run *run = v->virt.run;
	int ret;

	if (unlikely(READ_ONCE(run->kvm_valid_regs) | READ_ONCE(run->kvm_dirty_regs))) {
		ret = sync_regs_load(v);
		if (ret)
			return exit_error(v, ret);
	}
	if (vcpu_vm(v)->irqchip == IRQCHIP_NONE) {
		u64 cr8 = READ_ONCE(run->cr8);

		if (unlikely(cr8 != v->cr8) && cr_set_cr8(v, cr8))
			return exit_error(v, -EINVAL);
	}
	v->want_window =
		READ_ONCE(run->request_interrupt_window) && vcpu_vm(v)->irqchip != IRQCHIP_FULL;
	if (unlikely(event_run_begins(&v->events)))
		decide_settle_interrupt(v);
	/*
	 * Pending: only userspace can have it without a length. One in delivery is looked at by
	 * each round of the loop.
	 */
	if (unlikely(event_lacks_length(&v->events.exception)) && v->virt.wants_run) {
		enum exit_result r = decide_find_length(v);

		if (r != EXIT_RESUME)
			return r;
	}
	if (v->io.last.io.flags)
		io_last_begins(v);
	if (unlikely(v->cpu.pdptr_stale) && cr_settle(v))
		return exit_internal_error(v, KVM_INTERNAL_ERROR_EMULATION, vcpu_cr3(v),
					   vcpu_cr4(v));
	return v->io.kind == IO_NONE ? EXIT_RESUME : io_complete(v);
}

static bool ready_for_interrupt(struct vcpu *v)
{
	struct event_view view;

	/* The frequent reason against it is seen at once. */
	if (!(vcpu_rflags(v) & X86_EFLAGS_IF) && !v->guest_mode &&
	    vcpu_vm(v)->irqchip != IRQCHIP_FULL)
		return false;
	vcpu_view(v, &view);
	return event_ready(&v->events, &view);
}

/* What userspace reads in kvm_run. */
static __always_inline void report(struct vcpu *v)
{
	struct kvm_run *run = v->virt.run;

	run->ready_for_interrupt_injection = ready_for_interrupt(v);
	run->if_flag = !!(vcpu_rflags(v) & X86_EFLAGS_IF);
	run->flags = (v->events.smm ? KVM_RUN_X86_SMM : 0) | (v->guest_mode ? RUN_X86_GUEST_MODE : 0);
	run->cr8 = v->cr8;
	run->apic_base = v->apic_base;
	if (unlikely(READ_ONCE(run->kvm_valid_regs)))
		sync_regs_store(v);
}

/* ---- not runnable ---- */

/*
 * A SIPI starts the processor in real mode at its vector (SDM, "MP Initialization Protocol
 * Algorithm"); the rest is as INIT left it.
 */
static void start_at(struct vcpu *v, u8 vector)
{
	struct kvm_segment cs;

	backend_call(get_segment)(v, &cs, SEG_CS);
	cs.selector = vector << 8;
	cs.base = vector << 12;
	backend_call(set_segment)(v, &cs, SEG_CS);
	vcpu_set_reg(v, REG_RIP, 0);
	v->mp_state = KVM_MP_STATE_RUNNABLE;
}

/* What has come for a processor that waits for INIT or SIPI; *@waits if nothing has. */
static enum exit_result settle_start(struct vcpu *v, bool *waits)
{
	struct event_plan plan;
	struct event_view view;

	vcpu_view(v, &view);
	event_next(&v->events, &view, &plan);
	switch (plan.step) {
	case STEP_WAIT:
		*waits = true;
		return EXIT_RESUME;
	case STEP_SIPI:
		start_at(v, plan.event.vector);
		return EXIT_RESUME;
	default:
		return decide_perform(v, &plan);
	}
}

/* An SMI that comes first is taken within HLT: RSM may go back there. */
static bool smi_wakes(struct vcpu *v, const struct event_view *view)
{
	struct event_queue q = v->events;
	struct event_plan plan;

	event_next(&q, view, &plan);
	if (plan.step != STEP_SMI)
		return false;
	v->events = q;
	return true;
}

static enum exit_result settle_halt(struct vcpu *v, bool *waits)
{
	struct event_view view;

	vcpu_view(v, &view);
	view.chip_vector = v->apic && apic_holds(v->apic);
	*waits = !event_wakes(&v->events, &view) && !READ_ONCE(v->pv.kicked);
	if (*waits)
		return EXIT_RESUME;
	if (unlikely(v->events.smi) && smi_wakes(v, &view))
		return smm_enter(v);
	WRITE_ONCE(v->pv.kicked, false);
	v->mp_state = KVM_MP_STATE_RUNNABLE;
	return EXIT_RESUME;
}

/* A vCPU that waits for something runs when it comes. */
static enum exit_result wait_runnable(struct vcpu *v)
{
	while (v->mp_state != KVM_MP_STATE_RUNNABLE) {
		enum exit_result r = EXIT_RESUME;
		bool waits = false;

		if (READ_ONCE(v->virt.requests))
			r = work_requests(v);
		if (r == EXIT_RESUME)
			r = v->mp_state == KVM_MP_STATE_HALTED ? settle_halt(v, &waits) : settle_start(v, &waits);
		if (r == EXIT_RESUME && waits) {
			if (!v->virt.wants_run)
				return exit_error(v, -EINTR);
			halt_wait(v);
			r = work_host(v);
		}
		if (r != EXIT_RESUME)
			return r;
	}
	return EXIT_RESUME;
}

/* From here on CPUID is fixed. */
static void first_run(struct vcpu *v)
{
	v->cpu.has_run = true;
	v->emu_features = emu_guest_features(v);
}

int arch_vcpu_run(struct virt_vcpu *vv)
{
	struct vcpu *v = to_vcpu(vv);
	enum exit_result r;
	bool held;

	cpu_run_begin(v);
	if (unlikely(!v->cpu.has_run))
		first_run(v);
	v->exit_slow = vcpu_vm(v)->exit_each || !fast_exits;
	v->last_entry = LAST_ENTRY_NOT;
	/* A run that is to execute nothing leaves there what the last one said. */
	if (vv->wants_run)
		vv->run->exit_reason = KVM_EXIT_UNKNOWN;
	/* What the last run left behind has been told. */
	held = trace_strata_event_queued_enabled() && decide_raised(&v->events);
	r = settle(v);
	if (trace_strata_event_queued_enabled() && !held)
		decide_trace_raised(v);
	if (r == EXIT_RESUME && !vv->wants_run)
		r = exit_error(v, -EINTR);
	while (r == EXIT_RESUME)
		r = likely(v->mp_state == KVM_MP_STATE_RUNNABLE) ? run_once(v) : wait_runnable(v);
	/* What was read from a control block in the CPU is not to be trusted. */
	if (unlikely(test_bit(VIRT_REQ_OFF, &vv->requests)) && r == EXIT_TO_USER && vv->wants_run &&
	    !backend_caps.regs_in_memory)
		r = wait_for_end(v);
	cpu_run_end(v);
	if (unlikely(v->events.exception.type && v->events.delivering.type))
		decide_settle_events(v);
	report(v);
	if (unlikely(v->resume_later)) {
		v->resume_later = false;
		set_thread_flag(TIF_NOTIFY_RESUME);
	}
	if (trace_kvm_userspace_exit_enabled())
		trace_kvm_userspace_exit(vv->run->exit_reason, r == EXIT_TO_USER ? 0 : v->error);
	return r == EXIT_TO_USER ? 0 : v->error;
}
