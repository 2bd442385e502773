// SPDX-License-Identifier: GPL-2.0
/*
 * Machine-check registers of the guest and machine checks that userspace raises (KVM_X86_SETUP_MCE,
 * KVM_X86_SET_MCE).
 */
#include <linux/nospec.h>
#include <linux/slab.h>
#include <asm/mce.h>
#include <asm/msr-index.h>

#include "../strata.h"
#include "../trace_queue.h"
#include "rows.h"

#define MCE_MAX_BANKS	32
#define MCE_BANK_REGS	4	/* CTL, STATUS, ADDR, MISC */
#define MCE_CAP		(MCG_CTL_P | MCG_SER_P)
#define HWCR_MC_STATUS_WR	BIT_ULL(18)

enum { BANK_CTL, BANK_STATUS, BANK_ADDR, BANK_MISC };

static unsigned int nr_banks(const struct vcpu_mce *m)
{
	return m->cap & MCG_BANKCNT_MASK;
}

static u64 *bank_reg(struct vcpu_mce *m, u32 msr)
{
	u32 at = msr - MSR_IA32_MC0_CTL;

	return at < nr_banks(m) * MCE_BANK_REGS ? &m->banks[array_index_nospec(at, MCE_MAX_BANKS * MCE_BANK_REGS)] : NULL;
}

int mce_get(struct vcpu *v, u32 msr, u64 *val, bool host)
{
	struct vcpu_mce *m = &v->cpu.mce;
	u64 *reg;

	switch (msr) {
	case MSR_IA32_MCG_CAP:
		*val = m->cap;
		return 0;
	case MSR_IA32_MCG_STATUS:
		*val = m->status;
		return 0;
	case MSR_IA32_MCG_CTL:
		if (!(m->cap & MCG_CTL_P) && !host)
			return 1;
		*val = m->ctl;
		return 0;
	}
	reg = bank_reg(m, msr);
	if (!reg)
		return 1;
	*val = *reg;
	return 0;
}

/* What hardware logs, software may only clear; AMD has a switch for that. */
static bool bank_writable(struct vcpu *v, u32 msr, u64 val)
{
	switch ((msr - MSR_IA32_MC0_CTL) % MCE_BANK_REGS) {
	case BANK_CTL:
		return true;
	case BANK_STATUS:
		return !val || (guest_has(v, GUEST_AMD) && (v->cpu.hwcr & HWCR_MC_STATUS_WR));
	default:
		return !val || guest_has(v, GUEST_AMD);
	}
}

int mce_set(struct vcpu *v, u32 msr, u64 val, bool host)
{
	struct vcpu_mce *m = &v->cpu.mce;
	u64 *reg;

	switch (msr) {
	case MSR_IA32_MCG_CAP:
		return val != m->cap;
	case MSR_IA32_MCG_STATUS:
		if (val & ~(u64)(MCG_STATUS_RIPV | MCG_STATUS_EIPV | MCG_STATUS_MCIP))
			return 1;
		m->status = val;
		return 0;
	case MSR_IA32_MCG_CTL:
		if (!(m->cap & MCG_CTL_P) && (!host || val))
			return 1;
		if (val && val != ~0ull)
			return 1;
		m->ctl = val;
		return 0;
	}
	reg = bank_reg(m, msr);
	if (!reg || (!host && !bank_writable(v, msr, val)))
		return 1;
	*reg = val;
	return 0;
}

int mce_vcpu_init(struct vcpu *v)
{
	struct vcpu_mce *m = &v->cpu.mce;

	m->banks = kcalloc(MCE_MAX_BANKS * MCE_BANK_REGS, sizeof(u64), GFP_KERNEL_ACCOUNT);
	m->cap = MCE_MAX_BANKS;
	return m->banks ? 0 : -ENOMEM;
}

void mce_vcpu_destroy(struct vcpu *v)
{
	kfree(v->cpu.mce.banks);
	v->cpu.mce.banks = NULL;
}

