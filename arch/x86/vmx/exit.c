// SPDX-License-Identifier: GPL-2.0
/*
 * VMX exits: what each exit reason means to the machine.
 */
#include "vmx.h"
#include "host_event.h"
#include "insn.h"
#include "../exit.h"
#include "../fast.h"
#include "../trace_kvm.h"

#include <linux/nospec.h>
#include <asm/cpu.h>
#include <asm/debugreg.h>
#include <asm/tlbflush.h>

/* ---- stepping over the instruction that exited ---- */

bool vmx_skip(struct vcpu *v)
{
	unsigned int len = vmread(VM_EXIT_INSTRUCTION_LEN);

	if (WARN_ON_ONCE(!len || len > 15))
		return false;
	vcpu_set_reg(v, REG_RIP, vcpu_rip_add(v, len));
	vmx_no_step_trap(v);
	if (unlikely(vmx_shadow(v)))
		vmx_write_shadow(v, 0);
	return true;
}

/* ---- exits that are handled with interrupts off ---- */

static __always_inline bool plain(struct vcpu *v)
{
	return fast_plain(v, vcpu_rflags(v));
}

/*
 * The exit is done. True if the guest may be entered again at once; there may be something to do
 * before, and then @vmx->reason says so.
 */
static __always_inline bool done(struct vmx_vcpu *vmx)
{
	if (likely(!fast_leaves_work(&vmx->vcpu)))
		return true;
	vmx->reason = VMX_EXIT_DONE;
	return false;
}

static noinline bool fast_wrmsr(struct vmx_vcpu *vmx)
{
	struct vcpu *v = &vmx->vcpu;
	u32 msr = v->regs[REG_RCX];

	if (!fast_msr(v, msr) || rcu_access_pointer(vcpu_vm(v)->cpu.msr_filter))
		return false;
	if (unlikely(v->pv.eoi_offered) && !eoi_collect(v, false))
		return false;
	vmx_apic_finish(vmx);
	if (msr_set(v, msr, vcpu_edx_eax(v), false) || !vmx_skip(v))
		return false;
	if (trace_kvm_msr_enabled())
		trace_kvm_msr(true, msr, vcpu_edx_eax(v), false);
	if (!done(vmx))
		return false;
	vmx_apic_prepare(vmx);
	return true;
}

static noinline bool fast_rdmsr(struct vcpu *v)
{
	u32 msr = v->regs[REG_RCX];
	u64 val;

	if (rcu_access_pointer(vcpu_vm(v)->cpu.msr_filter) || !msr_get_plain(v, msr, &val))
		return false;
	if (trace_kvm_msr_enabled())
		trace_kvm_msr(false, msr, val, false);
	vcpu_set_edx_eax(v, val);
	return vmx_skip(v);
}

static noinline bool fast_hypercall(struct vmx_vcpu *vmx)
{
	struct vcpu *v = &vmx->vcpu;
	long ret;

	if (!pv_hypercall(v, true, &ret))
		return false;
	v->virt.stats.hypercalls++;
	v->regs[REG_RAX] = vcpu_long_mode(v) ? ret : (u32)ret;
	return vmx_skip(v) && done(vmx);
}

/* Exit qualification of I/O instructions */
#define IO_SIZE(qual)	(((qual) & 7) + 1)
#define IO_IN		BIT(3)
#define IO_STRING	BIT(4)
#define IO_PORT(qual)	((qual) >> 16 & 0xffff)

static noinline bool fast_out(struct vmx_vcpu *vmx)
{
	unsigned long qual = vmread(EXIT_QUALIFICATION);
	struct vcpu *v = &vmx->vcpu;
	unsigned long rip = vcpu_rip(v);

	if ((qual & (IO_IN | IO_STRING)) || !io_doorbell(v, IO_PORT(qual), IO_SIZE(qual)) ||
	    !vmx_skip(v))
		return false;
	if (io_smi_waits(v))
		io_note_port(v, IO_PORT(qual), IO_SIZE(qual), false, rip);
	return done(vmx);
}

