// SPDX-License-Identifier: GPL-2.0
/*
 * SMM while L2 runs, where L1 leaves SMIs to L0: SMRAM has L2's registers, and where its control
 * block is; L1's own state goes into the page of VM_HSAVE_PA, as the save area of a control block
 * has it. So all that RSM needs is in guest memory, and a vCPU in SMM is in no level but L1's.
 */
#include "nested.h"
#include "../smm/smram.h"

/* What of 12 has changed since VMRUN and SMRAM has no place for */
static int store_12(struct svm_vcpu *svm)
{
	const struct vmcb *vmcb12 = svm->nested.vmcb12;
	const u64 pat = svm->vcpu.cpu.pat, gpa = svm->nested.vmcb12_gpa;
	struct virt_vcpu *vv = &svm->vcpu.virt;

	nested_sync_control(svm);
	if (virt_guest_write(vv, gpa + offsetof(struct vmcb, control.int_ctl),
			     &vmcb12->control.int_ctl, 4) ||
	    virt_guest_write(vv, gpa + offsetof(struct vmcb, control.int_state),
			     &vmcb12->control.int_state, 4) ||
	    virt_guest_write(vv, gpa + offsetof(struct vmcb, control.event_inj),
			     &vmcb12->control.event_inj, 4))
		return -EFAULT;
	return l1_pages(svm) ? virt_guest_write(vv, gpa + offsetof(struct vmcb, save.g_pat), &pat, sizeof(pat)) : 0;
}

int nested_smm_save(struct vcpu *v, struct smram_state *s)
{
	struct svm_vcpu *svm = to_svm(v);
	struct vmcb_save_area l1 = svm->vmcb01->save;

	l1.cr0 = svm->nested.l1_cr0;
	l1.cr4 = svm->nested.l1_cr4;
	l1.g_pat = svm->nested.l1_pat;
	l1.dr7 = DR7_INIT;
	if (virt_guest_write(&v->virt, svm->nested.hsave_pa + offsetof(struct vmcb, save), &l1,
			     sizeof(l1)) ||
	    store_12(svm))
		return -EFAULT;
	s->svm_guest = 1;
	s->svm_block = svm->nested.vmcb12_gpa;
	return 0;
}

void nested_smm_leave(struct vcpu *v)
{
	struct svm_vcpu *svm = to_svm(v);

	svm->step = STEP_NOT;
	nested_use_01(svm);
	nested_load_l1(svm);
}

/* L1's map has to be there now; the entry looks at it once more. */
static bool map_there(struct svm_vcpu *svm)
{
	u64 map = svm->nested.vmcb12->control.msrpm_base_pa & PAGE_MASK;
	u32 word;

	return !l1_intercepts(svm, INTERCEPT_MSR_PROT) ||
	       (!virt_guest_read(&svm->vcpu.virt, map, &word, sizeof(word)) &&
		!virt_guest_read(&svm->vcpu.virt, map + PAGE_SIZE, &word, sizeof(word)));
}

int nested_rsm(struct vcpu *v, const struct smram_state *s)
{
	struct kvm_nested_state head = {
		.flags = KVM_STATE_NESTED_GUEST_MODE | KVM_STATE_NESTED_GIF_SET,
		.hdr.svm.vmcb_pa = s->svm_block,
	};
	struct svm_vcpu *svm = to_svm(v);
	struct vmcb *vmcb12;
	u64 pat;

	if (!s->svm_guest)
		return 0;
	if (v->guest_mode || !nested_page_address(v, s->svm_block) || nested_alloc(svm) ||
	    nested_copy_in(svm, s->svm_block))
		return -EINVAL;
	vmcb12 = svm->nested.vmcb12;
	pat = vmcb12->save.g_pat;
	vmcb12->control.event_inj = 0;
	if (virt_guest_read(&v->virt, svm->nested.hsave_pa + offsetof(struct vmcb, save),
			    &vmcb12->save, sizeof(vmcb12->save)) ||
	    !nested_state_valid(v, vmcb12, false) || !map_there(svm) ||
	    (l1_pages(svm) && !mtrr_types_valid(pat, true)))
		return -EINVAL;
	nested_state_load(svm, &head, &vmcb12);
	if (l1_pages(svm))
		v->cpu.pat = pat;
	vmcb_update(svm->vmcb, save.g_pat, v->cpu.pat, CLEAN_NPT);
	svm->nested.pristine = false;
	return 0;
}
