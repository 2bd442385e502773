// SPDX-License-Identifier: GPL-2.0
/*
 * KVM_GET/SET_NESTED_STATE in the SVM format: @control is L1's control block, @save is L1's own
 * state. L2's registers are those that the other ioctls carry, and neither GET nor SET touches
 * them, so that the ioctls commute. Nor does SET touch guest memory.
 */
#include "nested.h"
#include "nested_check.h"
#include "../exit.h"

#include <linux/slab.h>
#include <linux/uaccess.h>

#define STATE_FLAGS	(KVM_STATE_NESTED_GUEST_MODE | KVM_STATE_NESTED_RUN_PENDING | KVM_STATE_NESTED_GIF_SET)

static_assert(sizeof(((struct kvm_svm_nested_state_data *)NULL)->vmcb12) == PAGE_SIZE);
static_assert(offsetof(struct kvm_nested_state, data) == sizeof(struct kvm_nested_state));

/*
 * Behind L1's save area nothing is defined, whatever else the header has there: it reads as zero.
 */
#define STATE_DEFINED	offsetofend(struct vmcb, save)

void nested_sync_control(struct svm_vcpu *svm)
{
	struct vmcb_control_area *c12 = &svm->nested.vmcb12->control;

	nested_sync_virq(svm);
	c12->int_state = (c12->int_state & ~(u32)SVM_INTERRUPT_SHADOW_MASK) |
			 (svm->vmcb->control.int_state & SVM_INTERRUPT_SHADOW_MASK);
	if (!svm->vcpu.events.run_pending)
		c12->event_inj &= ~SVM_EVTINJ_VALID;
}

/* L1's state, where the control block for it has something of L0's */
static int put_l1(struct svm_vcpu *svm, struct vmcb __user *user)
{
	const struct svm_nested *n = &svm->nested;

	if (copy_to_user(&user->save, &svm->vmcb01->save, sizeof(user->save)) ||
	    put_user((u64)n->l1_cr0, &user->save.cr0) ||
	    put_user((u64)n->l1_cr4, &user->save.cr4) || put_user(n->l1_pat, &user->save.g_pat) ||
	    put_user((u64)DR7_INIT, &user->save.dr7) ||
	    clear_user((void __user *)user + STATE_DEFINED, PAGE_SIZE - STATE_DEFINED))
		return -EFAULT;
	return 0;
}

int nested_state_get(struct vcpu *v, struct kvm_nested_state __user *user)
{
	struct svm_vcpu *svm = to_svm(v);
	struct vmcb __user *vmcb = (void __user *)user + sizeof(*user);
	struct kvm_nested_state head = {
		.format = KVM_STATE_NESTED_FORMAT_SVM,
		.size = sizeof(head) + (v->guest_mode ? PAGE_SIZE : 0),
	};

	if (!user)
		return head.size;
	if (svm->nested.gif)
		head.flags |= KVM_STATE_NESTED_GIF_SET;
	if (v->guest_mode) {
		head.flags |= KVM_STATE_NESTED_GUEST_MODE;
		head.hdr.svm.vmcb_pa = svm->nested.vmcb12_gpa;
		if (v->events.run_pending)
			head.flags |= KVM_STATE_NESTED_RUN_PENDING;
	}
	if (copy_to_user(user, &head, sizeof(head)))
		return -EFAULT;
	if (!v->guest_mode)
		return head.size;
	if (svm->nested.pristine)
		return copy_to_user(vmcb, svm->nested.vmcb12, PAGE_SIZE) ? -EFAULT : (int)head.size;
	nested_sync_control(svm);
	if (copy_to_user(&vmcb->control, &svm->nested.vmcb12->control, sizeof(vmcb->control)) ||
	    put_l1(svm, vmcb))
		return -EFAULT;
	return head.size;
}

/*
 * Registers that VMRUN switches, from one control block to the other: they are the vCPU's, whatever
 * level it is on.
 */
static void move_registers(struct vmcb *to, const struct vmcb *from)
{
	struct vmcb_save_area *t = &to->save;
	const struct vmcb_save_area *f = &from->save;

	t->es = f->es;
	t->cs = f->cs;
	t->ss = f->ss;
	t->ds = f->ds;
	t->gdtr = f->gdtr;
	t->idtr = f->idtr;
	t->cpl = f->cpl;
	t->efer = f->efer;
	t->cr0 = f->cr0;
	t->cr3 = f->cr3;
	t->cr4 = f->cr4;
	t->dr6 = f->dr6;
	t->dr7 = f->dr7;
	t->g_pat = f->g_pat;
	to->control.int_state = from->control.int_state;
	to->control.clean = 0;
}

static void set_no_guest(struct svm_vcpu *svm, bool gif)
{
	struct vcpu *v = &svm->vcpu;

	event_nested_cancel(&v->events);
	if (v->guest_mode) {
		move_registers(svm->vmcb01, svm->nested.vmcb02);
		nested_use_01(svm);
		svm_flush_tlb(v);
	}
	/* Memory may have been written, of which L1's clean bits know nothing. */
	svm->nested.current_gpa = NESTED_NO_CURRENT;
	svm->nested.gif = gif;
}