bool vmx_fast_exit(struct vmx_vcpu *vmx)
{
	struct vcpu *v = &vmx->vcpu;

	switch (vmx->reason) {
	case EXIT_REASON_CPUID:
		if (!plain(v))
			return false;
		cpuid_execute(v);
		return vmx_skip(v);
	case EXIT_REASON_MSR_WRITE:
		return plain(v) && fast_wrmsr(vmx);
	case EXIT_REASON_MSR_READ:
		return plain(v) && fast_rdmsr(v);
	case EXIT_REASON_VMCALL:
		return plain(v) && fast_hypercall(vmx);
	case EXIT_REASON_IO_INSTRUCTION:
		return io_has_doorbells(v) && plain(v) && fast_out(vmx);
	default:
		return false;
	}
}

/* ---- exceptions ---- */

/*
 * An exit inside an IRET that had already unblocked NMIs: the IRET runs again, so they are still
 * blocked (SDM, "Information for VM Exits Due to Vectored Events"). Not if an event's delivery was
 * interrupted: then it was not the IRET.
 */
static void reblock_nmi(struct vcpu *v)
{
	if (!v->events.delivering.type)
		event_nmi_set_masked(&v->events, true);
}

static enum exit_result on_db(struct vcpu *v, u32 info)
{
	const struct event icebp = { .type = EVENT_PRIV_EXCEPTION, .vector = DB_VECTOR, .len = vmread(VM_EXIT_INSTRUCTION_LEN) };

	if ((info & INTR_INFO_INTR_TYPE_MASK) == INTR_TYPE_PRIV_SW_EXCEPTION) {
		event_raise(&v->events, &icebp);
		return EXIT_RESUME;
	}
	/* The trap is over for the CPU, the shadow it came in is not. */
	to_vmx(v)->fix_shadow = true;
	return exit_debug(v, vmread(EXIT_QUALIFICATION) & (DR_TRAP_BITS | DR_STEP | DR_SWITCH |
							   DR6_BD_BIT | DR6_RTM_BIT));
}

static enum exit_result on_ac(struct vcpu *v, const struct event *e)
{
	bool own =
		vmx_cpl(v) == 3 && (vcpu_cr0(v) & X86_CR0_AM) && (vcpu_rflags(v) & X86_EFLAGS_AC);

	/* Not an alignment check of the guest's: the host detects split locks. */
	if (!own && boot_cpu_has(X86_FEATURE_SPLIT_LOCK_DETECT) &&
	    handle_guest_split_lock(vcpu_rip(v)))
		return EXIT_RESUME;
	event_raise(&v->events, e);
	return EXIT_RESUME;
}

/* An exception that only had to be seen: it is the guest's, unchanged. */
static enum exit_result on_other(struct vcpu *v, u32 info)
{
	u8 vector = info & INTR_INFO_VECTOR_MASK;
	bool soft = (info & INTR_INFO_INTR_TYPE_MASK) == INTR_TYPE_SOFT_EXCEPTION;
	struct event e = {
		.type = soft ? EVENT_SOFT_EXCEPTION : EVENT_EXCEPTION,
		.vector = vector,
		.len = soft ? vmread(VM_EXIT_INSTRUCTION_LEN) : 0,
		.has_error = info & INTR_INFO_DELIVER_CODE_MASK,
	};

	if (e.has_error)
		e.error = vmread(VM_EXIT_INTR_ERROR_CODE);
	if (vector == PF_VECTOR) {
		e.has_payload = true;
		e.payload = vmread(EXIT_QUALIFICATION);
	}
	if (vector == AC_VECTOR)
		return on_ac(v, &e);
	event_raise(&v->events, &e);
	return EXIT_RESUME;
}

static enum exit_result on_exception(struct vcpu *v)
{
	u32 info = to_vmx(v)->intr_info;
	u8 vector = info & INTR_INFO_VECTOR_MASK;

	if (vmx_irets_unblocking(info))
		reblock_nmi(v);
	/*
	 * after_enter() let the host have what was its own. A machine check comes before the traps
	 * of the instruction.
	 */
	if (vmx_host_event(EXIT_REASON_EXCEPTION_NMI, info) != VMX_HOST_NOTHING) {
		vmx_take_held_traps(to_vmx(v));
		return EXIT_RESUME;
	}
	switch (vector) {
	case DB_VECTOR:
		return on_db(v, info);
	case UD_VECTOR:
		return v->events.smm && emu_at_rsm(v) ? exit_rsm(v) : on_other(v, info);
	case BP_VECTOR:
		return exit_breakpoint(v, vmread(VM_EXIT_INSTRUCTION_LEN));
	default:
		return on_other(v, info);
	}
}

