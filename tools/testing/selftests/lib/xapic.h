/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The local APIC's registers by MMIO, as guests use them, and who serves them.
 */
#ifndef STRATA_SELFTEST_XAPIC_H
#define STRATA_SELFTEST_XAPIC_H

#include "pv.h"

#define APIC		0xfee00000ull
#define APIC_VECTOR	0x51
#define APIC_ROUNDS	200

enum {
	VERSION = 0x30,
	PPR = 0xa0,
	LDR = 0xd0,
	DFR = 0xe0,
	ISR = 0x100,
	IRR = 0x200,
	ESR = 0x280,
	ICR2 = 0x310,
	LINT1 = 0x360,
	LVT_ERROR = 0x370,
	TMICT = 0x380,
	TMCCT = 0x390,
	TDCR = 0x3e0
};

GUEST_INLINE volatile u32 *apic_at(u64 base, u32 offset)
{
	return (volatile u32 *)(base + offset);
}

GUEST_INLINE volatile u32 *reg(u32 offset)
{
	return apic_at(APIC, offset);
}

/* How many of APIC_VECTOR have come; set before the VM is made: on_apic_irq() is its handler. */
extern volatile u64 apic_irqs;
void on_apic_irq(struct guest_frame *frame);

/*
 * Guest, with interrupts on: in each of APIC_ROUNDS TPR is raised and lowered around an IPI to
 * itself, and registers are read.
 */
void apic_frequent(void);

u64 vcpu_exits(struct vcpu *vcpu);
/* The exits of apic_frequent() are few if the CPU serves what it does, and many if not. */
void apic_judge_exits(struct vcpu *vcpu, u64 exits, const char *when);

#endif
