// SPDX-License-Identifier: GPL-2.0
/*
 * Entering the guest and coming back, with the exits that need neither sleep nor lock handled in
 * between.
 */
#include "vmx.h"
#include "host_event.h"
#include "insn.h"
#include "../trace_kvm.h"

#include "../../../include/compat/context.h"

#include <asm/debugreg.h>
#include <asm/msr.h>
#include <asm/nospec-branch.h>
#include <asm/spec-ctrl.h>
#include <asm/special_insns.h>

/*
 * General registers but RSP are there after every exit; what the VMCS holds is read when somebody
 * asks.
 */
#define EXIT_AVAIL (GENMASK(15, 0) & ~BIT(REG_RSP))
#define RARELY_DIRTY (BIT(REG_RSP) | BIT(REG_RFLAGS) | BIT(REG_PDPTR))

/*
 * An entry refuses a shadow with TF set and no single-step trap pending, and the contrary; and
 * STI's with IF clear, which userspace can bring about between two runs (SDM, "Checks on Guest
 * Non-Register State").
 */
static noinline void fix_shadow(struct vmx_vcpu *vmx)
{
	unsigned long pending, was;
	bool step;

	if ((vmx_shadow(&vmx->vcpu) & SHADOW_STI) && !(vcpu_rflags(&vmx->vcpu) & X86_EFLAGS_IF))
		vmx_write_shadow(&vmx->vcpu, 0);
	vmx->fix_shadow = false;
	if (!vmx_shadow(&vmx->vcpu))
		return;
	step = (vcpu_rflags(&vmx->vcpu) & X86_EFLAGS_TF) &&
	       !(vmread(GUEST_IA32_DEBUGCTL) & DEBUGCTLMSR_BTF);
	was = vmread(GUEST_PENDING_DBG_EXCEPTIONS);
	pending = (was & ~DR_STEP) | (step ? DR_STEP : 0);
	if (pending != was)
		vmwrite(GUEST_PENDING_DBG_EXCEPTIONS, pending);
}

/* "Blocking by NMI" follows the queue; an NMI that goes in now must not find it set. */
static noinline void write_nmi_blocking(struct vmx_vcpu *vmx, bool blocked)
{
	vmx_set_blocking(vmx, (vmx->blocking & ~GUEST_INTR_STATE_NMI) | (blocked ? GUEST_INTR_STATE_NMI : 0));
}

static __always_inline void sync_nmi_blocking(struct vmx_vcpu *vmx)
{
	const struct event_queue *q = &vmx->vcpu.events;
	bool blocked = q->nmi_masked && q->delivering.type != EVENT_NMI;

	if (unlikely(blocked != !!(vmx->blocking & GUEST_INTR_STATE_NMI)))
		write_nmi_blocking(vmx, blocked);
}

static __always_inline void regs_to_vmcs(struct vmx_vcpu *vmx)
{
	struct vcpu *v = &vmx->vcpu;

	if (likely(v->regs_dirty & BIT(REG_RIP)))
		vmwrite(GUEST_RIP, v->regs[REG_RIP]);
	if (unlikely(v->regs_dirty & RARELY_DIRTY))
		vmx_write_regs(vmx);
	if (unlikely(vmx->fix_shadow))
		fix_shadow(vmx);
}

static __always_inline bool world_switch(struct vmx_vcpu *vmx)
{
	struct vcpu *v = &vmx->vcpu;
	bool failed;

	guest_context_enter(&v->rcu_noted);
	if (static_branch_unlikely(&vmx_l1d_wanted))
		vmx_l1d_flush(vmx);
	if (v->cr2 != native_read_cr2())
		native_write_cr2(v->cr2);
	failed = vmx_world_switch(&vmx->sw);
	v->cr2 = native_read_cr2();
	guest_context_exit();
	return failed;
}

/*
 * SPEC_CTRL by hand: the guest's writes exit. With IBRS the host's value must be written after
 * every exit to take effect again.
 */
static __always_inline void spec_ctrl_prepare(struct vmx_vcpu *vmx)
{
	if (!cpu_feature_enabled(X86_FEATURE_MSR_SPEC_CTRL))
		return;
	vmx->sw.guest_spec = vmx->vcpu.cpu.spec_ctrl;
	vmx->sw.host_spec = this_cpu_read(x86_spec_ctrl_current);
	vmx->sw.spec_switch = vmx->sw.guest_spec != vmx->sw.host_spec ||
			      cpu_feature_enabled(X86_FEATURE_KERNEL_IBRS);
}

void vmx_take_held_traps(struct vmx_vcpu *vmx)
{
	vmx->vcpu.events.pending_dbg |= vmx_take_pending_dbg(&vmx->vcpu);
	vmx->fix_shadow = true;
}

/* What the CPU says about the event that went in, and about traps. */
static noinline void finish_events(struct vmx_vcpu *vmx)
{
	struct event vectoring;

	vmx_vectoring(vmx, &vectoring);
	vcpu_event_exit(&vmx->vcpu, &vectoring);
	if (vmx->blocking & GUEST_INTR_STATE_MOV_SS)
		vmx_take_held_traps(vmx);
}

/*
 * The CPU entered and came back: what it says about registers and events. Returns false if an event
 * was under way.
 */