/* ---- the rest ---- */

static enum exit_result on_cpuid(struct vcpu *v) { return exit_cpuid(v); }
static enum exit_result on_hlt(struct vcpu *v) { return exit_hlt(v); }
static enum exit_result on_vmcall(struct vcpu *v) { return exit_hypercall(v); }
static enum exit_result on_xsetbv(struct vcpu *v) { return exit_xsetbv(v); }
static enum exit_result on_nop(struct vcpu *v) { return exit_nop(v); }
static enum exit_result on_pause(struct vcpu *v) { return exit_pause(v); }
static enum exit_result on_ud(struct vcpu *v) { return exit_ud(v); }
static enum exit_result on_rsm(struct vcpu *v) { return exit_rsm(v); }
static enum exit_result on_gp(struct vcpu *v) { return exit_gp(v); }
static enum exit_result on_triple(struct vcpu *v) { return exit_shutdown(v); }
static enum exit_result on_rdmsr(struct vcpu *v) { return exit_rdmsr(v); }
static enum exit_result on_wrmsr(struct vcpu *v) { return exit_wrmsr(v); }

static enum exit_result on_intr(struct vcpu *v)
{
	v->virt.stats.irq_exits++;
	return EXIT_RESUME;	/* it was taken when interrupts were enabled */
}

/*
 * The run loop looks at what there is to do; the traps of the instruction that lowered TPR come
 * first.
 */
static enum exit_result on_tpr_below(struct vcpu *v)
{
	vmx_take_held_traps(to_vmx(v));
	return EXIT_RESUME;
}

/* The local APIC's timer, or a time limit. */
static enum exit_result on_preemption_timer(struct vcpu *v)
{
	if (v->apic && v->apic->due)
		apic_timer_due(v);
	return EXIT_RESUME;
}

static enum exit_result on_irq_window(struct vcpu *v)
{
	v->virt.stats.irq_window_exits++;
	return EXIT_RESUME;	/* the next event_next() closes the window or uses it */
}

static enum exit_result on_nmi_window(struct vcpu *v)
{
	v->virt.stats.nmi_window_exits++;
	return EXIT_RESUME;
}

static enum exit_result on_io(struct vcpu *v)
{
	unsigned long qual = vmread(EXIT_QUALIFICATION);

	return exit_io(v, IO_PORT(qual), IO_SIZE(qual), qual & IO_IN, qual & IO_STRING);
}

/* Exit qualification of EPT violations */
#define EPT_WRITE	BIT(1)
#define EPT_FETCH	BIT(2)
#define EPT_PRESENT	(BIT(3) | BIT(4) | BIT(5))
#define EPT_LINEAR	(BIT(7) | BIT(8))	/* both: the translation of a linear address, not a table on the way to it */
#define EPT_UNBLOCK_NMI	BIT(12)

/*
 * The instruction runs again, and its breakpoint has been seen to: RF is saved as 1 (SDM, "Saving
 * RIP, RSP, RFLAGS, and SSP"). Bochs saves it as the fetch left it, 0.
 */
static noinline void keep_breakpoint_off(struct vcpu *v)
{
	unsigned long rflags = vcpu_rflags(v);

	if (!(rflags & X86_EFLAGS_RF) && !v->events.delivering.type)
		vcpu_set_reg(v, REG_RFLAGS, rflags | X86_EFLAGS_RF);
}

enum exit_result vmx_guest_access(struct vcpu *v, u64 gpa, u32 access)
{
	if (!vmx_shadow(v))
		vmx_no_step_trap(v);
	if (unlikely(v->cpu.debug.active | v->cpu.debug.guest_owned)) {
		keep_breakpoint_off(v);
		/*
		 * The access will be repeated, and hits again what it hit. Bochs has the hits
		 * pending all the same.
		 */
		vmx_take_pending_dbg(v);
	}
	return exit_page_fault(v, gpa, access);
}

/* Nothing is mapped where the registers are that the CPU could serve. */
static bool map_apic(struct vcpu *v, u64 gpa, u32 access)
{
	return to_vmx(v)->apicv == APICV_MMIO && (gpa & PAGE_MASK) == LAPIC_BASE_RESET &&
	       !(access & (ACCESS_FETCH | ACCESS_PRESENT)) && mmu_apic_page_map(v);
}

