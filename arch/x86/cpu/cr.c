// SPDX-License-Identifier: GPL-2.0
/*
 * Control registers: the guest's MOVs and XSETBV, EFER, and the control-register half of
 * KVM_SET_SREGS.
 *
 * Each setter checks with the pure rules of cr_check.c, then applies: struct vcpu first, the
 * control block after it. EFER.LMA follows EFER.LME and CR0.PG. PAE page-directory pointers are
 * loaded where the manuals say that the CPU loads them.
 */
#include <linux/types.h>
#include <asm/fpu/xcr.h>
#include <asm/msr-index.h>

#include "../backend.h"
#include "../strata.h"

#define APIC_BASE_BSP		BIT_ULL(8)
#define APIC_BASE_X2APIC	BIT_ULL(10)
#define APIC_BASE_ENABLE	BIT_ULL(11)

static struct cr_limits limits(const struct vcpu_cpu *c)
{
	return (struct cr_limits) {
		.cr4_reserved = c->cr4_reserved,
		.efer_allowed = c->efer_allowed,
		.xcr0_allowed = c->guest_xcr0_allowed,
		.maxphyaddr = c->maxphyaddr,
	};
}

static struct cr_state state(struct vcpu *v)
{
	return (struct cr_state) {
		.cr0 = vcpu_cr0(v),
		.cr3 = vcpu_cr3(v),
		.cr4 = vcpu_cr4(v),
		.efer = v->efer,
	};
}

static void put_cr0(struct vcpu *v, unsigned long val)
{
	v->cr0 = val;
	v->regs_avail |= BIT(REG_CR0);
	backend_call(set_cr0)(v);
}

static void put_cr3(struct vcpu *v, unsigned long val)
{
	v->cr3 = val;
	v->regs_avail |= BIT(REG_CR3);
	v->regs_dirty |= BIT(REG_CR3);
	backend_call(set_cr3)(v);
}

static void put_cr4(struct vcpu *v, unsigned long val)
{
	unsigned long changed = v->cr4 ^ val;

	v->cr4 = val;
	v->regs_avail |= BIT(REG_CR4);
	backend_call(set_cr4)(v);
	if (changed & (CR4_OSXSAVE | CR4_PKE)) {
		xcr_changed(v);
		cpuid_runtime_changed(v);
	}
}

static void put_efer(struct vcpu *v, u64 val)
{
	v->efer = val;
	backend_call(set_efer)(v);
}

bool cr_pae_paging(struct vcpu *v)
{
	return (vcpu_cr0(v) & CR0_PG) && (vcpu_cr4(v) & CR4_PAE) && !(v->efer & EFER_LMA);
}

static bool cs_is_long(struct vcpu *v)
{
	struct kvm_segment cs;

	backend_call(get_segment)(v, &cs, SEG_CS);
	return cs.l;
}

int cr_set_cr0(struct vcpu *v, unsigned long val)
{
	struct cr_state s = state(v);
	unsigned long changed;

	val = cr0_fix(val);
	changed = val ^ s.cr0;
	if ((changed & CR0_PG) && (s.efer & EFER_LME))
		s.cs_l = cs_is_long(v);
	if (!cr0_valid(&s, val))
		return 1;
	if ((val & CR0_PG) && (s.cr4 & CR4_PAE) && !(s.efer & EFER_LME) &&
	    (changed & (CR0_PG | CR0_CD | CR0_NW)) && mmu_load_pdptrs(v, s.cr3))
		return 1;

	if ((changed & CR0_PG) && (s.efer & EFER_LME))
		put_efer(v, s.efer ^ EFER_LMA);
	put_cr0(v, val);
	if (changed & (CR0_PG | CR0_WP | CR0_PE)) {
		mmu_mode_changed(v);
		backend_call(flush_tlb)(v);
	}
	return 0;
}