bool nested_state_valid(struct vcpu *v, const struct vmcb *vmcb, bool run_pending)
{
	const struct vmcb_save_area *s = &vmcb->save;
	struct svm_limits limits;
	struct svm_entry entry;

	nested_limits(v, &limits);
	limits.paging = s->cr0 & X86_CR0_PG;
	nested_entry(vmcb, &entry);
	if (!run_pending)
		entry.event_inj = 0;
	/* L1's DR6 and DR7 are not what they say while L2 runs. */
	entry.dr6 = entry.dr7 = 0;
	if (svm_check_controls(&entry, &limits))
		return false;
	entry.efer = s->efer;
	return !svm_check_save(&entry, &limits) && (s->cr0 & X86_CR0_PE) &&
	       !(s->rflags & X86_EFLAGS_VM) && mtrr_types_valid(s->g_pat, true);
}

static void take_l1(struct svm_vcpu *svm, const struct vmcb_save_area *from)
{
	struct vmcb_save_area *to = &svm->vmcb01->save;

	to->es = from->es;
	to->cs = from->cs;
	to->ss = from->ss;
	to->ds = from->ds;
	to->gdtr = from->gdtr;
	to->idtr = from->idtr;
	to->cpl = 0;
	to->efer = svm_entry_efer(from->efer, from->cr0);
	to->cr0 = (from->cr0 & ~(u64)(X86_CR0_CD | X86_CR0_NW)) | X86_CR0_ET;
	to->cr3 = from->cr3;
	to->cr4 = svm_cr4(from->cr4);
	to->rflags = from->rflags | X86_EFLAGS_FIXED;
	to->rip = from->rip;
	to->rsp = from->rsp;
	to->rax = from->rax;
	to->g_pat = from->g_pat;
	/* Not L1's DR6 any more, but what the next image shows, and what an SMI leaves in memory */
	to->dr6 = from->dr6;
	svm->vmcb01->control.int_state = 0;
	svm->vmcb01->control.clean = 0;
	svm->nested.l1_cr0 = from->cr0 | X86_CR0_ET;
	svm->nested.l1_cr4 = from->cr4;
	svm->nested.l1_pat = from->g_pat;
}

void nested_state_load(struct svm_vcpu *svm, const struct kvm_nested_state *head,
		       struct vmcb **page)
{
	const struct vmcb *vmcb = *page;
	struct svm_nested *n = &svm->nested;
	struct vcpu *v = &svm->vcpu;

	vcpu_need_reg(v, REG_CR0);
	vcpu_need_reg(v, REG_CR3);
	event_nested_cancel(&v->events);
	swap(n->vmcb12, *page);
	n->current_gpa = NESTED_NO_CURRENT;
	n->vmcb12_gpa = head->hdr.svm.vmcb_pa;
	if (!v->guest_mode) {
		move_registers(n->vmcb02, svm->vmcb01);
		nested_use_02(svm);
	}
	take_l1(svm, &vmcb->save);
	nested_build_controls(svm);
	n->gif = head->flags & KVM_STATE_NESTED_GIF_SET;
	n->pristine = true;
	mmu_nested_leave(v);
	mmu_nested_reset(v);
	svm_flush_tlb(v);
	if (head->flags & KVM_STATE_NESTED_RUN_PENDING) {
		const struct event injected = nested_injected(vmcb);

		event_nested_begin(&v->events, &injected);
	}
	nested_request_pages(v);
}

int nested_state_set(struct vcpu *v, const struct kvm_nested_state *head,
		     const struct kvm_nested_state __user *user)
{
	struct svm_vcpu *svm = to_svm(v);
	int ret;

	ret = nested_check_state(head, KVM_STATE_NESTED_FORMAT_SVM, STATE_FLAGS);
	if (ret)
		return ret;
	if (!(head->flags & KVM_STATE_NESTED_GUEST_MODE)) {
		set_no_guest(svm, head->flags & KVM_STATE_NESTED_GIF_SET);
		return 0;
	}
	if (head->size < sizeof(*head) + PAGE_SIZE ||
	    !nested_page_address(v, head->hdr.svm.vmcb_pa))
		return -EINVAL;
	ret = nested_alloc(svm);
	if (ret)
		return ret;
	if (copy_from_user(svm->nested.spare12, (const void __user *)user + sizeof(*user),
			   STATE_DEFINED))
		return -EFAULT;
	if (!nested_state_valid(v, svm->nested.spare12, head->flags & KVM_STATE_NESTED_RUN_PENDING))
		return -EINVAL;
	nested_state_load(svm, head, &svm->nested.spare12);
	return 0;
}

/* What of a state that was set depends on other ioctls or on guest memory. */
enum exit_result nested_pages(struct vcpu *v)
{
	struct svm_vcpu *svm = to_svm(v);
	struct virt_slot *slot = virt_vcpu_slot(&v->virt, svm->nested.vmcb12_gpa >> PAGE_SHIFT);
	int ret;
	bool ok = slot && !(slot->flags & KVM_MEM_READONLY) && (v->efer & EFER_SVME) &&
		  !nested_merge_msrpm(svm);

	if (!ok) {
		/* The state stays, to be looked at again. */
		nested_request_pages(v);
		return exit_internal_error(v, KVM_INTERNAL_ERROR_EMULATION, svm->nested.vmcb12_gpa,
					   v->efer);
	}
	ret = nested_enter_mmu(svm, svm->nested.l1_pat);
	if (ret < 0) {
		nested_request_pages(v);
		return exit_error(v, ret);
	}
	vmcb_update(svm->vmcb, control.nested_cr3, v->mmu.root_hpa, CLEAN_NPT);
	svm_use_asid(svm, nested_asid(svm));
	svm_flush_asid(svm->asid);
	svm->nested.pristine = false;
	return EXIT_RESUME;
}