static enum exit_result on_ept_violation(struct vcpu *v)
{
	u64 gpa = vmread(GUEST_PHYSICAL_ADDRESS);
	unsigned long qual = vmread(EXIT_QUALIFICATION);
	u32 access = 0;

	if (qual & EPT_WRITE)
		access |= ACCESS_WRITE;
	if (qual & EPT_FETCH)
		access |= ACCESS_FETCH;
	if (qual & EPT_PRESENT)
		access |= ACCESS_PRESENT;
	if ((qual & EPT_LINEAR) == EPT_LINEAR)
		access |= ACCESS_FINAL;
	if (qual & EPT_UNBLOCK_NMI)
		reblock_nmi(v);
	return map_apic(v, gpa, access) ? EXIT_RESUME : vmx_guest_access(v, gpa, access);
}

/* It has been emptied. */
static enum exit_result on_pml_full(struct vcpu *v)
{
	if (vmread(EXIT_QUALIFICATION) & EPT_UNBLOCK_NMI)
		reblock_nmi(v);
	return EXIT_RESUME;
}

/* Our tables hold an entry that no EPT may hold. */
static enum exit_result on_ept_misconfig(struct vcpu *v)
{
	pr_err_ratelimited("strata: EPT misconfiguration at %lx\n", vmread(GUEST_PHYSICAL_ADDRESS));
	virt_vm_bugged(v->virt.vm);
	return exit_error(v, -EIO);
}

typedef enum exit_result (*exit_fn)(struct vcpu *v);

static const exit_fn exit_table[] = {
	[EXIT_REASON_EXCEPTION_NMI]		= on_exception,
	[EXIT_REASON_EXTERNAL_INTERRUPT]	= on_intr,
	[EXIT_REASON_TRIPLE_FAULT]		= on_triple,
	[EXIT_REASON_INTERRUPT_WINDOW]		= on_irq_window,
	[EXIT_REASON_NMI_WINDOW]		= on_nmi_window,
	[EXIT_REASON_TASK_SWITCH]		= vmx_on_task_switch,
	[EXIT_REASON_CPUID]			= on_cpuid,
	[VMX_EXIT_GETSEC]			= on_ud,
	[EXIT_REASON_HLT]			= on_hlt,
	[EXIT_REASON_INVD]			= on_nop,
	[EXIT_REASON_RDPMC]			= on_gp,
	[VMX_EXIT_RSM]				= on_rsm,
	[EXIT_REASON_VMCALL]			= on_vmcall,
	[EXIT_REASON_VMCLEAR]			= on_ud,
	[EXIT_REASON_VMLAUNCH]			= on_ud,
	[EXIT_REASON_VMPTRLD]			= on_ud,
	[EXIT_REASON_VMPTRST]			= on_ud,
	[EXIT_REASON_VMREAD]			= on_ud,
	[EXIT_REASON_VMRESUME]			= on_ud,
	[EXIT_REASON_VMWRITE]			= on_ud,
	[EXIT_REASON_VMOFF]			= on_ud,
	[EXIT_REASON_VMON]			= on_ud,
	[EXIT_REASON_CR_ACCESS]			= vmx_on_cr_access,
	[EXIT_REASON_DR_ACCESS]			= vmx_on_dr_access,
	[EXIT_REASON_IO_INSTRUCTION]		= on_io,
	[EXIT_REASON_MSR_READ]			= on_rdmsr,
	[EXIT_REASON_MSR_WRITE]			= on_wrmsr,
	[EXIT_REASON_MWAIT_INSTRUCTION]		= on_ud,
	[EXIT_REASON_MONITOR_INSTRUCTION]	= on_ud,
	[EXIT_REASON_PAUSE_INSTRUCTION]		= on_pause,
	[EXIT_REASON_TPR_BELOW_THRESHOLD]	= on_tpr_below,
	[EXIT_REASON_APIC_ACCESS]		= vmx_on_apic_access,
	[EXIT_REASON_EOI_INDUCED]		= vmx_on_eoi,
	[EXIT_REASON_APIC_WRITE]		= vmx_on_apic_write,
	[EXIT_REASON_EPT_VIOLATION]		= on_ept_violation,
	[EXIT_REASON_EPT_MISCONFIG]		= on_ept_misconfig,
	[EXIT_REASON_INVEPT]			= on_ud,
	[EXIT_REASON_PREEMPTION_TIMER]		= on_preemption_timer,
	[EXIT_REASON_INVVPID]			= on_ud,
	[EXIT_REASON_WBINVD]			= on_nop,
	[EXIT_REASON_XSETBV]			= on_xsetbv,
	[EXIT_REASON_PML_FULL]			= on_pml_full,
	[EXIT_REASON_VMFUNC]			= on_ud,
	[EXIT_REASON_ENCLS]			= on_ud,
	[VMX_EXIT_ENCLV]			= on_ud,
	[VMX_EXIT_SEAMCALL]			= on_ud,
	[VMX_EXIT_TDCALL]			= on_ud,
};

