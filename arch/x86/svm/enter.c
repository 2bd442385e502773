// SPDX-License-Identifier: GPL-2.0
/*
 * Entering the guest and coming back, with the exits that need neither sleep nor lock handled in
 * between.
 */
#include "nested.h"
#include "../trace_kvm.h"

#include "../../../include/compat/context.h"

#include <asm/msr.h>
#include <asm/nospec-branch.h>
#include <asm/spec-ctrl.h>

/*
 * Registers that the VMCB holds and that every exit copies out: few enough not to be worth a test
 * each.
 */
#define EXIT_AVAIL (GENMASK(REG_R15, REG_RAX) | BIT(REG_RIP) | BIT(REG_RFLAGS) | BIT(REG_CR4))

static __always_inline void regs_to_vmcb(struct vcpu *v, struct vmcb *vmcb)
{
	vmcb->save.rax = v->regs[REG_RAX];
	vmcb->save.rsp = v->regs[REG_RSP];
	vmcb->save.rip = v->regs[REG_RIP];
	vmcb->save.rflags = v->regs[REG_RFLAGS];
	vmcb->save.cr2 = v->cr2;
}

static __always_inline void regs_from_vmcb(struct vcpu *v, const struct vmcb *vmcb)
{
	v->regs[REG_RAX] = vmcb->save.rax;
	v->regs[REG_RSP] = vmcb->save.rsp;
	v->regs[REG_RIP] = vmcb->save.rip;
	v->regs[REG_RFLAGS] = vmcb->save.rflags;
	v->cr2 = vmcb->save.cr2;
	v->regs_avail = EXIT_AVAIL;
	v->regs_dirty = 0;
}

static __always_inline void world_switch(struct svm_vcpu *svm)
{
	guest_context_enter(&svm->vcpu.rcu_noted);
	asm volatile("clgi" ::: "memory");
	svm_world_switch(&svm->sw);
	asm volatile("stgi" ::: "memory");
	guest_context_exit();
}

/*
 * SPEC_CTRL: switched by the CPU where it can; else the guest's writes exit, and it is switched by
 * hand if the values differ.
 */
static __always_inline void spec_ctrl_prepare(struct svm_vcpu *svm)
{
	if (svm_caps.virt_spec_ctrl) {
		svm->vmcb->save.spec_ctrl = svm->vcpu.cpu.spec_ctrl;
		return;
	}
	if (!cpu_feature_enabled(X86_FEATURE_MSR_SPEC_CTRL))
		return;
	svm->sw.guest_spec = svm->vcpu.cpu.spec_ctrl;
	svm->sw.host_spec = this_cpu_read(x86_spec_ctrl_current);
	svm->sw.spec_switch = svm->sw.guest_spec != svm->sw.host_spec;
}

/*
 * What the CPU says about the event that went in. True: it is over, and nothing else is on its way.
 */
static bool finish_events(struct svm_vcpu *svm)
{
	struct vmcb_control_area *c = &svm->vmcb->control;
	struct event_queue *q = &svm->vcpu.events;
	bool l1s = q->run_pending, masked = q->nmi_masked;
	struct event vectoring;

	c->event_inj = 0;
	if (c->exit_code == (u32)SVM_EXIT_ERR) {
		svm_injection_failed(svm);
		return false;
	}
	svm_vectoring(svm, &vectoring);
	vcpu_event_exit(&svm->vcpu, &vectoring);
	/* An NMI that L1 injects does not block further NMIs (APM vol. 2, "Event Injection"). */
	if (l1s)
		q->nmi_masked = masked;
	return event_idle(q) && !svm->vcpu.guest_mode;
}

/* Without virtual NMIs the end of an NMI handler is seen by its IRET. */
static void intercept_iret(struct svm_vcpu *svm, bool on)
{
	if (on)
		vmcb_intercept(svm->vmcb, INTERCEPT_IRET);
	else if (!svm->vcpu.guest_mode || !l1_intercepts(svm, INTERCEPT_IRET))
		vmcb_pass(svm->vmcb, INTERCEPT_IRET);
}

void svm_enter(struct vcpu *v)
{
	struct svm_vcpu *svm = to_svm(v);
	struct vmcb *vmcb = svm->vmcb;
	bool ssbd = v->cpu.virt_spec_ctrl,
	     flushing = svm->asid->gen != this_cpu_read(svm_cpu.asids.gen);

	if (unlikely(flushing))
		svm_new_asid(svm);
	spec_ctrl_prepare(svm);
	if (vmcb->save.dr6 != v->cpu.debug.dr6) {
		vmcb->save.dr6 = v->cpu.debug.dr6;
		vmcb_dirty(vmcb, CLEAN_DR);
	}
	if (likely(!svm->own_tpr))
		vmcb->control.int_ctl = (vmcb->control.int_ctl & ~V_TPR_MASK) | v->cr8;
	if (unlikely(v->events.nmi_masked != vmcb_intercepts(vmcb, INTERCEPT_IRET)))
		intercept_iret(svm, v->events.nmi_masked);
	if (unlikely(svm->step))
		svm_step_begin(svm);
	if (unlikely(ssbd))
		x86_spec_ctrl_set_guest(v->cpu.virt_spec_ctrl);
	do {
		trace_kvm_entry(v);
		regs_to_vmcb(v, vmcb);
		world_switch(svm);
		regs_from_vmcb(v, vmcb);
		v->virt.stats.exits++;
		trace_kvm_exit(v);
		vmcb->control.tlb_ctl = 0;
		vmcb->control.clean = svm_caps.clean_bits ? CLEAN_KEPT : 0;
		if (unlikely(vmcb->control.event_inj | vmcb->control.exit_int_info |
			     v->events.delivering.type | v->events.run_pending)) {
			if (!finish_events(svm))
				break;
		}
	} while (svm_fast_exit(svm));
	/*
	 * The CPU need not have flushed for an entry that it refused, and whoever gets the next
	 * ASID relies on that.
	 */
	if (unlikely(flushing) && vmcb->control.exit_code == (u32)SVM_EXIT_ERR)
		svm_asids_reset(&this_cpu_ptr(&svm_cpu)->asids, svm_caps.nr_asids);
	if (unlikely(svm->step))
		svm_step_end(svm);
	if (unlikely(ssbd))
		x86_spec_ctrl_restore_host(v->cpu.virt_spec_ctrl);
	if (svm_caps.virt_spec_ctrl)
		v->cpu.spec_ctrl = vmcb->save.spec_ctrl;
	if (likely(!svm->own_tpr))
		v->cr8 = vmcb->control.int_ctl & V_TPR_MASK;
	if (cpu_feature_enabled(X86_FEATURE_IBPB_EXIT_TO_USER))
		this_cpu_write(x86_ibpb_exit_to_user, true);
}

void svm_after_enter(struct vcpu *v)
{
	struct vmcb *vmcb = to_svm(v)->vmcb;

	/*
	 * NMIs were taken at STGI and interrupts come when the caller enables them; a machine check
	 * was consumed by the exit and is raised again for the host.
	 */
	if (unlikely(vmcb->control.exit_code == SVM_EXIT_EXCP_BASE + MC_VECTOR))
		asm volatile("int $18");
}