static __always_inline bool entered(struct vmx_vcpu *vmx)
{
	struct vcpu *v = &vmx->vcpu;

	vmx->sw.launched = 1;
	v->regs_avail = EXIT_AVAIL;
	v->regs_dirty = 0;
	vmx->segs_avail = 0;
	vmx->blocking = vmread(GUEST_INTERRUPTIBILITY_INFO);
	v->virt.stats.exits++;
	/* Nearly every other exit needs both. */
	if (vmx->reason != EXIT_REASON_EXTERNAL_INTERRUPT) {
		v->regs[REG_RIP] = vmread(GUEST_RIP);
		v->regs[REG_RFLAGS] = vmread(GUEST_RFLAGS);
		v->regs_avail |= BIT(REG_RIP) | BIT(REG_RFLAGS);
	}
	if (vmx->reason == EXIT_REASON_EXCEPTION_NMI)
		vmx->intr_info = vmread(VM_EXIT_INTR_INFO);
	trace_kvm_exit(v);
	if (likely(!((vmread(IDT_VECTORING_INFO_FIELD) & VECTORING_INFO_VALID_MASK) |
		     v->events.delivering.type | (vmx->blocking & GUEST_INTR_STATE_MOV_SS))))
		return true;
	finish_events(vmx);
	return false;
}

/* The timer of the guest's local APIC */
static __always_inline void timer_prepare(struct vmx_vcpu *vmx)
{
	const struct vcpu_apic *a = vmx->vcpu.apic;

	if (a && a->due)
		vmx_timer_due(vmx, a->due);
	else if (unlikely(vmx->timer != vmx_timer_longest))
		vmx_timer_default(vmx);
}

static __always_inline bool enter_once(struct vmx_vcpu *vmx)
{
	bool vmfail;

	trace_kvm_entry(&vmx->vcpu);
	/* Each exit has switched it on again. */
	if (static_branch_unlikely(&vmx_perf_wanted) && unlikely(vmx->pebs_off))
		native_wrmsrl(MSR_IA32_PEBS_ENABLE, 0);
	timer_prepare(vmx);
	regs_to_vmcs(vmx);
	vmfail = world_switch(vmx);
	vmx->reason = vmfail ? VMX_EXIT_VMFAIL : vmread(VM_EXIT_REASON);
	if (unlikely(vmx->reason & VMX_EXIT_REASONS_FAILED_VMENTRY)) {
		/* Neither registers nor events moved. */
		vmwrite(VM_ENTRY_INTR_INFO_FIELD, 0);
		vmx_take_held_traps(vmx);
		if (vmfail)
			vmx_perf_vmfail(vmx);
		return false;
	}
	return entered(vmx) && vmx_fast_exit(vmx);
}

/* VM exits clear DEBUGCTL and DR7; what the host had there comes back. */
static __always_inline void restore_debug(const struct vcpu *v, u64 debugctl)
{
	if (unlikely(debugctl))
		wrmsrl(MSR_IA32_DEBUGCTLMSR, debugctl);
	/* debug_load_host() does it if the guest's registers were loaded. */
	if (unlikely(hw_breakpoint_active()) && !(v->cpu.debug.active | v->cpu.debug.guest_owned))
		hw_breakpoint_restore();
}

void vmx_enter(struct vcpu *v)
{
	struct vmx_vcpu *vmx = to_vmx(v);
	/*
	 * Only where NMIs are blocked, or one goes in, can they be afterwards: Bochs has those of
	 * an earlier guest still blocked.
	 */
	bool may_block = v->events.nmi_masked || v->events.delivering.type == EVENT_NMI;
	u64 debugctl;

	vmx_host_save(vmx);
	if (unlikely(vmx->flush))
		vmx_flush_now(vmx);
	sync_nmi_blocking(vmx);
	spec_ctrl_prepare(vmx);
	vmx_apic_prepare(vmx);
	if (static_branch_unlikely(&vmx_perf_wanted))
		vmx_perf_switch(vmx);
	debugctl = native_read_msr(MSR_IA32_DEBUGCTLMSR);
	while (enter_once(vmx))
		;
	vmx_apic_finish(vmx);
	restore_debug(v, debugctl);
	if (unlikely(vmx->pml && (READ_ONCE(vcpu_vm(v)->mmu.logs_writes) ||
				  vmx->reason == EXIT_REASON_PML_FULL)))
		vmx_pml_drain(vmx);
	vmx->exit_soon = false;
	if (likely(!(vmx->reason & VMX_EXIT_REASONS_FAILED_VMENTRY)))
		event_nmi_set_masked(&v->events,
				     may_block && (vmx->blocking & GUEST_INTR_STATE_NMI));
	if (cpu_feature_enabled(X86_FEATURE_IBPB_EXIT_TO_USER))
		this_cpu_write(x86_ibpb_exit_to_user, true);
}

/*
 * External interrupts are not acknowledged by the exit: they come when the caller enables
 * interrupts. NMIs are, and NMIs stay blocked until the handler's IRET; a machine check was
 * consumed too and is raised again for the host.
 */
void vmx_after_enter(struct vcpu *v)
{
	const struct vmx_vcpu *vmx = to_vmx(v);

	switch (vmx_host_event(vmx->reason, vmx->intr_info)) {
	case VMX_HOST_NMI:
		vmx_host_nmi();
		break;
	case VMX_HOST_MACHINE_CHECK:
		asm volatile("int $18");
		break;
	case VMX_HOST_NOTHING:
		break;
	}
}
