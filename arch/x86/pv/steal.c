// SPDX-License-Identifier: GPL-2.0
/*
 * Steal time: how long the vCPU's thread waited for a CPU, and whether it has one.
 *
 * While the page says KVM_VCPU_PREEMPTED, other vCPUs may ask there for a TLB flush instead of
 * interrupting this one. So whoever sets the mark makes sure that the page is looked at before the
 * next entry (REQ_STEAL), and a page that cannot be read then counts as one that asks.
 */
#include "../backend.h"
#include "../strata.h"
#include "memory.h"

#include <linux/kvm_para.h>
#include <linux/sched.h>
#include <linux/srcu.h>

#define STEAL_GPA(v)	((v)->pv.steal_page & KVM_STEAL_VALID_BITS)

static u64 waited(void)
{
#ifdef CONFIG_SCHED_INFO
	return current->sched_info.run_delay;
#else
	return 0;
#endif
}

void steal_load(struct vcpu *v)
{
	if (likely(!(v->pv.steal_page & PV_PAGE_ON)))
		return;
	if (v->pv.preempted || v->pv.steal_seen != waited() || v->pv.steal_thread != current)
		virt_request(&v->virt, REQ_STEAL);
}

/* Only a hint: if the page is not at hand the guest interrupts a vCPU that does not run. */
void steal_sched_out(struct vcpu *v)
{
	const u8 mark = KVM_VCPU_PREEMPTED;
	int idx;

	if (likely(!(v->pv.steal_page & PV_PAGE_ON)) || v->pv.preempted || !v->cpu.in_run)
		return;
	/* The page is to be looked at even if the write failed half-way. */
	WRITE_ONCE(v->pv.preempted, true);
	v->virt.stats.preemption_reported++;
	idx = srcu_read_lock(&v->virt.vm->srcu);
	pv_write_nofault(v, STEAL_GPA(v) + offsetof(struct kvm_steal_time, preempted), &mark, 1);
	srcu_read_unlock(&v->virt.vm->srcu, idx);
}

/* Takes the mark off, and what was asked for meanwhile with it. */
static bool flush_wanted(struct vcpu *v)
{
	u64 gpa = STEAL_GPA(v) + offsetof(struct kvm_steal_time, preempted);
	const u8 none = 0;
	u8 mark = 0;
	int ret;

	if (pv_read(v, gpa, &mark, 1))
		return true;
	do {
		if (!mark)
			return false;
		ret = pv_cmpxchg(v, gpa, &mark, &none, 1);
	} while (ret == -EAGAIN);
	return ret || (mark & KVM_VCPU_FLUSH_TLB);
}

static void add_steal(struct vcpu *v, u64 ns)
{
	u64 gpa = STEAL_GPA(v);
	struct kvm_steal_time st;
	u32 version;

	if (pv_read(v, gpa, &st, offsetof(struct kvm_steal_time, flags)))
		return;
	version = (st.version | 1) + (st.version & 1 ? 2 : 0);
	st.steal += ns;
	/* Odd while the time is not to be trusted. */
	if (pv_write(v, gpa + offsetof(struct kvm_steal_time, version), &version, 4))
		return;
	smp_wmb();
	if (pv_write(v, gpa + offsetof(struct kvm_steal_time, steal), &st.steal, 8))
		return;
	smp_wmb();
	version++;
	pv_write(v, gpa + offsetof(struct kvm_steal_time, version), &version, 4);
}

void steal_update(struct vcpu *v)
{
	struct vcpu_pv *p = &v->pv;
	u64 now = waited(), ns;

	if (!(p->steal_page & PV_PAGE_ON))
		return;
	WRITE_ONCE(p->preempted, false);
	if (flush_wanted(v)) {
		v->virt.stats.tlb_flush++;
		backend_call(flush_tlb)(v);
	}
	ns = p->steal_thread == current ? now - p->steal_seen : 0;
	p->steal_thread = current;
	p->steal_seen = now;
	add_steal(v, ns);
}
