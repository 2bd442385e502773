// SPDX-License-Identifier: GPL-2.0
/*
 * SVM's instructions but VMRUN, executed by L1, or by an L2 whose L1 lets it.
 */
#include "nested.h"
#include "../exit.h"

/*
 * #UD without SVM or protected mode, then #GP by privilege level (APM vol. 3, each instruction's
 * table of exceptions)
 */
bool nested_insn_faults(struct vcpu *v)
{
	if (!(v->efer & EFER_SVME) || !(v->cr0 & X86_CR0_PE) ||
	    (v->regs[REG_RFLAGS] & X86_EFLAGS_VM)) {
		vcpu_raise(v, UD_VECTOR);
		return true;
	}
	if (to_svm(v)->vmcb->save.cpl) {
		vcpu_raise_gp(v);
		return true;
	}
	return false;
}

u64 nested_insn_address(struct vcpu *v)
{
	bool wide = vcpu_long_mode(v) && (to_svm(v)->vmcb->save.cs.attrib & SVM_SELECTOR_L_MASK);

	return wide ? v->regs[REG_RAX] : (u32)v->regs[REG_RAX];
}

bool nested_page_address(struct vcpu *v, u64 gpa)
{
	return !(gpa & ~PAGE_MASK) && !(gpa >> v->cpu.maxphyaddr);
}

static enum exit_result copy_state(struct vcpu *v, bool load)
{
	struct mmu_nested_fault f;
	int ret;
	u64 gpa;

	if (nested_insn_faults(v))
		return EXIT_RESUME;
	gpa = nested_insn_address(v);
	if (!nested_page_address(v, gpa)) {
		vcpu_raise_gp(v);
		return EXIT_RESUME;
	}
	/* L2's address goes through L1's nested paging. */
	ret = mmu_nested_translate(v, gpa, load ? 0 : ACCESS_WRITE, &gpa, &f);
	if (ret > 0)
		return nested_vmexit(to_svm(v), SVM_EXIT_NPF, f.error, f.gpa, NULL);
	if (ret || nested_copy_vmload(to_svm(v), gpa, load)) {
		vcpu_raise_gp(v);
		return EXIT_RESUME;
	}
	return vcpu_skip(v);
}

enum exit_result nested_vmload(struct vcpu *v)
{
	return copy_state(v, true);
}

enum exit_result nested_vmsave(struct vcpu *v)
{
	return copy_state(v, false);
}

static enum exit_result set_gif(struct vcpu *v, bool gif)
{
	struct svm_vcpu *svm = to_svm(v);

	if (nested_insn_faults(v))
		return EXIT_RESUME;
	if (v->guest_mode && l2_has_gif(svm))
		nested_set_int_ctl(svm, V_GIF_MASK, gif ? V_GIF_MASK : 0);
	else
		svm->nested.gif = gif;
	return vcpu_skip(v);
}

enum exit_result nested_stgi(struct vcpu *v)
{
	return set_gif(v, true);
}

enum exit_result nested_clgi(struct vcpu *v)
{
	return set_gif(v, false);
}

bool nested_rdmsr_tsc(struct svm_vcpu *svm)
{
	struct vcpu *v = &svm->vcpu;

	if ((u32)v->regs[REG_RCX] != MSR_IA32_TSC || svm->vmcb->control.exit_info_1 ||
	    !msr_allowed(v, MSR_IA32_TSC, false))
		return false;
	vcpu_set_edx_eax(v, tsc_guest(v, rdtsc()) + svm->nested.vmcb12->control.tsc_offset);
	return true;
}

#define VM_CR_LOCK	BIT_ULL(3)
#define VM_CR_SVMDIS	BIT_ULL(4)

int nested_get_msr(struct vcpu *v, u32 msr, u64 *val, bool host)
{
	const struct svm_nested *n = &to_svm(v)->nested;

	if (!nested_enabled || (!host && !guest_has(v, GUEST_SVM)))
		return -ENOENT;
	switch (msr) {
	case MSR_VM_CR:
		*val = n->vm_cr;
		return 0;
	case MSR_VM_HSAVE_PA:
		*val = n->hsave_pa;
		return 0;
	default:
		return -ENOENT;
	}
}

/*
 * Lock and disable; redirected INIT and the debug port have no meaning here (APM vol. 2, "VM_CR
 * MSR").
 */
static int set_vm_cr(struct vcpu *v, u64 val, bool host)
{
	struct svm_nested *n = &to_svm(v)->nested;

	if (val & ~(VM_CR_LOCK | VM_CR_SVMDIS))
		return 1;
	if (!host && (n->vm_cr & VM_CR_LOCK))
		return val == n->vm_cr ? 0 : 1;
	if (!host && (val & VM_CR_SVMDIS) && (v->efer & EFER_SVME))
		return 1;
	n->vm_cr = val;
	return 0;
}

int nested_set_msr(struct vcpu *v, u32 msr, u64 val, bool host)
{
	if (!nested_enabled || (!host && !guest_has(v, GUEST_SVM)))
		return -ENOENT;
	switch (msr) {
	case MSR_VM_CR:
		return set_vm_cr(v, val, host);
	case MSR_VM_HSAVE_PA:
		if (!nested_page_address(v, val))
			return 1;
		to_svm(v)->nested.hsave_pa = val;
		return 0;
	default:
		return -ENOENT;
	}
}

static void flush_l2_address(struct svm_vcpu *svm, u32 asid, u64 linear)
{
	int context = mmu_nested_find(&svm->vcpu, asid);

	if (context < 0)
		return;
	svm_flush_addr(svm, &svm->nested.asid[context], linear);
	mmu_nested_flush_addr(&svm->vcpu, context);
}

/* ASID 0 is L1's own. */
enum exit_result nested_invlpga(struct vcpu *v)
{
	struct svm_vcpu *svm = to_svm(v);
	u32 asid = v->regs[REG_RCX];
	u64 linear = nested_insn_address(v);

	if (nested_insn_faults(v))
		return EXIT_RESUME;
	if (asid)
		flush_l2_address(svm, asid, linear);
	else
		svm_flush_addr(svm, &svm->asid01, linear);
	return vcpu_skip(v);
}
