// SPDX-License-Identifier: GPL-2.0
/*
 * For guests that move their TPR into memory, as reading and writing the local APIC's exits: the
 * reports by which a VMM finds the instructions to patch (KVM_TPR_ACCESS_REPORTING), and the word
 * that takes the register's place (KVM_SET_VAPIC_ADDR).
 *
 * The word has TPR in its first byte, the priority class of the interrupt in service in its second
 * and the highest requested vector in its fourth. It is written before each entry; what the guest
 * made of the first byte is TPR after it. So outside the guest the local APIC is exact.
 */
#include "../ioctl.h"
#include "../pv/memory.h"
#include "../strata.h"

/* ---- reports ---- */

void vapic_note_access(struct vcpu *v, bool write)
{
	v->apic->tpr_write = write;
	v->apic->tpr_rip = vcpu_rip(v);
	virt_request(&v->virt, REQ_TPR_ACCESS);
}

/* ---- the word ---- */

static u32 word_of(const struct lapic *l)
{
	return lapic_reg(l, LAPIC_TPR) | (l->isr_max & 0xf0) << 8 | (u32)l->irr_max << 24;
}

void vapic_show(struct vcpu *v)
{
	u32 word = word_of(&v->apic->lapic);

	v->apic->vapic_shown = !pv_write(v, v->apic->vapic, &word, sizeof(word));
}

/* Only what the guest reads is late if the memory is not at hand. */
void vapic_show_nofault(struct vcpu *v)
{
	u32 word = word_of(&v->apic->lapic);

	pv_write_nofault(v, v->apic->vapic, &word, sizeof(word));
}

void vapic_take(struct vcpu *v)
{
	struct lapic *l = &v->apic->lapic;
	u8 tpr;

	if (!v->apic->vapic_shown || pv_read(v, v->apic->vapic, &tpr, 1))
		return;
	v->apic->vapic_shown = false;
	if (tpr == lapic_reg(l, LAPIC_TPR))
		return;
	lapic_set_tpr(l, tpr);
	v->cr8 = lapic_cr8(l);
}

/* ---- ioctls ---- */

/* 0 switches it off. Where there is no memory the guest has its registers only. */
static long set_vapic_addr(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	const struct kvm_vapic_addr *va = data;
	struct vcpu *v = to_vcpu(vv);

	if (!v->apic)
		return -EINVAL;
	v->apic->vapic = va->vapic_addr;
	v->apic->vapic_shown = false;
	v->pv.vapic = va->vapic_addr;
	apic_follow(v);
	return 0;
}

static long tpr_access_reporting(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	const struct kvm_tpr_access_ctl *ctl = data;
	struct vcpu *v = to_vcpu(vv);

	if (!v->apic || ctl->flags)
		return -EINVAL;
	v->apic->report_tpr = ctl->enabled;
	if (!ctl->enabled)
		clear_bit(REQ_TPR_ACCESS, &v->virt.requests);
	return 0;
}

const struct ioctl_row vapic_vcpu_ioctls[] = {
	{ KVM_SET_VAPIC_ADDR,		0, .vcpu = set_vapic_addr },
	{ KVM_TPR_ACCESS_REPORTING,	0, .vcpu = tpr_access_reporting },
};
const unsigned int vapic_nr_vcpu_ioctls = ARRAY_SIZE(vapic_vcpu_ioctls);