static enum exit_result entry_failed(struct vcpu *v, u32 reason)
{
	struct kvm_run *run = v->virt.run;
	u64 why = reason;

	if (reason == VMX_EXIT_VMFAIL) {
		if (!(cr4_read_shadow() & X86_CR4_VMXE))
			return exit_error(v, -EIO);	/* switched off for a reboot */
		why = vmread(VM_INSTRUCTION_ERROR);
	}
	vmx_dump(v);
	run->exit_reason = KVM_EXIT_FAIL_ENTRY;
	run->fail_entry.hardware_entry_failure_reason = why;
	run->fail_entry.cpu = v->virt.last_cpu;
	return EXIT_TO_USER;
}

static enum exit_result by_table(struct vcpu *v, u32 reason)
{
	exit_fn fn = NULL;

	if (reason < ARRAY_SIZE(exit_table))
		fn = exit_table[array_index_nospec(reason, ARRAY_SIZE(exit_table))];
	if (!fn)
		return exit_internal_error(v, KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON, reason,
					   v->virt.last_cpu);
	return fn(v);
}

static enum exit_result dispatch(struct vcpu *v, u32 reason)
{
	/* The frequent ones by direct calls. */
	switch (reason) {
	case EXIT_REASON_EPT_VIOLATION:		return on_ept_violation(v);
	case EXIT_REASON_IO_INSTRUCTION:	return on_io(v);
	case EXIT_REASON_EXTERNAL_INTERRUPT:	return on_intr(v);
	case EXIT_REASON_MSR_WRITE:		return exit_wrmsr(v);
	case EXIT_REASON_MSR_READ:		return exit_rdmsr(v);
	case EXIT_REASON_HLT:			return exit_hlt(v);
	default:				return by_table(v, reason);
	}
}

/*
 * The guest was left while it waited in a HLT of its own (KVM_X86_DISABLE_EXITS_HLT). Where it
 * waits from now on is mp_state, which the run loop and userspace know. Without a local APIC there
 * is no such state: the wait is over.
 */
static noinline void leave_halt(struct vcpu *v)
{
	if (vmread(GUEST_ACTIVITY_STATE) != GUEST_ACTIVITY_HLT)
		return;
	vmwrite(GUEST_ACTIVITY_STATE, GUEST_ACTIVITY_ACTIVE);
	if (v->apic)
		v->mp_state = KVM_MP_STATE_HALTED;
}

enum exit_result vmx_handle_exit(struct vcpu *v)
{
	struct vmx_vcpu *vmx = to_vmx(v);
	u32 reason = vmx->reason;
	u64 emulated = v->virt.stats.insn_emulation;
	enum exit_result r;

	if (unlikely(reason & VMX_EXIT_REASONS_FAILED_VMENTRY))
		return entry_failed(v, reason);
	if (unlikely(vcpu_vm(v)->disabled_exits & KVM_X86_DISABLE_EXITS_HLT))
		leave_halt(v);
	r = likely(reason != VMX_EXIT_DONE) ? dispatch(v, (u16)reason) : EXIT_RESUME;
	/* Userspace and the emulator bring data into the cache that is not this guest's. */
	if (r != EXIT_RESUME || v->virt.stats.insn_emulation != emulated)
		vmx->l1d_dirty = true;
	return r;
}

void vmx_exit_info(struct vcpu *v, u32 *reason, u64 *info1, u64 *info2)
{
	*reason = to_vmx(v)->reason;
	*info1 = vmread(EXIT_QUALIFICATION);
	*info2 = to_vmx(v)->reason == EXIT_REASON_EXCEPTION_NMI ? to_vmx(v)->intr_info : 0;
}
