// SPDX-License-Identifier: GPL-2.0
/*
 * L1's control block in guest memory: copied in once at VMRUN, and out at #VMEXIT.
 *
 * Only what the CPU reads and writes is touched, eight bytes at a time, in one window of user
 * access.
 */
#include "nested.h"

#include "../../../virt/slots.h"

#include <linux/uaccess.h>

/*
 * A page of guest memory, and its slot; NULL if there is none. Who writes it marks it dirty behind
 * that, even if only a part was written.
 */
static void __user *guest_page(struct vcpu *v, u64 gpa, bool write, struct virt_slot **slot)
{
	*slot = virt_vcpu_slot(&v->virt, gpa >> PAGE_SHIFT);
	if (!*slot || (write && ((*slot)->flags & KVM_MEM_READONLY)))
		return NULL;
	return (void __user *)virt_slot_hva(*slot, gpa >> PAGE_SHIFT);
}

#define CONTROL(field)	offsetof(struct vmcb, control.field)
#define SAVE(field)	offsetof(struct vmcb, save.field)

/* One word, and all words of a range; offsets are constants. */
#define GET(off)	unsafe_get_user(*(u64 *)(copy + (off)), (u64 __user *)(user + (off)), fault)
#define PUT(off)	unsafe_put_user(*(u64 *)(copy + (off)), (u64 __user *)(user + (off)), fault)
#define SEG(op, seg)	do { op(SAVE(seg)); op(SAVE(seg) + 8); } while (0)

/* Fields that no clean bit is about */
#define GET_ALWAYS()				\
	do {					\
		GET(CONTROL(asid));		\
		GET(CONTROL(int_state));	\
		GET(CONTROL(nested_ctl));	\
		GET(CONTROL(event_inj));	\
		GET(CONTROL(virt_ext));		\
		GET(CONTROL(next_rip));		\
		GET(SAVE(rflags));		\
		GET(SAVE(rip));			\
		GET(SAVE(rsp));			\
		GET(SAVE(rax));			\
	} while (0)

#define GET_INTERCEPTS()				\
	do {						\
		GET(CONTROL(intercepts[0]));		\
		GET(CONTROL(intercepts[2]));		\
		GET(CONTROL(intercepts[4]));		\
		GET(CONTROL(pause_filter_thresh) & ~7ul);	\
		GET(CONTROL(tsc_offset));		\
	} while (0)

#define GET_SEGMENTS()		\
	do {			\
		SEG(GET, es);	\
		SEG(GET, cs);	\
		SEG(GET, ss);	\
		SEG(GET, ds);	\
		GET(SAVE(cpl) & ~7ul);	\
	} while (0)

#define UNLESS_KEPT(bit)	if (!(kept & BIT(bit)))

int nested_copy_in(struct svm_vcpu *svm, u64 gpa)
{
	bool known = svm->nested.current_gpa == gpa && guest_has(&svm->vcpu, GUEST_VMCB_CLEAN);
	struct virt_slot *slot;
	void __user *user = guest_page(&svm->vcpu, gpa, false, &slot);
	void *copy = svm->nested.vmcb12;
	u32 kept;

	svm->nested.current_gpa = NESTED_NO_CURRENT;
	if (!user || !user_access_begin(user, PAGE_SIZE))
		return -EFAULT;
	GET(CONTROL(clean));
	kept = known ? svm->nested.vmcb12->control.clean : 0;
	GET_ALWAYS();
	UNLESS_KEPT(CLEAN_INTERCEPTS)
		GET_INTERCEPTS();
	UNLESS_KEPT(CLEAN_PERM_MAP) {
		GET(CONTROL(iopm_base_pa));
		GET(CONTROL(msrpm_base_pa));
	}
	UNLESS_KEPT(CLEAN_INTR)
		GET(CONTROL(int_ctl));
	UNLESS_KEPT(CLEAN_NPT) {
		GET(CONTROL(nested_cr3));
		GET(SAVE(g_pat));
	}
	UNLESS_KEPT(CLEAN_CR) {
		GET(SAVE(efer));
		GET(SAVE(cr4));
		GET(SAVE(cr3));
		GET(SAVE(cr0));
	}
	UNLESS_KEPT(CLEAN_DR) {
		GET(SAVE(dr7));
		GET(SAVE(dr6));
	}
	UNLESS_KEPT(CLEAN_DT) {
		SEG(GET, gdtr);
		SEG(GET, idtr);
	}
	UNLESS_KEPT(CLEAN_SEG)
		GET_SEGMENTS();
	UNLESS_KEPT(CLEAN_CR2)
		GET(SAVE(cr2));
	user_access_end();
	svm->nested.kept = kept;
	return 0;
fault:
	user_access_end();
	return -EFAULT;
}

