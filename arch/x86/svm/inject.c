// SPDX-License-Identifier: GPL-2.0
/*
 * Events into and out of the VMCB.
 *
 * Soft events push the address after their instruction. RIP is moved over the instruction for the
 * entry, and moved back if the delivery is interrupted; with next-RIP save the VMCB says the same
 * address once more, for CPUs that go by it. All exceptions are intercepted for that entry: a
 * handler of the guest's must see the address of the instruction.
 */
#include "nested.h"

#include <linux/smp.h>
#include <trace/events/ipi.h>

static void intercept_exceptions(struct svm_vcpu *svm)
{
	svm->vmcb->control.intercepts[INTERCEPT_EXCEPTION] = ~(u32)BIT(X86_TRAP_NMI);
	vmcb_dirty(svm->vmcb, CLEAN_INTERCEPTS);
}

unsigned long svm_soft_return(struct svm_vcpu *svm)
{
	struct vcpu *v = &svm->vcpu;

	if (!v->events.run_pending)
		return vcpu_rip_add(v, v->events.delivering.len);
	return svm_caps.nrips && guest_has(v, GUEST_NRIPS) ? svm->nested.vmcb12->control.next_rip : vcpu_rip(v);
}

void svm_inject(struct vcpu *v)
{
	struct svm_vcpu *svm = to_svm(v);
	struct vmcb_control_area *c = &svm->vmcb->control;
	const struct event *e = &v->events.delivering;

	if (likely(e->type == EVENT_INTERRUPT)) {
		c->event_inj = e->vector | SVM_EVTINJ_TYPE_INTR | SVM_EVTINJ_VALID;
		return;
	}
	c->event_inj = svm_inject_info(e, v->events.run_pending, vcpu_rflags(v) & X86_EFLAGS_VM,
				       vcpu_cr0(v) & X86_CR0_PE);
	c->event_inj_err = e->error;
	if (!event_is_soft(e)) {
		/*
		 * Pushed for every #BP and #OF, also for those of userspace that no instruction
		 * raised.
		 */
		if (svm_caps.nrips)
			c->next_rip = vcpu_rip(v);
		return;
	}
	svm->soft = (struct svm_soft) {
		.moved = true, .type = e->type, .vector = e->vector, .from = vcpu_rip(v), .to = svm_soft_return(svm),
	};
	vcpu_set_reg(v, REG_RIP, svm->soft.to);
	if (svm_caps.nrips)
		c->next_rip = svm->soft.to;
	intercept_exceptions(svm);
}

/* RIP back to the instruction, if its soft event was not delivered. */
static void end_move(struct svm_vcpu *svm, const struct event *interrupted, u64 next_rip)
{
	struct vcpu *v = &svm->vcpu;
	unsigned long rip;

	if (!svm->soft.moved)
		return;
	rip = svm_soft_end(&svm->soft, interrupted, next_rip, v->regs[REG_RIP]);
	if (rip != v->regs[REG_RIP])
		vcpu_set_reg(v, REG_RIP, rip);
	svm_update_intercepts(v);
}

/* VMRUN refused the guest's state: nothing was delivered. */
void svm_injection_failed(struct svm_vcpu *svm)
{
	end_move(svm, &svm->vcpu.events.delivering, 0);
}

/**
 * svm_vectoring() - the event whose delivery the exit interrupted
 * @svm: the vCPU, just exited, interrupts off
 * @e: filled in; a soft event's length is 0 if only decoding can tell it
 *
 * APM vol. 2, "Events That Cause #VMEXIT During Event Delivery" (EXITINTINFO).
 */
void svm_vectoring(struct svm_vcpu *svm, struct event *e)
{
	struct vmcb_control_area *c = &svm->vmcb->control;

	svm_interrupted(c->exit_int_info, c->exit_int_info_err, &svm->vcpu.events.delivering, e);
	/*
	 * QEMU's TCG calls a virtual interrupt an exception, which has no such vector, and leaves
	 * it pending, too.
	 */
	if (unlikely(e->type == EVENT_EXCEPTION && e->vector > 31)) {
		e->type = EVENT_INTERRUPT;
		c->int_ctl &= ~V_IRQ_MASK;
	}
	end_move(svm, e, svm_caps.nrips ? c->next_rip : 0);
}

/*
 * The window of L0 takes the place of the virtual interrupt that L1 may have given L2, and gives it
 * back. Under V_INTR_MASKING it is L1's IF that counts, which nothing in L2 changes: only a shadow
 * can be in the way, or this very entry.
 */
static void nested_windows(struct svm_vcpu *svm, bool wanted)
{
	if (l2_masks(svm)) {
		if (wanted && (svm->vmcb01->save.rflags & X86_EFLAGS_IF))
			smp_send_reschedule(smp_processor_id());
		wanted = false;
	}
	if (likely(wanted == svm->nested.window))
		return;
	nested_sync_virq(svm);
	svm->nested.window = wanted;
	nested_put_virq(svm);
	nested_build_intercepts(svm);
}

