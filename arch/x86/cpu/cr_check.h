/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Which values of the control registers are legal: rules of the APM ("System-Control Registers",
 * "Consistency Checks") and the SDM ("Control Registers"), as pure functions of values and of what
 * the guest's CPUID offers.
 */
#ifndef STRATA_CR_CHECK_H
#define STRATA_CR_CHECK_H

#include <linux/kvm.h>
#include <linux/types.h>

#define CR0_PE	(1ul << 0)
#define CR0_ET	(1ul << 4)
#define CR0_NE	(1ul << 5)
#define CR0_WP	(1ul << 16)
#define CR0_NW	(1ul << 29)
#define CR0_CD	(1ul << 30)
#define CR0_PG	(1ul << 31)
#define CR0_DEFINED	0xe005003ful

#define CR3_PCID	0xffful
#define CR3_KEEP_TLB	(1ull << 63)

#define CR4_VME		(1ul << 0)
#define CR4_TSD		(1ul << 2)
#define CR4_DE		(1ul << 3)
#define CR4_PSE		(1ul << 4)
#define CR4_PAE		(1ul << 5)
#define CR4_MCE		(1ul << 6)
#define CR4_PGE		(1ul << 7)
#define CR4_PCE		(1ul << 8)
#define CR4_OSFXSR	(1ul << 9)
#define CR4_OSXMMEXCPT	(1ul << 10)
#define CR4_UMIP	(1ul << 11)
#define CR4_LA57	(1ul << 12)
#define CR4_VMXE	(1ul << 13)
#define CR4_SMXE	(1ul << 14)
#define CR4_FSGSBASE	(1ul << 16)
#define CR4_PCIDE	(1ul << 17)
#define CR4_OSXSAVE	(1ul << 18)
#define CR4_SMEP	(1ul << 20)
#define CR4_SMAP	(1ul << 21)
#define CR4_PKE		(1ul << 22)
/* Always there */
#define CR4_BASE	(CR4_TSD | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE | CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT)

#define EFER_BIT_SCE	(1ull << 0)
#define EFER_BIT_LME	(1ull << 8)
#define EFER_BIT_LMA	(1ull << 10)
#define EFER_BIT_SVME	(1ull << 12)

#define XCR0_FP		(1ull << 0)
#define XCR0_SSE	(1ull << 1)
#define XCR0_YMM	(1ull << 2)
#define XCR0_AVX512	(7ull << 5)
#define XCR0_PKRU	(1ull << 9)

/**
 * struct cr_limits - what the guest's CPUID allows
 * @cr4_reserved: CR4 bits that must be 0
 * @efer_allowed: EFER bits that may be 1
 * @xcr0_allowed: XCR0 bits that may be 1
 * @maxphyaddr: physical address width
 */
struct cr_limits {
	unsigned long cr4_reserved;
	u64 efer_allowed;
	u64 xcr0_allowed;
	u8 maxphyaddr;
};

/**
 * struct cr_state - the registers that depend on each other
 * @cr0: CR0
 * @cr3: CR3
 * @cr4: CR4
 * @efer: EFER
 * @cs_l: CS is a 64-bit segment
 */
struct cr_state {
	unsigned long cr0, cr3, cr4;
	u64 efer;
	bool cs_l;
};

/*
 * MOV to CR0 of @val with state @s: true, or #GP. Bits that are ignored have been removed by
 * cr0_fix().
 */
bool cr0_valid(const struct cr_state *s, unsigned long val);
/* Reserved low bits read as 0, ET as 1. */
unsigned long cr0_fix(unsigned long val);
/* MOV to CR3; @noflush set if bit 63 asked for it. */
bool cr3_valid(const struct cr_state *s, const struct cr_limits *l, u64 val);
bool cr4_valid(const struct cr_state *s, const struct cr_limits *l, unsigned long val);
bool efer_valid(const struct cr_state *s, const struct cr_limits *l, u64 val);
bool xcr0_valid(const struct cr_limits *l, u64 val);
/* A whole set, as KVM_SET_SREGS brings it */
bool sregs_valid(const struct kvm_sregs *r, const struct cr_limits *l);

/* Linear address bits: the sign extension of bit 47, or 56 with CR4.LA57 */
static inline bool linear_canonical(u64 addr, bool la57)
{
	unsigned int shift = la57 ? 7 : 16;

	return (u64)((s64)(addr << shift) >> shift) == addr;
}

#endif
