// SPDX-License-Identifier: GPL-2.0
/*
 * Which paravirtual interfaces a guest has, and their MSRs.
 */
#include "../backend.h"
#include "../strata.h"

#include <linux/kvm_para.h>
#include <linux/sched/stat.h>
#include <asm/tsc.h>

/* What a local APIC in the kernel has to be there for */
#define NEEDS_APIC (BIT(KVM_FEATURE_PV_EOI) | BIT(KVM_FEATURE_PV_UNHALT) | BIT(KVM_FEATURE_PV_SEND_IPI) | \
		    BIT(KVM_FEATURE_PV_SCHED_YIELD) | BIT(KVM_FEATURE_ASYNC_PF) | BIT(KVM_FEATURE_ASYNC_PF_INT))

u32 pv_offered(void)
{
	u32 features = BIT(KVM_FEATURE_CLOCKSOURCE) | BIT(KVM_FEATURE_NOP_IO_DELAY) |
		       BIT(KVM_FEATURE_CLOCKSOURCE2) | BIT(KVM_FEATURE_POLL_CONTROL) |
		       BIT(KVM_FEATURE_CLOCKSOURCE_STABLE_BIT) | NEEDS_APIC;

	/* A TLB flush is asked for in the page of the steal time. */
	if (sched_info_on())
		features |= BIT(KVM_FEATURE_STEAL_TIME) | BIT(KVM_FEATURE_PV_TLB_FLUSH);
	return features;
}

bool pv_has(const struct vcpu *v, unsigned int feature)
{
	return !v->pv.enforce || (v->pv.features & BIT(feature));
}

/* Beside another hypervisor's leaves these are at a multiple of 0x100. */
static struct kvm_cpuid_entry2 *features_leaf(struct cpuid_table *t)
{
	const u32 *signature = (const u32 *)KVM_SIGNATURE;
	struct kvm_cpuid_entry2 *e;
	u32 base;

	for (base = KVM_CPUID_SIGNATURE; base < KVM_CPUID_SIGNATURE + 0x10000; base += 0x100) {
		e = cpuid_table_find(t, base, 0);
		if (e && e->ebx == signature[0] && e->ecx == signature[1] && e->edx == signature[2])
			return cpuid_table_find(t, base | (KVM_CPUID_FEATURES & 0xff), 0);
	}
	return NULL;
}

u32 pv_cpuid_features(const struct vcpu *v, struct cpuid_table *t)
{
	const struct vm *vm = to_vm(v->virt.vm);
	u32 missing = vm->irqchip == IRQCHIP_NONE ? NEEDS_APIC : 0;
	struct kvm_cpuid_entry2 *e;

	/* A kick that comes before its HLT would not be seen by a HLT that does not exit. */
	if (vm->disabled_exits & KVM_X86_DISABLE_EXITS_HLT)
		missing |= BIT(KVM_FEATURE_PV_UNHALT);
	if (!t->nr)
		return pv_offered() & ~missing;
	e = features_leaf(t);
	if (!e)
		return 0;
	e->eax &= ~missing;
	return e->eax & pv_offered();
}

void pv_vm_init(struct vm *vm)
{
	clock_vm_init(vm);
}

void pv_vcpu_init(struct vcpu *v)
{
	v->pv.features = pv_offered();
	apf_vcpu_init(v);
}

void pv_reset(struct vcpu *v)
{
	struct vcpu_pv *p = &v->pv;

	p->clock_page = 0;
	p->clock_stopped = false;
	p->steal_page = 0;
	p->preempted = false;
	p->eoi_page = 0;
	p->eoi_offered = false;
	p->poll = 1;
	p->kicked = false;
	apf_reset(v);
}

void pv_load(struct vcpu *v, int cpu)
{
	/* Without a TSC that all CPUs share a page is good for one of them. */
	if (unlikely(check_tsc_unstable()) && cpu != v->virt.last_cpu &&
	    (v->pv.clock_page & PV_PAGE_ON))
		virt_request(&v->virt, REQ_CLOCK);
	if (unlikely(READ_ONCE(vcpu_vm(v)->clock.host_khz) != tsc_khz))
		clock_tsc_changed(vcpu_vm(v), NULL);
	steal_load(v);
}

