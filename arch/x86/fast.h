/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the backends ask before they handle an exit with interrupts off.
 */
#ifndef STRATA_X86_FAST_H
#define STRATA_X86_FAST_H

#include "strata.h"
#include "irq/lapic.h"
#include "irqchip/irqchip.h"

#include <asm/processor-flags.h>

/* Nothing but the instruction itself happens: no trap of TF or of userspace, nothing waiting. */
static __always_inline bool fast_plain(const struct vcpu *v, unsigned long rflags)
{
	return !v->exit_slow && !(rflags & (X86_EFLAGS_TF | X86_EFLAGS_RF));
}

/* MSRs whose write neither sleeps nor takes a lock that is taken with interrupts on. */
static __always_inline bool fast_msr(const struct vcpu *v, u32 msr)
{
	switch (msr) {
	case MSR_IA32_TSC_ADJUST:
		return true;
	case MSR_IA32_TSC_DEADLINE:
	case LAPIC_X2APIC_MSR + LAPIC_TPR / 0x10:
	case LAPIC_X2APIC_MSR + LAPIC_EOI / 0x10:
	case LAPIC_X2APIC_MSR + LAPIC_ICR / 0x10:
	case LAPIC_X2APIC_MSR + LAPIC_SELF_IPI / 0x10:
		return v->apic;
	default:
		return false;
	}
}

/* What was handled may have left something to do before the next entry. */
static __always_inline bool fast_leaves_work(const struct vcpu *v)
{
	return READ_ONCE(v->virt.requests) || (v->apic && apic_offers(v->apic));
}

#endif