int nested_copy_out(struct svm_vcpu *svm, u64 gpa)
{
	struct virt_slot *slot;
	void __user *user = guest_page(&svm->vcpu, gpa, true, &slot);
	void *copy = svm->nested.vmcb12;

	if (!user || !user_access_begin(user, PAGE_SIZE))
		return -EFAULT;
	PUT(CONTROL(int_ctl));
	PUT(CONTROL(int_state));
	PUT(CONTROL(exit_code));
	PUT(CONTROL(exit_info_1));
	PUT(CONTROL(exit_info_2));
	PUT(CONTROL(exit_int_info));
	PUT(CONTROL(event_inj));
	PUT(CONTROL(next_rip));
	SEG(PUT, es);
	SEG(PUT, cs);
	SEG(PUT, ss);
	SEG(PUT, ds);
	SEG(PUT, gdtr);
	SEG(PUT, idtr);
	PUT(SAVE(cpl) & ~7ul);
	PUT(SAVE(efer));
	PUT(SAVE(cr4));
	PUT(SAVE(cr3));
	PUT(SAVE(cr0));
	PUT(SAVE(dr7));
	PUT(SAVE(dr6));
	PUT(SAVE(rflags));
	PUT(SAVE(rip));
	PUT(SAVE(rsp));
	PUT(SAVE(rax));
	PUT(SAVE(cr2));
	PUT(SAVE(g_pat));
	user_access_end();
	virt_mark_dirty(slot, gpa >> PAGE_SHIFT);
	return 0;
fault:
	user_access_end();
	virt_mark_dirty(slot, gpa >> PAGE_SHIFT);
	return -EFAULT;
}

int nested_copy_refusal(struct svm_vcpu *svm, u64 gpa)
{
	struct virt_slot *slot;
	void __user *user = guest_page(&svm->vcpu, gpa, true, &slot);
	void *copy = svm->nested.vmcb12;

	if (!user || !user_access_begin(user, PAGE_SIZE))
		return -EFAULT;
	PUT(CONTROL(exit_code));
	PUT(CONTROL(exit_info_1));
	PUT(CONTROL(exit_info_2));
	PUT(CONTROL(exit_int_info));
	user_access_end();
	virt_mark_dirty(slot, gpa >> PAGE_SHIFT);
	return 0;
fault:
	user_access_end();
	virt_mark_dirty(slot, gpa >> PAGE_SHIFT);
	return -EFAULT;
}

int nested_copy_words(struct svm_vcpu *svm, u64 gpa, const u16 *index, unsigned int nr, u32 *words)
{
	struct virt_slot *slot;
	void __user *user = guest_page(&svm->vcpu, gpa, false, &slot);
	unsigned int i;

	if (!user || !user_access_begin(user, PAGE_SIZE))
		return -EFAULT;
	for (i = 0; i < nr; i++)
		unsafe_get_user(words[i], (const u32 __user *)user + index[i], fault);
	user_access_end();
	return 0;
fault:
	user_access_end();
	return -EFAULT;
}

#define VMLOAD_STATE(op)		\
	SEG(op, fs);			\
	SEG(op, gs);			\
	SEG(op, ldtr);			\
	SEG(op, tr);			\
	op(SAVE(star));			\
	op(SAVE(lstar));		\
	op(SAVE(cstar));		\
	op(SAVE(sfmask));		\
	op(SAVE(kernel_gs_base));	\
	op(SAVE(sysenter_cs));		\
	op(SAVE(sysenter_esp));		\
	op(SAVE(sysenter_eip))

/*
 * A CPU keeps no other addresses, nor would they be taken back from userspace (APM vol. 2,
 * "Canonicalization and Consistency Checks").
 */
static void canonicalize(struct svm_vcpu *svm)
{
	struct vmcb_save_area *s = &svm->vmcb01->save;
	u64 *const addresses[] = {
		&s->fs.base, &s->gs.base,	 &s->ldtr.base,	   &s->tr.base,	     &s->lstar,
		&s->cstar,   &s->kernel_gs_base, &s->sysenter_esp, &s->sysenter_eip,
	};
	u8 bits = svm->vcpu.cr4 & X86_CR4_LA57 ? 57 : 48;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(addresses); i++)
		*addresses[i] = __canonical_address(*addresses[i], bits);
}

int nested_copy_vmload(struct svm_vcpu *svm, u64 gpa, bool load)
{
	struct virt_slot *slot;
	void __user *user = guest_page(&svm->vcpu, gpa, !load, &slot);
	void *copy = svm->vmcb01;

	if (!user || !user_access_begin(user, PAGE_SIZE))
		return -EFAULT;
	if (load) {
		VMLOAD_STATE(GET);
	} else {
		VMLOAD_STATE(PUT);
	}
	user_access_end();
	if (load)
		canonicalize(svm);
	else
		virt_mark_dirty(slot, gpa >> PAGE_SHIFT);
	return 0;
fault:
	user_access_end();
	if (!load)
		virt_mark_dirty(slot, gpa >> PAGE_SHIFT);
	return -EFAULT;
}
