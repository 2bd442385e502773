// SPDX-License-Identifier: GPL-2.0
/*
 * The control block L2 runs on.
 *
 * Every field is either L0's own or an allow-listed one of L1's; what L0 has to intercept stays
 * intercepted whatever L1 asks for.
 */
#include "nested.h"
#include "nested_check.h"

static_assert(SVM_INTERCEPT_WORDS == MAX_INTERCEPT);

static void put_intercepts(struct vmcb *vmcb, const u32 *to)
{
	if (!memcmp(vmcb->control.intercepts, to, sizeof(vmcb->control.intercepts)))
		return;
	memcpy(vmcb->control.intercepts, to, sizeof(vmcb->control.intercepts));
	vmcb_dirty(vmcb, CLEAN_INTERCEPTS);
}

static inline void pass(u32 *intercepts, unsigned int bit)
{
	__clear_bit(bit, (unsigned long *)intercepts);
}

void nested_build_intercepts(struct svm_vcpu *svm)
{
	u32 to[MAX_INTERCEPT] __aligned(sizeof(long));

	svm_merge_intercepts(svm->vmcb01->control.intercepts,
			     svm->nested.vmcb12->control.intercepts, to);
	/* With a TPR of its own L2 needs nobody to watch it. */
	if (l2_masks(svm) && !l1_intercepts(svm, INTERCEPT_CR8_WRITE))
		pass(to, INTERCEPT_CR8_WRITE);
	/*
	 * 01's own window and what it knows of NMIs are not L2's: those are asked for at the entry.
	 */
	if (svm->nested.window)
		__set_bit(INTERCEPT_VINTR, (unsigned long *)to);
	else if (!l1_intercepts(svm, INTERCEPT_VINTR))
		pass(to, INTERCEPT_VINTR);
	put_intercepts(svm->nested.vmcb02, to);
}

/*
 * L1's virtual interrupt cannot be taken whatever L2's IF is: because of L2's own GIF, or of V_TPR
 * where that is not what L2 has for CR8. Both change only in instructions that exit, so that the
 * CPU need not know them.
 */
static bool virq_held(const struct svm_vcpu *svm)
{
	u32 ctl = svm->nested.vmcb12->control.int_ctl;

	if (l2_has_gif(svm) && !(ctl & V_GIF_MASK))
		return true;
	if (l2_masks(svm) || (ctl & V_IGN_TPR_MASK))
		return false;
	return (ctl & V_INTR_PRIO_MASK) >> V_INTR_PRIO_SHIFT <= (ctl & V_TPR_MASK);
}

void nested_sync_virq(struct svm_vcpu *svm)
{
	const struct vmcb_control_area *c02 = &svm->nested.vmcb02->control;
	struct vmcb_control_area *c12 = &svm->nested.vmcb12->control;
	u32 from02 = svm->nested.window || virq_held(svm) ? 0 : V_IRQ_MASK;

	if (l2_masks(svm))
		from02 |= V_TPR_MASK;
	c12->int_ctl = (c12->int_ctl & ~from02) | (c02->int_ctl & from02);
}

void nested_put_virq(struct svm_vcpu *svm)
{
	const struct vmcb_control_area *c12 = &svm->nested.vmcb12->control;
	struct vmcb_control_area *c02 = &svm->nested.vmcb02->control;
	u32 virq = 0;

	if (svm->nested.window)
		virq = V_IRQ_MASK | V_IGN_TPR_MASK | V_INTR_PRIO_MASK;
	else if (!virq_held(svm))
		virq = (c12->int_ctl & INT_CTL_VIRQ) | (l2_masks(svm) ? 0 : V_IGN_TPR_MASK);
	c02->int_ctl = (c02->int_ctl & ~INT_CTL_VIRQ) | virq;
	c02->int_vector = svm->nested.window ? 0 : c12->int_vector;
}

/* Bits of L1's int_ctl that are L0's to keep: those that 02 does not hold */
void nested_set_int_ctl(struct svm_vcpu *svm, u32 mask, u32 val)
{
	struct vmcb_control_area *c12 = &svm->nested.vmcb12->control;

	nested_sync_virq(svm);
	c12->int_ctl = (c12->int_ctl & ~mask) | val;
	nested_put_virq(svm);
}

bool nested_virq_wakes(struct svm_vcpu *svm)
{
	u32 ctl;

	if (!(vcpu_rflags(&svm->vcpu) & X86_EFLAGS_IF))
		return false;
	nested_sync_virq(svm);
	ctl = svm->nested.vmcb12->control.int_ctl;
	if (!(ctl & V_IRQ_MASK) || virq_held(svm))
		return false;
	return (ctl & V_IGN_TPR_MASK) ||
	       (ctl & V_INTR_PRIO_MASK) >> V_INTR_PRIO_SHIFT > (ctl & V_TPR_MASK);
}

