// SPDX-License-Identifier: GPL-2.0
/*
 * L2 has exited, or an event is L1's: whose exit it is.
 *
 * The number of an exit code is the number of its intercept bit, so that the rule for most is L1's
 * bit. The table has the others.
 */
#include "nested.h"
#include "nested_decode.h"
#include "../exit.h"

#include <linux/nospec.h>

enum verdict {
	BY_BIT,		/* L1's, if L1 intercepts it */
	HOST,		/* the host's: what it is to L1 the event queue decides */
	BY_MSR_MAP,
	BY_IO_MAP,
	BY_WINDOW,	/* L0's while it waits for a window */
	BY_STEP,	/* L0's if it is the end of a step of L0's, or what userspace debugs with */
	BY_BREAKPOINT,	/* userspace's, if it has breakpoints */
};

static const u8 verdicts[SVM_EXIT_INVPCID + 1] = {
	[SVM_EXIT_INTR]				= HOST,
	[SVM_EXIT_NMI]				= HOST,
	[SVM_EXIT_SMI]				= HOST,
	[SVM_EXIT_INIT]				= HOST,
	[SVM_EXIT_EXCP_BASE + MC_VECTOR]	= HOST,
	[SVM_EXIT_EXCP_BASE + DB_VECTOR]	= BY_STEP,
	[SVM_EXIT_EXCP_BASE + BP_VECTOR]	= BY_BREAKPOINT,
	[SVM_EXIT_VINTR]			= BY_WINDOW,
	[SVM_EXIT_MSR]				= BY_MSR_MAP,
	[SVM_EXIT_IOIO]				= BY_IO_MAP,
};

/* A bit of a map of L1's; what cannot be read is intercepted. */
static bool map_bits(struct svm_vcpu *svm, u64 map, unsigned int bit, u16 mask)
{
	u8 bytes[2];

	/* The bits of an access to several ports may lie in two bytes, even in two pages. */
	if (virt_guest_read(&svm->vcpu.virt, (map & PAGE_MASK) + bit / 8, bytes, sizeof(bytes)))
		return true;
	return (bytes[0] | bytes[1] << 8) >> bit % 8 & mask;
}

/* Interrupts off: a read of an MSR that is certain not to be L1's */
static bool fast_rdmsr_is_own(struct svm_vcpu *svm)
{
	int bit = svm_msrpm_bit(svm->vcpu.regs[REG_RCX]);
	u8 byte;

	if (svm->vmcb->control.exit_info_1)
		return false;
	if (!l1_intercepts(svm, INTERCEPT_MSR_PROT))
		return true;
	if (bit < 0 || virt_guest_read_nofault(
			       &svm->vcpu.virt,
			       (svm->nested.vmcb12->control.msrpm_base_pa & PAGE_MASK) + bit / 8,
			       &byte, sizeof(byte)))
		return false;
	return !(byte >> bit % 8 & 1);
}

static bool msr_is_l1s(struct svm_vcpu *svm)
{
	const struct vmcb_control_area *c12 = &svm->nested.vmcb12->control;
	int bit = svm_msrpm_bit(svm->vcpu.regs[REG_RCX]);

	if (!l1_intercepts(svm, INTERCEPT_MSR_PROT))
		return false;
	/* MSRs that the map has no place for always exit. */
	if (bit < 0)
		return true;
	return map_bits(svm, c12->msrpm_base_pa, bit + (svm->vmcb->control.exit_info_1 & 1), 1);
}

static bool port_is_l1s(struct svm_vcpu *svm, u16 port, unsigned int size)
{
	if (!l1_intercepts(svm, INTERCEPT_IOIO_PROT))
		return false;
	return map_bits(svm, svm->nested.vmcb12->control.iopm_base_pa, port, (1u << size) - 1);
}

static bool io_is_l1s(struct svm_vcpu *svm)
{
	u32 info = svm->vmcb->control.exit_info_1;

	return port_is_l1s(svm, info >> 16, info >> SVM_IOIO_SIZE_SHIFT & 7);
}

static bool is_l1s(struct svm_vcpu *svm, u32 code)
{
	u32 debug = svm->vcpu.cpu.debug.guest_debug;

	if (code > SVM_EXIT_INVPCID)
		return false;
	code = array_index_nospec(code, ARRAY_SIZE(verdicts));
	switch (verdicts[code]) {
	case BY_BIT:
		return l1_intercepts(svm, code);
	case BY_MSR_MAP:
		return msr_is_l1s(svm);
	case BY_IO_MAP:
		return io_is_l1s(svm);
	case BY_WINDOW:
		return !svm->nested.window && l1_intercepts(svm, code);
	case BY_STEP:
		return !svm->stepped &&
		       !(debug & (KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_USE_HW_BP)) &&
		       l1_intercepts(svm, code);
	case BY_BREAKPOINT:
		return !(debug & KVM_GUESTDBG_USE_SW_BP) && l1_intercepts(svm, code);
	default:
		return false;
	}
}

