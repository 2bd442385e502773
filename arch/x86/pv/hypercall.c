// SPDX-License-Identifier: GPL-2.0
/*
 * Hypercalls (Documentation/virt/kvm/x86/hypercalls.rst of the kernel).
 */
#include "../backend.h"
#include "../strata.h"
#include "../trace_kvm.h"

#include <linux/kvm_para.h>

struct args {
	unsigned long nr, a[4];
};

static struct args fetch_args(struct vcpu *v)
{
	struct args r = {
		.nr = vcpu_reg(v, REG_RAX),
		.a = { vcpu_reg(v, REG_RBX), vcpu_reg(v, REG_RCX), vcpu_reg(v, REG_RDX), vcpu_reg(v, REG_RSI) },
	};
	unsigned int i;

	if (vcpu_cs_long(v))
		return r;
	r.nr = (u32)r.nr;
	for (i = 0; i < ARRAY_SIZE(r.a); i++)
		r.a[i] = (u32)r.a[i];
	return r;
}

/* Bits from @lowest on, one for each APIC ID */
static long send_to(struct vm *vm, struct irq_msg *m, unsigned long bits, u64 lowest)
{
	long count = 0;

	for (; bits; bits &= bits - 1) {
		u64 id = lowest + __ffs(bits);

		if (id > U32_MAX)
			break;
		m->dest = id;
		count += apic_send(vm, m, NULL) >= 0;
	}
	return count;
}

static long send_ipi(struct vcpu *v, const struct args *r)
{
	unsigned int width = vcpu_cs_long(v) ? 64 : 32;
	u32 icr = r->a[3], lowest = r->a[2];
	struct irq_msg m = {
		.vector = icr & LAPIC_VECTOR,
		.mode = (icr >> LAPIC_MODE_SHIFT) & 7,
	};

	if (!v->apic || (icr & (LAPIC_ICR_LOGICAL | 3 << LAPIC_ICR_SHORTHAND)))
		return v->apic ? -KVM_EINVAL : -KVM_EOPNOTSUPP;
	if (m.mode != IRQ_MODE_NMI && (m.mode != IRQ_MODE_FIXED || m.vector < 16))
		return -KVM_EINVAL;
	return send_to(vcpu_vm(v), &m, r->a[0], lowest) +
	       send_to(vcpu_vm(v), &m, r->a[1], (u64)lowest + width);
}

static long kick_cpu(struct vcpu *v, u32 apic_id)
{
	struct vcpu *target = apic_find(vcpu_vm(v), apic_id);

	if (!target)
		return 0;
	WRITE_ONCE(target->pv.kicked, true);
	virt_request(&target->virt, REQ_EVENT);
	virt_kick(&target->virt);
	return 0;
}

/* Give the CPU to a vCPU that waits for one. */
static long sched_yield_to(struct vcpu *v, u32 apic_id)
{
	struct vcpu *target = apic_find(vcpu_vm(v), apic_id);

	if (target && target != v && READ_ONCE(target->pv.preempted))
		virt_vcpu_yield_to(&target->virt);
	return 0;
}

static bool has_call(const struct vcpu *v, unsigned long nr)
{
	switch (nr) {
	case KVM_HC_VAPIC_POLL_IRQ:
		return true;
	case KVM_HC_KICK_CPU:
		return v->apic && pv_has(v, KVM_FEATURE_PV_UNHALT);
	case KVM_HC_SEND_IPI:
		return pv_has(v, KVM_FEATURE_PV_SEND_IPI);
	case KVM_HC_SCHED_YIELD:
		return v->apic && pv_has(v, KVM_FEATURE_PV_SCHED_YIELD);
	default:
		return false;
	}
}

static long perform(struct vcpu *v, const struct args *r)
{
	switch (r->nr) {
	case KVM_HC_KICK_CPU:
		return kick_cpu(v, r->a[1]);
	case KVM_HC_SEND_IPI:
		return send_ipi(v, r);
	case KVM_HC_SCHED_YIELD:
		return sched_yield_to(v, r->a[0]);
	default:	/* KVM_HC_VAPIC_POLL_IRQ: the exit was all it wanted */
		return 0;
	}
}

/* Some ask for what only the run loop does: to let others run, or to look at a TPR in memory. */
static bool needs_loop(const struct vcpu *v, unsigned long nr)
{
	return nr == KVM_HC_SCHED_YIELD || (nr == KVM_HC_VAPIC_POLL_IRQ && v->pv.vapic);
}

bool pv_hypercall(struct vcpu *v, bool fast, long *ret)
{
	struct args r;

	/* What the fast way leaves to the other is seen there. */
	if (trace_kvm_hypercall_enabled() && !(fast && needs_loop(v, (u32)vcpu_reg(v, REG_RAX))))
		trace_kvm_hypercall(v->regs);
	/* Those of user mode are refused before their number is looked at. */
	if (unlikely(backend_call(cpl)(v))) {
		*ret = -KVM_EPERM;
		return true;
	}
	if (!has_call(v, (u32)vcpu_reg(v, REG_RAX))) {
		*ret = -KVM_ENOSYS;
		return true;
	}
	r = fetch_args(v);
	if (fast && needs_loop(v, r.nr))
		return false;
	*ret = has_call(v, r.nr) ? perform(v, &r) : -KVM_ENOSYS;
	return true;
}