static void windows(struct svm_vcpu *svm, bool wanted)
{
	struct vmcb *vmcb = svm->vmcb;

	if (wanted) {
		/*
		 * A virtual interrupt of the highest priority that TPR does not hold back: it exits
		 * when it could be taken.
		 */
		vmcb->control.int_ctl = (vmcb->control.int_ctl & ~V_INTR_PRIO_MASK) | V_IRQ_MASK |
					V_IGN_TPR_MASK | (0xf << V_INTR_PRIO_SHIFT);
		vmcb->control.int_vector = 0;
		vmcb_intercept(vmcb, INTERCEPT_VINTR);
	} else if (vmcb_intercepts(vmcb, INTERCEPT_VINTR)) {
		vmcb->control.int_ctl &= ~(V_IRQ_MASK | V_IGN_TPR_MASK | V_INTR_PRIO_MASK);
		vmcb_pass(vmcb, INTERCEPT_VINTR);
	}
}

void svm_windows(struct vcpu *v, const struct event_plan *p)
{
	struct svm_vcpu *svm = to_svm(v);
	bool gif = svm->nested.gif;

	/* What waits for GIF is looked at again at STGI, which exits. */
	if (unlikely(v->guest_mode))
		nested_windows(svm, p->irq_window && gif);
	else
		windows(svm, p->irq_window && gif);
	/*
	 * While NMIs are masked the IRET intercept tells the end. An event that goes in ends a
	 * shadow; any other is stepped over.
	 */
	if (p->trap_window ||
	    (p->nmi_window && gif && !v->events.nmi_masked && !v->events.delivering.type))
		svm->step = STEP_SHADOW;
}

/* Instructions that read or write the stepping TF are the emulator's. */
static const u8 step_intercepts[] = { INTERCEPT_PUSHF, INTERCEPT_POPF, INTERCEPT_INTn };

void svm_step_begin(struct svm_vcpu *svm)
{
	struct vcpu *v = &svm->vcpu;
	unsigned int i;

	/*
	 * What goes in now would push TF; and userspace may have set other registers. The IRET
	 * exits again where it is still due.
	 */
	if (v->events.delivering.type || (svm->step == STEP_IRET && svm->step_rip != vcpu_rip(v))) {
		svm->step = STEP_NOT;
		return;
	}
	svm->step_own_tf = vcpu_rflags(v) & X86_EFLAGS_TF;
	vcpu_set_reg(v, REG_RFLAGS, vcpu_rflags(v) | X86_EFLAGS_TF);
	/* Nor may an exception push it. */
	intercept_exceptions(svm);
	for (i = 0; i < ARRAY_SIZE(step_intercepts); i++)
		vmcb_intercept(svm->vmcb, step_intercepts[i]);
	if (svm->step == STEP_IRET)
		vmcb_pass(svm->vmcb, INTERCEPT_IRET);
	else
		vmcb_intercept(svm->vmcb, INTERCEPT_IRET);
}

/*
 * RFLAGS are the guest's again before anything looks at them; where the step is still due it is
 * planned anew.
 */
void svm_step_end(struct svm_vcpu *svm)
{
	bool over = svm->vmcb->control.exit_code == SVM_EXIT_EXCP_BASE + DB_VECTOR;
	struct vcpu *v = &svm->vcpu;
	unsigned int i;

	svm->stepped = over && !svm->step_own_tf;
	if (over && svm->step == STEP_IRET)
		event_nmi_unmask(&v->events);	/* and TF is what IRET loaded */
	else if (!svm->step_own_tf)
		vcpu_set_reg(v, REG_RFLAGS, vcpu_rflags(v) & ~X86_EFLAGS_TF);
	svm->step = STEP_NOT;
	for (i = 0; i < ARRAY_SIZE(step_intercepts); i++)
		vmcb_pass(svm->vmcb, step_intercepts[i]);
	svm_update_intercepts(v);
}

void svm_view(struct vcpu *v, struct event_view *view)
{
	struct svm_vcpu *svm = to_svm(v);

	view->gif = svm->nested.gif;
	/* As svm_shadow() says. */
	view->shadow = svm->vmcb->control.int_state & SVM_INTERRUPT_SHADOW_MASK ? SHADOW_STI | SHADOW_MOV_SS : 0;
	view->intr_open = vcpu_rflags(v) & X86_EFLAGS_IF;
	if (likely(!v->guest_mode))
		return;
	if (l2_masks(svm))
		view->intr_open = svm->vmcb01->save.rflags & X86_EFLAGS_IF;
	view->l1_exceptions = svm->nested.vmcb12->control.intercepts[INTERCEPT_EXCEPTION];
	view->l1_intr = l1_intercepts(svm, INTERCEPT_INTR);
	view->l1_nmi = l1_intercepts(svm, INTERCEPT_NMI);
	view->l1_smi = l1_intercepts(svm, INTERCEPT_SMI);
	view->l1_init = l1_intercepts(svm, INTERCEPT_INIT);
	view->l1_shutdown = l1_intercepts(svm, INTERCEPT_SHUTDOWN);
}