bool nested_fast_exit(struct svm_vcpu *svm)
{
	u32 code = svm->vmcb->control.exit_code;

	if (code == SVM_EXIT_MSR)
		return fast_rdmsr_is_own(svm);
	return code != SVM_EXIT_VMMCALL && code <= SVM_EXIT_INVPCID && !l1_intercepts(svm, code);
}

bool nested_handle_exit(struct svm_vcpu *svm, enum exit_result *r)
{
	const struct vmcb_control_area *c02 = &svm->vmcb->control;
	struct vcpu *v = &svm->vcpu;
	u32 code = c02->exit_code;

	/* What the checks let pass and the CPU does not is a refused entry for L1 too. */
	if (unlikely(code == (u32)SVM_EXIT_ERR)) {
		*r = nested_vmexit(svm, SVM_EXIT_ERR, 0, 0, NULL);
		return true;
	}
	if (!is_l1s(svm, code))
		return false;
	/* DR6 is as the handler of the exception would find it. */
	if (code == SVM_EXIT_EXCP_BASE + DB_VECTOR)
		v->cpu.debug.dr6 = svm->vmcb->save.dr6;
	*r = nested_vmexit(svm, code, c02->exit_info_1, c02->exit_info_2, NULL);
	return true;
}

static enum exit_result reflect(struct svm_vcpu *svm, const struct mmu_nested_fault *f)
{
	return nested_vmexit(svm, SVM_EXIT_NPF, f->error, f->gpa, NULL);
}

enum exit_result nested_page_fault(struct svm_vcpu *svm)
{
	const struct vmcb_control_area *c02 = &svm->vmcb->control;
	u32 access = c02->exit_info_1 & (ACCESS_PRESENT | ACCESS_WRITE | ACCESS_FETCH);
	bool table = c02->exit_info_1 & NESTED_FAULT_TABLE;
	struct mmu_nested_fault f;

	svm->vcpu.virt.stats.pf_taken++;
	switch (mmu_nested_fault(&svm->vcpu, c02->exit_info_2, access, table, &f)) {
	case NESTED_FAULT_DONE:
		return EXIT_RESUME;
	case NESTED_FAULT_REFLECT:
		return reflect(svm, &f);
	case NESTED_FAULT_MMIO:
		return exit_mmio(&svm->vcpu, f.gpa, !table && !(access & ACCESS_FETCH));
	default:
		return EXIT_ERROR;
	}
}

enum exit_result nested_emulated_fault(struct vcpu *v)
{
	struct mmu_nested_fault f;

	return mmu_nested_take_fault(v, &f) ? reflect(to_svm(v), &f) : EXIT_RESUME;
}

bool nested_intercepts(struct vcpu *v, const struct emu *e)
{
	struct svm_vcpu *svm = to_svm(v);
	struct svm_insn_exit x;

	svm_insn_exit(&e->insn, &x);
	if (x.port)
		return port_is_l1s(svm, x.port_imm ? (u8)e->insn.imm : (u16)e->regs.gpr[REG_RDX], x.port);
	return (x.code != SVM_NO_EXIT && l1_intercepts(svm, x.code)) ||
	       (x.selective && l1_intercepts(svm, INTERCEPT_SELECTIVE_CR0));
}

/*
 * An exception of L2 that L1 intercepts and the CPU did not: its payload goes where the exit shows
 * it.
 */
static enum exit_result exception_exit(struct svm_vcpu *svm, const struct event_plan *p)
{
	const struct event *e = &p->event;
	struct vcpu *v = &svm->vcpu;
	u64 info2 = 0;

	if (e->has_payload && e->vector == PF_VECTOR)
		info2 = e->payload;
	else if (e->has_payload && e->vector == DB_VECTOR)
		debug_apply_payload(v, e->payload);
	return nested_vmexit(svm, SVM_EXIT_EXCP_BASE + e->vector, e->has_error ? e->error : 0, info2, p);
}

enum exit_result nested_planned_exit(struct vcpu *v, const struct event_plan *p)
{
	struct svm_vcpu *svm = to_svm(v);

	switch (p->cause) {
	case CAUSE_EXCEPTION:
		return exception_exit(svm, p);
	case CAUSE_INTR:
		return nested_vmexit(svm, SVM_EXIT_INTR, 0, 0, p);
	case CAUSE_NMI:
		return nested_vmexit(svm, SVM_EXIT_NMI, 0, 0, p);
	case CAUSE_SMI:
		return nested_vmexit(svm, SVM_EXIT_SMI, 0, 0, p);
	case CAUSE_INIT:
		return nested_vmexit(svm, SVM_EXIT_INIT, 0, 0, p);
	case CAUSE_SHUTDOWN:
		return nested_vmexit(svm, SVM_EXIT_SHUTDOWN, 0, 0, p);
	default:
		virt_vm_bugged(v->virt.vm);
		return exit_error(v, -EIO);
	}
}