int cr_set_cr3(struct vcpu *v, u64 val)
{
	struct cr_limits l = limits(&v->cpu);
	struct cr_state s = state(v);
	bool noflush = false;

	if (!cr3_valid(&s, &l, val))
		return 1;
	if (s.cr4 & CR4_PCIDE) {
		noflush = val & CR3_KEEP_TLB;
		val &= ~CR3_KEEP_TLB;
	}
	if (cr_pae_paging(v) && mmu_load_pdptrs(v, val))
		return 1;

	put_cr3(v, val);
	mmu_mode_changed(v);
	if (!noflush)
		backend_call(flush_tlb)(v);
	return 0;
}

int cr_set_cr4(struct vcpu *v, unsigned long val)
{
	struct cr_limits l = limits(&v->cpu);
	struct cr_state s = state(v);
	unsigned long changed = val ^ s.cr4;

	if (!cr4_valid(&s, &l, val))
		return 1;
	/* SDM, "PDPTE Registers": these bits reload them. */
	if ((s.cr0 & CR0_PG) && (val & CR4_PAE) && !(s.efer & EFER_LMA) &&
	    (changed & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)) && mmu_load_pdptrs(v, s.cr3))
		return 1;

	put_cr4(v, val);
	if (changed &
	    (CR4_PAE | CR4_PGE | CR4_PSE | CR4_PCIDE | CR4_SMEP | CR4_SMAP | CR4_PKE | CR4_LA57)) {
		mmu_mode_changed(v);
		backend_call(flush_tlb)(v);
	}
	return 0;
}

int cr_set_cr8(struct vcpu *v, unsigned long val)
{
	if (val & ~0xful)
		return 1;
	v->cr8 = val;
	if (v->apic)
		apic_set_cr8(v);
	return 0;
}

int cr_set_efer(struct vcpu *v, u64 val, bool host)
{
	struct cr_limits l = limits(&v->cpu);
	struct cr_state s = state(v);

	if (host) {
		if (val & ~cpuid_host_efer())
			return 1;
	} else {
		/* LMA is the CPU's: writes leave it alone. */
		val = (val & ~(u64)EFER_LMA) | (s.efer & EFER_LMA);
		if (!efer_valid(&s, &l, val))
			return 1;
	}
	if ((val ^ s.efer) & (EFER_NX | EFER_LMA | EFER_LME)) {
		put_efer(v, val);
		mmu_mode_changed(v);
		backend_call(flush_tlb)(v);
	} else if (val != s.efer) {
		put_efer(v, val);
	}
	return 0;
}

void cr_apply_xcr0(struct vcpu *v, u64 val)
{
	v->cpu.xcr0 = val;
	xcr_changed(v);
	cpuid_runtime_changed(v);
}

int cr_set_xcr(struct vcpu *v, u32 index, u64 val)
{
	struct cr_limits l = limits(&v->cpu);

	if (backend_call(cpl)(v) || index != XCR_XFEATURE_ENABLED_MASK || !xcr0_valid(&l, val))
		return 1;
	cr_apply_xcr0(v, val);
	return 0;
}

static bool apic_base_valid(struct vcpu *v, u64 val, bool host)
{
	u64 reserved = ~((1ull << v->cpu.maxphyaddr) - 1) | 0x2ff;
	u64 mode = val & (APIC_BASE_ENABLE | APIC_BASE_X2APIC);
	u64 old = v->apic_base & (APIC_BASE_ENABLE | APIC_BASE_X2APIC);

	if (!guest_has(v, GUEST_X2APIC))
		reserved |= APIC_BASE_X2APIC;
	if ((val & reserved) || mode == APIC_BASE_X2APIC)
		return false;
	/* x2APIC is entered from xAPIC and left by disabling (SDM, "x2APIC State Transitions"). */
	if (!host && mode == (APIC_BASE_ENABLE | APIC_BASE_X2APIC) && !old)
		return false;
	return host || mode != APIC_BASE_ENABLE || old != (APIC_BASE_ENABLE | APIC_BASE_X2APIC);
}