static unsigned int feature_of(u32 msr)
{
	switch (msr) {
	case MSR_KVM_WALL_CLOCK:
	case MSR_KVM_SYSTEM_TIME:
		return KVM_FEATURE_CLOCKSOURCE;
	case MSR_KVM_WALL_CLOCK_NEW:
	case MSR_KVM_SYSTEM_TIME_NEW:
		return KVM_FEATURE_CLOCKSOURCE2;
	case MSR_KVM_STEAL_TIME:
		return KVM_FEATURE_STEAL_TIME;
	case MSR_KVM_PV_EOI_EN:
		return KVM_FEATURE_PV_EOI;
	case MSR_KVM_ASYNC_PF_EN:
		return KVM_FEATURE_ASYNC_PF;
	case MSR_KVM_ASYNC_PF_INT:
	case MSR_KVM_ASYNC_PF_ACK:
		return KVM_FEATURE_ASYNC_PF_INT;
	default:
		return KVM_FEATURE_POLL_CONTROL;
	}
}

static u64 *msr_place(struct vcpu *v, u32 msr)
{
	switch (msr) {
	case MSR_KVM_WALL_CLOCK:
	case MSR_KVM_WALL_CLOCK_NEW:
		return &vcpu_vm(v)->clock.wall_page;
	case MSR_KVM_SYSTEM_TIME:
	case MSR_KVM_SYSTEM_TIME_NEW:
		return &v->pv.clock_page;
	case MSR_KVM_STEAL_TIME:
		return &v->pv.steal_page;
	case MSR_KVM_PV_EOI_EN:
		return &v->pv.eoi_page;
	default:
		return &v->pv.poll;
	}
}

static bool is_apf(u32 msr)
{
	return msr == MSR_KVM_ASYNC_PF_EN || msr == MSR_KVM_ASYNC_PF_INT ||
	       msr == MSR_KVM_ASYNC_PF_ACK;
}

int pv_get_msr(struct vcpu *v, u32 msr, u64 *val, bool host)
{
	if (!host && !pv_has(v, feature_of(msr)))
		return 1;
	if (is_apf(msr))
		return apf_get_msr(v, msr, val, host);
	*val = READ_ONCE(*msr_place(v, msr));
	return 0;
}

static bool valid(u32 msr, u64 val)
{
	switch (msr) {
	case MSR_KVM_STEAL_TIME:
		return sched_info_on() && !(val & KVM_STEAL_RESERVED_MASK);
	case MSR_KVM_PV_EOI_EN:
		return !(val & 2);	/* four-byte alignment */
	case MSR_KVM_POLL_CONTROL:
		return val <= 1;
	default:
		return true;
	}
}

int pv_set_msr(struct vcpu *v, u32 msr, u64 val, bool host)
{
	if ((!host && !pv_has(v, feature_of(msr))) || !valid(msr, val))
		return 1;
	if (is_apf(msr))
		return apf_set_msr(v, msr, val, host);
	WRITE_ONCE(*msr_place(v, msr), val);
	switch (msr) {
	case MSR_KVM_WALL_CLOCK:
	case MSR_KVM_WALL_CLOCK_NEW:
		/* Set by userspace it was written already, by the guest that is restored. */
		if (!host)
			clock_write_wall(v, val);
		break;
	case MSR_KVM_SYSTEM_TIME:
	case MSR_KVM_SYSTEM_TIME_NEW:
		clock_page_set(v);
		break;
	case MSR_KVM_STEAL_TIME:
		/* Waiting before this moment is nobody's. */
		v->pv.steal_thread = NULL;
		if (val & PV_PAGE_ON)
			virt_request(&v->virt, REQ_STEAL);
		break;
	}
	return 0;
}
