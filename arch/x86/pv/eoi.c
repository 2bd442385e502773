// SPDX-License-Identifier: GPL-2.0
/*
 * PV EOI: the guest ends an interrupt by clearing a bit in memory instead of writing to its local
 * APIC.
 *
 * The bit is set when an edge-triggered interrupt goes in with nothing behind it, so that nobody
 * waits for its end, and taken back at the next exit to the run loop. So the local APIC is exact
 * whenever anybody else looks at it, and there is no state to be saved.
 */
#include "../strata.h"
#include "memory.h"

#include <linux/kvm_para.h>
#include <linux/srcu.h>

#define EOI_GPA(v)	((v)->pv.eoi_page & ~3ull)

void eoi_offer(struct vcpu *v, u8 vector)
{
	const struct vm_irq *irq = &vcpu_vm(v)->irq;
	const u8 on = KVM_PV_EOI_ENABLED;
	int idx, ret;

	if (!lapic_eoi_can_wait(&v->apic->lapic, vector) || (irq->pit && pit_dev_waits(irq->pit)))
		return;
	idx = srcu_read_lock(&v->virt.vm->srcu);
	ret = pv_write_nofault(v, EOI_GPA(v), &on, 1);
	srcu_read_unlock(&v->virt.vm->srcu, idx);
	v->pv.eoi_offered = !ret;
}

/* 1: the guest cleared the bit; 0: it did not, and cannot any more; -EFAULT */
static int take_back(struct vcpu *v, bool sleep)
{
	const u8 off = KVM_PV_EOI_DISABLED;
	u8 bit;
	int ret;

	ret = sleep ? pv_read(v, EOI_GPA(v), &bit, 1) : pv_read_nofault(v, EOI_GPA(v), &bit, 1);
	if (ret)
		return ret;
	if (!(bit & KVM_PV_EOI_MASK))
		return 1;
	return sleep ? pv_write(v, EOI_GPA(v), &off, 1) :
		       pv_write_nofault(v, EOI_GPA(v), &off, 1);
}

bool eoi_collect(struct vcpu *v, bool sleep)
{
	int ret, idx;

	idx = srcu_read_lock(&v->virt.vm->srcu);
	ret = take_back(v, sleep);
	srcu_read_unlock(&v->virt.vm->srcu, idx);
	if (ret < 0 && !sleep)
		return false;
	v->pv.eoi_offered = false;
	/* A guest that took its page away ends the interrupt by itself, or never. */
	if (ret == 1)
		apic_eoi(v);
	return true;
}
