// SPDX-License-Identifier: GPL-2.0
/*
 * The control block L2 runs on.
 *
 * Every field is either L0's own or an allow-listed one of L1's; what L0 has to intercept stays intercepted whatever L1 asks for.
 */
#include "nested.h"

/* Intercepts that L1 is offered: not the write traps of SEV-ES, nor INVLPGB, MCOMMIT and TLBSYNC, which guests do not have. */
static const u32 offered[MAX_INTERCEPT] = {
	[INTERCEPT_CR]		= ~0u,
	[INTERCEPT_DR]		= ~0u,
	[INTERCEPT_EXCEPTION]	= ~0u,
	[INTERCEPT_WORD3]	= ~0u,
	[INTERCEPT_WORD4]	= GENMASK(INTERCEPT_RDPRU - INTERCEPT_VMRUN, 0),
	[INTERCEPT_WORD5]	= BIT(INTERCEPT_INVPCID - INTERCEPT_INVLPGB),
};

void nested_build_intercepts(struct svm_vcpu *svm)
{
	const u32 *own = svm->vmcb01->control.intercepts, *l1 = svm->nested.vmcb12->control.intercepts;
	struct vmcb *vmcb02 = svm->nested.vmcb02;
	u32 *to = vmcb02->control.intercepts;
	unsigned int i;

	for (i = 0; i < MAX_INTERCEPT; i++)
		to[i] = own[i] | (l1[i] & offered[i]);
	/* With a TPR of its own L2 needs nobody to watch it. */
	if (l2_masks(svm) && !l1_intercepts(svm, INTERCEPT_CR8_WRITE))
		vmcb_pass(vmcb02, INTERCEPT_CR8_WRITE);
	/* 01's own window and what it knows of NMIs are not L2's: those are asked for at the entry. */
	if (svm->nested.window)
		vmcb_intercept(vmcb02, INTERCEPT_VINTR);
	else if (!l1_intercepts(svm, INTERCEPT_VINTR))
		vmcb_pass(vmcb02, INTERCEPT_VINTR);
	vmcb_dirty(vmcb02, CLEAN_INTERCEPTS);
}

void nested_sync_virq(struct svm_vcpu *svm)
{
	const struct vmcb_control_area *c02 = &svm->nested.vmcb02->control;
	struct vmcb_control_area *c12 = &svm->nested.vmcb12->control;
	u32 from02 = svm->nested.window ? 0 : V_IRQ_MASK;

	if (l2_masks(svm))
		from02 |= V_TPR_MASK;
	c12->int_ctl = (c12->int_ctl & ~from02) | (c02->int_ctl & from02);
}

static void build_virq(struct svm_vcpu *svm)
{
	const struct vmcb_control_area *c12 = &svm->nested.vmcb12->control;
	struct vmcb_control_area *c02 = &svm->nested.vmcb02->control;

	c02->int_ctl = V_INTR_MASKING_MASK | (c12->int_ctl & INT_CTL_VIRQ);
	/* Without masking CR8 is one register for both levels, and is filled in at the entry. */
	svm->own_tpr = l2_masks(svm);
	if (svm->own_tpr)
		c02->int_ctl |= c12->int_ctl & V_TPR_MASK;
	c02->int_vector = c12->int_vector;
	c02->int_state = c12->int_state & SVM_INTERRUPT_SHADOW_MASK;
}

/* Words of the map that may have a bit cleared in 01's: MSRs of the lists in msr.c, two bits each */
static const u16 map_words[] = {
	0x48 / 16, 0x174 / 16, 0x176 / 16, 0x200 + 0x81 / 16, 0x200 + 0x84 / 16, 0x200 + 0x100 / 16,
};

int nested_merge_msrpm(struct svm_vcpu *svm)
{
	const struct vmcb_control_area *c12 = &svm->nested.vmcb12->control;
	struct vmcb *vmcb02 = svm->nested.vmcb02;
	u64 map = c12->msrpm_base_pa & PAGE_MASK;
	unsigned int i;
	u32 word;

	vmcb_dirty(vmcb02, CLEAN_PERM_MAP);
	if (!l1_intercepts(svm, INTERCEPT_MSR_PROT)) {
		vmcb02->control.msrpm_base_pa = svm->vmcb01->control.msrpm_base_pa;
		return 0;
	}
	for (i = 0; i < ARRAY_SIZE(map_words); i++) {
		if (virt_guest_read(&svm->vcpu.virt, map + map_words[i] * sizeof(word), &word, sizeof(word)))
			return -EFAULT;
		svm->nested.msrpm02[map_words[i]] = svm->msrpm[map_words[i]] | word;
	}
	vmcb02->control.msrpm_base_pa = __sme_set(__pa(svm->nested.msrpm02));
	return 0;
}

void nested_build_controls(struct svm_vcpu *svm)
{
	const struct vmcb_control_area *c12 = &svm->nested.vmcb12->control, *c01 = &svm->vmcb01->control;
	struct vmcb_control_area *c02 = &svm->nested.vmcb02->control;

	svm->nested.window = false;
	nested_build_intercepts(svm);
	/* L1 that intercepts PAUSE without a filter wants every one. */
	if (l1_intercepts(svm, INTERCEPT_PAUSE)) {
		c02->pause_filter_count = 0;
		c02->pause_filter_thresh = 0;
	} else {
		c02->pause_filter_count = c01->pause_filter_count;
		c02->pause_filter_thresh = c01->pause_filter_thresh;
	}
	c02->iopm_base_pa = svm_iopm_pa;
	c02->tsc_offset = c01->tsc_offset + c12->tsc_offset;
	c02->nested_ctl = SVM_NESTED_CTL_NP_ENABLE;
	c02->nested_cr3 = svm->vcpu.mmu.root_hpa;
	c02->virt_ext = 0;
	c02->event_inj = 0;
	c02->clean = 0;
	build_virq(svm);
}
