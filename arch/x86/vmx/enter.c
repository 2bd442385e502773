// SPDX-License-Identifier: GPL-2.0
/*
 * Entering the guest and coming back, with the exits that need neither sleep nor lock handled in between.
 */
#include "vmx.h"
#include "insn.h"

#include <linux/context_tracking.h>
#include <linux/rcupdate.h>
#include <asm/debugreg.h>
#include <asm/msr.h>
#include <asm/nospec-branch.h>
#include <asm/spec-ctrl.h>
#include <asm/special_insns.h>

/* General registers but RSP are there after every exit; what the VMCS holds is read when somebody asks. */
#define EXIT_AVAIL (GENMASK(15, 0) & ~BIT(REG_RSP))
#define RARELY_DIRTY (BIT(REG_RSP) | BIT(REG_RFLAGS) | BIT(REG_PDPTR))

/* An entry refuses a shadow with TF set and no single-step trap pending, and the contrary (SDM, "Checks on Guest Non-Register State"). */
static noinline void fix_pending_debug(struct vmx_vcpu *vmx)
{
	unsigned long pending, was;
	bool step;

	vmx->fix_debug = false;
	if (!vmx_shadow(&vmx->vcpu))
		return;
	step = (vcpu_rflags(&vmx->vcpu) & X86_EFLAGS_TF) && !(vmread(GUEST_IA32_DEBUGCTL) & DEBUGCTLMSR_BTF);
	was = vmread(GUEST_PENDING_DBG_EXCEPTIONS);
	pending = (was & ~DR_STEP) | (step ? DR_STEP : 0);
	if (pending != was)
		vmwrite(GUEST_PENDING_DBG_EXCEPTIONS, pending);
}

/* "Blocking by NMI" follows the queue; an NMI that goes in now must not find it set. */
static noinline void write_nmi_blocking(struct vmx_vcpu *vmx, bool blocked)
{
	u32 state = vmread(GUEST_INTERRUPTIBILITY_INFO) & ~GUEST_INTR_STATE_NMI;

	vmwrite(GUEST_INTERRUPTIBILITY_INFO, state | (blocked ? GUEST_INTR_STATE_NMI : 0));
	vmx->nmi_in_vmcs = blocked;
}

static __always_inline void sync_nmi_blocking(struct vmx_vcpu *vmx)
{
	const struct event_queue *q = &vmx->vcpu.events;
	bool blocked = q->nmi_masked && q->delivering.type != EVENT_NMI;

	if (unlikely(blocked != vmx->nmi_in_vmcs))
		write_nmi_blocking(vmx, blocked);
}

static __always_inline void regs_to_vmcs(struct vmx_vcpu *vmx)
{
	struct vcpu *v = &vmx->vcpu;

	if (likely(v->regs_dirty & BIT(REG_RIP)))
		vmwrite(GUEST_RIP, v->regs[REG_RIP]);
	if (unlikely(v->regs_dirty & RARELY_DIRTY))
		vmx_write_regs(vmx);
	if (unlikely(vmx->fix_debug))
		fix_pending_debug(vmx);
}

static __always_inline bool world_switch(struct vmx_vcpu *vmx, bool first)
{
	struct vcpu *v = &vmx->vcpu;
	bool failed;

	/* Once is enough: the tick ends the loop of fast exits. */
	if (!context_tracking_guest_enter() && first)
		rcu_note_context_switch(false);
	vmx_l1d_flush(vmx);
	if (v->cr2 != native_read_cr2())
		native_write_cr2(v->cr2);
	failed = vmx_world_switch(&vmx->sw);
	v->cr2 = native_read_cr2();
	context_tracking_guest_exit();
	return failed;
}

/* SPEC_CTRL by hand: the guest's writes exit. With IBRS the host's value must be written after every exit to take effect again. */
static __always_inline void spec_ctrl_prepare(struct vmx_vcpu *vmx)
{
	if (!cpu_feature_enabled(X86_FEATURE_MSR_SPEC_CTRL))
		return;
	vmx->sw.guest_spec = vmx->vcpu.cpu.spec_ctrl;
	vmx->sw.host_spec = this_cpu_read(x86_spec_ctrl_current);
	vmx->sw.spec_switch = vmx->sw.guest_spec != vmx->sw.host_spec || cpu_feature_enabled(X86_FEATURE_KERNEL_IBRS);
}

/* The CPU entered and came back: what it says about registers and events. Returns false if an event was under way. */
static __always_inline bool entered(struct vmx_vcpu *vmx)
{
	struct vcpu *v = &vmx->vcpu;
	struct event vectoring;

	vmx->sw.launched = 1;
	v->regs_avail = EXIT_AVAIL;
	v->regs_dirty = 0;
	vmx->segs_avail = 0;
	v->virt.stats.exits++;
	if (vmx->reason == EXIT_REASON_EXCEPTION_NMI)
		vmx->intr_info = vmread(VM_EXIT_INTR_INFO);
	if (likely(!((vmread(IDT_VECTORING_INFO_FIELD) & VECTORING_INFO_VALID_MASK) | v->events.delivering.type)))
		return true;
	vmx_vectoring(vmx, &vectoring);
	event_exit(&v->events, &vectoring);
	return false;
}

static __always_inline bool enter_once(struct vmx_vcpu *vmx, bool first)
{
	bool vmfail;

	regs_to_vmcs(vmx);
	vmfail = world_switch(vmx, first);
	vmx->reason = vmfail ? VMX_EXIT_VMFAIL : vmread(VM_EXIT_REASON);
	if (unlikely(vmx->reason & VMX_EXIT_REASONS_FAILED_VMENTRY)) {
		/* Neither registers nor events moved. */
		vmwrite(VM_ENTRY_INTR_INFO_FIELD, 0);
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
	bool first = true;
	u64 debugctl;

	vmx_host_save(vmx);
	if (unlikely(vmx->flush))
		vmx_flush_now(vmx);
	sync_nmi_blocking(vmx);
	spec_ctrl_prepare(vmx);
	rdmsrl(MSR_IA32_DEBUGCTLMSR, debugctl);
	while (enter_once(vmx, first))
		first = false;
	restore_debug(v, debugctl);
	if (unlikely(vmx->exit_soon))
		vmx_exit_soon(vmx, false);
	vmx->nmi_in_vmcs = vmread(GUEST_INTERRUPTIBILITY_INFO) & GUEST_INTR_STATE_NMI;
	if (likely(!(vmx->reason & VMX_EXIT_REASONS_FAILED_VMENTRY)))
		event_nmi_set_masked(&v->events, vmx->nmi_in_vmcs);
	if (cpu_feature_enabled(X86_FEATURE_IBPB_EXIT_TO_USER))
		this_cpu_write(x86_ibpb_exit_to_user, true);
}

/*
 * External interrupts are not acknowledged by the exit: they come when the caller enables interrupts. NMIs are, and NMIs stay
 * blocked until the handler's IRET; a machine check was consumed too and is raised again for the host.
 */
void vmx_after_enter(struct vcpu *v)
{
	struct vmx_vcpu *vmx = to_vmx(v);
	u32 info = vmx->intr_info;

	if (vmx->reason == EXIT_REASON_EXCEPTION_NMI) {
		if ((info & INTR_INFO_INTR_TYPE_MASK) == INTR_TYPE_NMI_INTR)
			vmx_host_nmi();
		else if ((info & INTR_INFO_VECTOR_MASK) == MC_VECTOR)
			asm volatile("int $18");
	} else if (unlikely((u16)vmx->reason == EXIT_REASON_MCE_DURING_VMENTRY)) {
		asm volatile("int $18");
	}
}