int apic_base_set(struct vcpu *v, u64 val, bool host)
{
	u64 changed = v->apic_base ^ val;

	if (!apic_base_valid(v, val, host))
		return 1;
	if (v->apic && apic_set_base(v, val, host))
		return 1;
	v->apic_base = val;
	if (changed & APIC_BASE_ENABLE)
		cpuid_runtime_changed(v);
	return 0;
}

struct cr_limits cr_limits_of(struct vcpu *v)
{
	struct cr_limits l = limits(&v->cpu);

	/* Userspace may run long mode on a vCPU whose CPUID does not offer it; small VMMs do. */
	l.efer_allowed |= cpuid_host_efer() & ~(u64)EFER_SVME;
	return l;
}

void cr_load(struct vcpu *v, unsigned long cr0, unsigned long cr3, unsigned long cr4, u64 efer)
{
	if (v->efer != efer)
		put_efer(v, efer);
	if (vcpu_cr0(v) != cr0)
		put_cr0(v, cr0);
	if (vcpu_cr4(v) != cr4)
		put_cr4(v, cr4);
	if (vcpu_cr3(v) != cr3)
		put_cr3(v, cr3);
	mmu_mode_changed(v);
	backend_call(flush_tlb)(v);
}

int cr_check_sregs(struct vcpu *v, const struct kvm_sregs *sregs)
{
	struct cr_limits l = limits(&v->cpu);

	l.efer_allowed = cpuid_host_efer();	/* as in cr_limits_of() */
	/* Userspace may set registers before it says which CPU this is. */
	if (!v->cpu.nr_cpuid)
		l.cr4_reserved = cpuid_host_cr4_reserved();
	if (!sregs_valid(sregs, &l) || !apic_base_valid(v, sregs->apic_base, true))
		return -EINVAL;
	return 0;
}

void cr_apply_sregs(struct vcpu *v, const struct kvm_sregs *sregs)
{
	unsigned long cr0 = cr0_fix(sregs->cr0);
	bool changed;

	changed = vcpu_cr0(v) != cr0 || vcpu_cr3(v) != sregs->cr3 || vcpu_cr4(v) != sregs->cr4 ||
		  v->efer != sregs->efer;
	v->cr2 = sregs->cr2;
	cr_set_cr8(v, sregs->cr8);
	apic_base_set(v, sregs->apic_base, true);

	if (v->efer != sregs->efer)
		put_efer(v, sregs->efer);
	if (v->cr0 != cr0)
		put_cr0(v, cr0);
	if (v->cr4 != sregs->cr4)
		put_cr4(v, sregs->cr4);
	if (v->cr3 != sregs->cr3)
		put_cr3(v, sregs->cr3);

	backend_call(set_segment)(v, &sregs->cs, SEG_CS);
	backend_call(set_segment)(v, &sregs->ds, SEG_DS);
	backend_call(set_segment)(v, &sregs->es, SEG_ES);
	backend_call(set_segment)(v, &sregs->fs, SEG_FS);
	backend_call(set_segment)(v, &sregs->gs, SEG_GS);
	backend_call(set_segment)(v, &sregs->ss, SEG_SS);
	backend_call(set_segment)(v, &sregs->tr, SEG_TR);
	backend_call(set_segment)(v, &sregs->ldt, SEG_LDTR);
	backend_call(set_dt)(v, &sregs->idt, true);
	backend_call(set_dt)(v, &sregs->gdt, false);

	if (changed) {
		mmu_mode_changed(v);
		backend_call(flush_tlb)(v);
		v->cpu.pdptr_stale = cr_pae_paging(v);
	}
}

int cr_settle(struct vcpu *v)
{
	/*
	 * L2 was set, and how L1 translates its addresses is known only later: the pointers are
	 * read when they are needed.
	 */
	bool later = v->guest_mode && (READ_ONCE(v->virt.requests) & BIT(REQ_NESTED_PAGES));

	if (cr_pae_paging(v) && !later && mmu_load_pdptrs(v, vcpu_cr3(v)))
		return -EINVAL;
	if (later)
		v->regs_avail &= ~BIT(REG_PDPTR);
	v->cpu.pdptr_stale = false;
	return 0;
}
