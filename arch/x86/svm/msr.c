// SPDX-License-Identifier: GPL-2.0
/*
 * MSRs that live in the VMCB, and the permission map that lets the guest have them directly.
 */
#include "nested.h"

#include <linux/slab.h>
#include <asm/msr-index.h>

/*
 * The map covers three ranges of 8K MSRs, two bits each: read, write (APM vol. 2, "MSR
 * Intercepts").
 */
int svm_msrpm_bit(u32 msr)
{
	static const u32 base[] = { 0, 0xc0000000, 0xc0010000 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(base); i++) {
		if (msr - base[i] < 0x2000)
			return (i * 0x2000 + (msr - base[i])) * 2;
	}
	return -1;
}

/* What VMLOAD and VMSAVE switch is the guest's own. */
static const u32 passed[] = {
	MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_SYSCALL_MASK, MSR_KERNEL_GS_BASE, MSR_FS_BASE, MSR_GS_BASE,
	MSR_IA32_SYSENTER_CS, MSR_IA32_SYSENTER_ESP, MSR_IA32_SYSENTER_EIP,
};

static void msrpm_set(u32 *map, u32 msr, bool read, bool write)
{
	int bit = svm_msrpm_bit(msr);

	__assign_bit(bit, (unsigned long *)map, !read);
	__assign_bit(bit + 1, (unsigned long *)map, !write);
}

int svm_msrpm_alloc(struct svm_vcpu *svm)
{
	svm->msrpm = (u32 *)__get_free_pages(GFP_KERNEL_ACCOUNT, 1);
	if (!svm->msrpm)
		return -ENOMEM;
	memset(svm->msrpm, 0xff, 2 * PAGE_SIZE);
	return 0;
}

void svm_msrpm_free(struct svm_vcpu *svm)
{
	free_pages((unsigned long)svm->msrpm, 1);
	svm->msrpm = NULL;
}

void svm_update_msr_access(struct vcpu *v)
{
	struct svm_vcpu *svm = to_svm(v);
	bool spec = svm_caps.virt_spec_ctrl && v->cpu.spec_ctrl_allowed;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(passed); i++)
		msrpm_set(svm->msrpm, passed[i], msr_allowed(v, passed[i], false),
			  msr_allowed(v, passed[i], true));
	msrpm_set(svm->msrpm, MSR_IA32_SPEC_CTRL, spec && msr_allowed(v, MSR_IA32_SPEC_CTRL, false),
		  spec && msr_allowed(v, MSR_IA32_SPEC_CTRL, true));
	vmcb_dirty(svm->vmcb01, CLEAN_PERM_MAP);
	/* The map may be 02's as well, now or at the next VMRUN. */
	if (svm->nested.vmcb02)
		vmcb_dirty(svm->nested.vmcb02, CLEAN_PERM_MAP);
	if (v->guest_mode)
		nested_request_pages(v);
}

static u64 *vmcb_msr(struct vmcb_save_area *s, u32 msr)
{
	switch (msr) {
	case MSR_STAR:			return &s->star;
	case MSR_LSTAR:			return &s->lstar;
	case MSR_CSTAR:			return &s->cstar;
	case MSR_SYSCALL_MASK:		return &s->sfmask;
	case MSR_KERNEL_GS_BASE:	return &s->kernel_gs_base;
	case MSR_FS_BASE:		return &s->fs.base;
	case MSR_GS_BASE:		return &s->gs.base;
	case MSR_IA32_SYSENTER_CS:	return &s->sysenter_cs;
	case MSR_IA32_SYSENTER_ESP:	return &s->sysenter_esp;
	case MSR_IA32_SYSENTER_EIP:	return &s->sysenter_eip;
	default:			return NULL;
	}
}

static bool is_address(u32 msr)
{
	return msr != MSR_STAR && msr != MSR_SYSCALL_MASK && msr != MSR_IA32_SYSENTER_CS;
}

int svm_get_msr(struct vcpu *v, u32 msr, u64 *val, bool host)
{
	struct svm_vcpu *svm = to_svm(v);
	const u64 *p = vmcb_msr(&svm->vmcb01->save, msr);

	if (p) {
		*val = *p;
		return 0;
	}
	return nested_get_msr(v, msr, val, host);
}

int svm_set_msr(struct vcpu *v, u32 msr, u64 val, bool host)
{
	struct svm_vcpu *svm = to_svm(v);
	u64 *p = vmcb_msr(&svm->vmcb01->save, msr);

	if (msr == MSR_IA32_CR_PAT) {	/* cpu.pat was checked and set; nested paging has a copy of its own */
		svm->vmcb->save.g_pat = val;
		vmcb_dirty(svm->vmcb, CLEAN_NPT);
		return 0;
	}
	if (!p)
		return nested_set_msr(v, msr, val, host);
	if (is_address(msr) && !msr_address_ok(v, val, host))
		return 1;
	*p = val;
	vmcb_dirty(svm->vmcb01, CLEAN_SEG);
	return 0;
}