static void build_virq(struct svm_vcpu *svm)
{
	const struct vmcb_control_area *c12 = &svm->nested.vmcb12->control;
	struct vmcb_control_area *c02 = &svm->nested.vmcb02->control;

	c02->int_ctl = V_INTR_MASKING_MASK;
	/* Without masking CR8 is one register for both levels, and is filled in at the entry. */
	svm->own_tpr = l2_masks(svm);
	if (svm->own_tpr)
		c02->int_ctl |= c12->int_ctl & V_TPR_MASK;
	c02->int_state = c12->int_state & SVM_INTERRUPT_SHADOW_MASK;
	nested_put_virq(svm);
}

/*
 * Words of the map that may have a bit cleared in 01's: MSRs of the lists in msr.c, 16 of them
 * each. All are in the map's first page.
 */
static const u16 map_words[] = { 0x48 / 16, 0x174 / 16, 0x200 + 0x81 / 16, 0x200 + 0x100 / 16 };

static_assert((0x200 + 0x100 / 16) * sizeof(u32) < PAGE_SIZE);

int nested_merge_msrpm(struct svm_vcpu *svm)
{
	struct vmcb *vmcb02 = svm->nested.vmcb02;
	u32 words[ARRAY_SIZE(map_words)], *to = svm->nested.msrpm02;
	unsigned int i;

	if (!l1_intercepts(svm, INTERCEPT_MSR_PROT)) {
		vmcb_update(vmcb02, control.msrpm_base_pa, svm->vmcb01->control.msrpm_base_pa,
			    CLEAN_PERM_MAP);
		return 0;
	}
	if (nested_copy_words(svm, svm->nested.vmcb12->control.msrpm_base_pa & PAGE_MASK, map_words,
			      ARRAY_SIZE(map_words), words))
		return -EFAULT;
	for (i = 0; i < ARRAY_SIZE(map_words); i++) {
		u32 word = svm->msrpm[map_words[i]] | words[i];

		if (to[map_words[i]] == word)
			continue;
		to[map_words[i]] = word;
		vmcb_dirty(vmcb02, CLEAN_PERM_MAP);
	}
	vmcb_update(vmcb02, control.msrpm_base_pa, __sme_set(__pa(to)), CLEAN_PERM_MAP);
	return 0;
}

static void build_pause_filter(struct svm_vcpu *svm)
{
	bool l1s = l1_intercepts(svm, INTERCEPT_PAUSE);
	const struct vmcb_control_area *from = &(l1s ? svm->nested.vmcb12 : svm->vmcb01)->control;
	struct vmcb *vmcb02 = svm->nested.vmcb02;
	u16 count = from->pause_filter_count, thresh = from->pause_filter_thresh;

	/* L1 that intercepts PAUSE and has no filter wants every one. */
	if (l1s && !guest_has(&svm->vcpu, GUEST_PAUSE_FILTER))
		count = 0;
	if (l1s && !guest_has(&svm->vcpu, GUEST_PAUSE_THRESHOLD))
		thresh = 0;
	vmcb_update(vmcb02, control.pause_filter_count, count, CLEAN_INTERCEPTS);
	vmcb_update(vmcb02, control.pause_filter_thresh, thresh, CLEAN_INTERCEPTS);
}

void nested_build_controls(struct svm_vcpu *svm)
{
	const struct vmcb_control_area *c12 = &svm->nested.vmcb12->control,
				       *c01 = &svm->vmcb01->control;
	struct vmcb *vmcb02 = svm->nested.vmcb02;

	svm->nested.window = false;
	nested_build_intercepts(svm);
	build_pause_filter(svm);
	vmcb_update(vmcb02, control.iopm_base_pa, svm_iopm_pa, CLEAN_PERM_MAP);
	vmcb_update(vmcb02, control.tsc_offset, c01->tsc_offset + c12->tsc_offset,
		    CLEAN_INTERCEPTS);
	vmcb_update(vmcb02, control.nested_ctl, SVM_NESTED_CTL_NP_ENABLE, CLEAN_NPT);
	vmcb_update(vmcb02, control.nested_cr3, svm->vcpu.mmu.root_hpa, CLEAN_NPT);
	vmcb02->control.virt_ext = 0;
	vmcb02->control.event_inj = 0;
	build_virq(svm);
}
