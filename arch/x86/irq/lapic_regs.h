/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The local APIC's registers: offsets in the register page and their bits (SDM vol. 3, "Local APIC
 * Register Address Map").
 */
#ifndef STRATA_LAPIC_REGS_H
#define STRATA_LAPIC_REGS_H

#include <linux/bits.h>

enum lapic_reg {
	LAPIC_ID		= 0x020,
	LAPIC_VERSION		= 0x030,
	LAPIC_TPR		= 0x080,
	LAPIC_APR		= 0x090,
	LAPIC_PPR		= 0x0a0,
	LAPIC_EOI		= 0x0b0,
	LAPIC_RRD		= 0x0c0,
	LAPIC_LDR		= 0x0d0,
	LAPIC_DFR		= 0x0e0,
	LAPIC_SVR		= 0x0f0,
	LAPIC_ISR		= 0x100,
	LAPIC_TMR		= 0x180,
	LAPIC_IRR		= 0x200,
	LAPIC_ESR		= 0x280,
	LAPIC_LVT_CMCI		= 0x2f0,
	LAPIC_ICR		= 0x300,
	LAPIC_ICR2		= 0x310,
	LAPIC_LVT_TIMER		= 0x320,
	LAPIC_LVT_THERMAL	= 0x330,
	LAPIC_LVT_PERF		= 0x340,
	LAPIC_LVT_LINT0		= 0x350,
	LAPIC_LVT_LINT1		= 0x360,
	LAPIC_LVT_ERROR		= 0x370,
	LAPIC_TMICT		= 0x380,
	LAPIC_TMCCT		= 0x390,
	LAPIC_TDCR		= 0x3e0,
	LAPIC_SELF_IPI		= 0x3f0,
	LAPIC_REGS_SIZE		= 0x400,
};

/*
 * Unused double-words of the image that KVM_GET_LAPIC gives. They carry what the architectural
 * registers cannot; zero (as VMMs that rebuild the image leave it) means that it is not known.
 */
enum lapic_image {
	LAPIC_IMAGE_ESR		= 0x284,	/* errors since the last write to the ESR */
	LAPIC_IMAGE_PHASE	= 0x394,	/* nanoseconds since the count last changed */
	LAPIC_IMAGE_MARK	= 0x398,	/* LAPIC_IMAGE_VALID: the count is exact, even if zero */
};

#define LAPIC_IMAGE_VALID	0x73747261

#define LAPIC_X2APIC_MSR	0x800
#define LAPIC_X2APIC_MSR_LAST	0x8ff

/* IA32_APIC_BASE */
#define LAPIC_BASE_BSP		BIT_ULL(8)
#define LAPIC_BASE_EXTD		BIT_ULL(10)
#define LAPIC_BASE_EN		BIT_ULL(11)
#define LAPIC_BASE_RESET	0xfee00000ull

/* Version register */
#define LAPIC_VERSION_VALUE	0x14
#define LAPIC_VERSION_MAXLVT(n)	((u32)(n) << 16)
#define LAPIC_VERSION_DIRECTED	BIT(24)

/* Spurious-interrupt vector register */
#define LAPIC_SVR_ENABLED	BIT(8)
#define LAPIC_SVR_DIRECTED	BIT(12)

/* Local vector table and, where shared, the interrupt command register */
#define LAPIC_VECTOR		0xff
#define LAPIC_MODE_SHIFT	8
#define LAPIC_LVT_STATUS	BIT(12)
#define LAPIC_LVT_POLARITY	BIT(13)
#define LAPIC_LVT_REMOTE_IRR	BIT(14)
#define LAPIC_LVT_LEVEL		BIT(15)
#define LAPIC_LVT_MASKED	BIT(16)
#define LAPIC_LVTT_MODE_SHIFT	17
#define LAPIC_LVTT_PERIODIC	BIT(17)
#define LAPIC_LVTT_DEADLINE	BIT(18)

#define LAPIC_ICR_LOGICAL	BIT(11)
#define LAPIC_ICR_BUSY		BIT(12)
#define LAPIC_ICR_ASSERT	BIT(14)
#define LAPIC_ICR_LEVEL		BIT(15)
#define LAPIC_ICR_SHORTHAND	18
#define LAPIC_ICR_X2_RESERVED	(GENMASK(31, 20) | GENMASK(17, 16) | BIT(13))

/* Error status register */
#define LAPIC_ESR_SEND_ILLEGAL	BIT(5)
#define LAPIC_ESR_RECV_ILLEGAL	BIT(6)
#define LAPIC_ESR_REGISTER	BIT(7)

#define LAPIC_DFR_FLAT		0xf
#define LAPIC_DFR_CLUSTER	0x0

#endif
