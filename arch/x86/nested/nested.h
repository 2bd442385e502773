/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What nested SVM and nested VMX share: the parameter, the state ioctls' dispatch, page requests,
 * and the change of registers at a switch of levels. What is in a control block is the backends'.
 */
#ifndef STRATA_NESTED_H
#define STRATA_NESTED_H

#include "../../../virt/ioctl.h"
#include "../strata.h"

/*
 * The module parameter "nested": guests are offered the CPU's virtualization. False, too, where the
 * backend has nothing to offer.
 */
extern bool nested_enabled;

/**
 * struct nested_regs - registers of the level that is switched to, as its control block gives them
 * @cr0: CR0
 * @cr3: CR3
 * @cr4: CR4
 * @efer: EFER
 * @rip: RIP
 * @rsp: RSP
 * @rflags: RFLAGS
 */
struct nested_regs {
	unsigned long cr0, cr3, cr4;
	u64 efer;
	unsigned long rip, rsp, rflags;
};

/**
 * nested_switch_regs() - the vCPU's registers become those of the other level
 * @v: the vCPU; the backend's control block is the other level's already and holds the same values
 * @r: the registers
 *
 * PAE pointers are the other level's as well: they are read again when they are needed.
 */
void nested_switch_regs(struct vcpu *v, const struct nested_regs *r);

/**
 * nested_check_state() - what KVM_SET_NESTED_STATE can check about any format
 * @head: the fixed part, copied from userspace
 * @format: KVM_STATE_NESTED_FORMAT_*
 * @flags: flags that the format knows
 *
 * Return: 0 or -EINVAL.
 */
int nested_check_state(const struct kvm_nested_state *head, u16 format, u16 flags);

/* Memory that L1 names is looked at again before the next entry. */
static inline void nested_request_pages(struct vcpu *v)
{
	virt_request(&v->virt, REQ_NESTED_PAGES);
}

extern const struct ioctl_row nested_vcpu_ioctls[];
extern const unsigned int nested_nr_vcpu_ioctls;

#endif