static long setup_mce(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	struct vcpu_mce *m = &to_vcpu(vv)->cpu.mce;
	u64 cap = *(u64 *)data;
	unsigned int banks = cap & MCG_BANKCNT_MASK, i;

	if (!banks || banks > MCE_MAX_BANKS ||
	    (cap & ~(u64)(MCE_CAP | MCG_BANKCNT_MASK | MCG_EXT_CNT_MASK)))
		return -EINVAL;
	m->cap = cap;
	m->ctl = cap & MCG_CTL_P ? ~0ull : 0;
	for (i = 0; i < banks; i++)
		m->banks[i * MCE_BANK_REGS + BANK_CTL] = ~0ull;
	return 0;
}

static void log_error(u64 *bank, const struct kvm_x86_mce *mce)
{
	u64 overflow = bank[BANK_STATUS] & MCI_STATUS_VAL ? MCI_STATUS_OVER : 0;

	bank[BANK_STATUS] = mce->status | overflow;
	bank[BANK_ADDR] = mce->addr;
	bank[BANK_MISC] = mce->misc;
}

/*
 * An uncorrected error: #MC, or shutdown where the guest cannot take one (SDM, "Machine-Check
 * Exception").
 */
static void raise_uncorrected(struct vcpu *v, u64 *bank, const struct kvm_x86_mce *mce)
{
	struct vcpu_mce *m = &v->cpu.mce;
	struct event_view view;

	if ((m->status & MCG_STATUS_MCIP) || !(vcpu_cr4(v) & CR4_MCE)) {
		v->events.triple_fault = true;
		return;
	}
	log_error(bank, mce);
	m->status = mce->mcg_status;
	vcpu_view(v, &view);
	event_machine_check(&v->events, &view);
	trace_strata_event_queued(v, PLACE_EXCEPTION, EVENT_EXCEPTION, MC_VECTOR);
}

static long set_mce(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	const struct kvm_x86_mce *mce = data;
	struct vcpu *v = to_vcpu(vv);
	struct vcpu_mce *m = &v->cpu.mce;
	u64 *bank;

	if (mce->bank >= nr_banks(m) || !(mce->status & MCI_STATUS_VAL))
		return -EINVAL;
	bank = &m->banks[array_index_nospec(mce->bank, MCE_MAX_BANKS) * MCE_BANK_REGS];
	if (mce->status & MCI_STATUS_UC) {
		/* Reporting is off for all banks, or for this one. */
		if (((m->cap & MCG_CTL_P) && m->ctl != ~0ull) || bank[BANK_CTL] != ~0ull)
			return 0;
		raise_uncorrected(v, bank, mce);
		return 0;
	}
	/* A corrected error does not overwrite an uncorrected one. */
	if ((bank[BANK_STATUS] & (MCI_STATUS_VAL | MCI_STATUS_UC)) ==
	    (MCI_STATUS_VAL | MCI_STATUS_UC))
		bank[BANK_STATUS] |= MCI_STATUS_OVER;
	else
		log_error(bank, mce);
	return 0;
}

static long get_mce_cap(void *data, unsigned long raw)
{
	*(u64 *)data = MCE_CAP;
	return 0;
}

const struct ioctl_row mce_vcpu_ioctls[] = {
	{ KVM_X86_SETUP_MCE, 0,          .vcpu = setup_mce },
	{ KVM_X86_SET_MCE,   IOCTL_LOAD, .vcpu = set_mce },
};
const unsigned int mce_nr_vcpu_ioctls = ARRAY_SIZE(mce_vcpu_ioctls);

const struct ioctl_row mce_dev_ioctls[] = {
	{ KVM_X86_GET_MCE_CAP_SUPPORTED, 0, .dev = get_mce_cap },
};
const unsigned int mce_nr_dev_ioctls = ARRAY_SIZE(mce_dev_ioctls);
