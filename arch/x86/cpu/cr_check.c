// SPDX-License-Identifier: GPL-2.0
/*
 * Legal values of CR0, CR3, CR4, EFER and XCR0. Pure: values in, a verdict out.
 */
#include "cr_check.h"

unsigned long cr0_fix(unsigned long val)
{
	return (val & ~(0xfffffffful & ~CR0_DEFINED)) | CR0_ET;
}

bool cr0_valid(const struct cr_state *s, unsigned long val)
{
	bool lme = s->efer & EFER_BIT_LME;

	if (val >> 32)
		return false;
	if ((val & CR0_PG) && !(val & CR0_PE))
		return false;
	if ((val & CR0_NW) && !(val & CR0_CD))
		return false;
	if ((val & CR0_PG) && !(s->cr0 & CR0_PG)) {
		/* Long mode is entered from a legacy code segment, with PAE. */
		if (lme && (!(s->cr4 & CR4_PAE) || s->cs_l))
			return false;
	}
	if (!(val & CR0_PG) && (s->cr0 & CR0_PG)) {
		if ((s->cr4 & CR4_PCIDE) || ((s->efer & EFER_BIT_LMA) && s->cs_l))
			return false;
	}
	return true;
}

static u64 reserved_gpa_bits(const struct cr_limits *l)
{
	return ~((1ull << l->maxphyaddr) - 1);
}

bool cr3_valid(const struct cr_state *s, const struct cr_limits *l, u64 val)
{
	if (!(s->efer & EFER_BIT_LMA))
		return true;
	if (s->cr4 & CR4_PCIDE)
		val &= ~CR3_KEEP_TLB;
	return !(val & reserved_gpa_bits(l));
}

bool cr4_valid(const struct cr_state *s, const struct cr_limits *l, unsigned long val)
{
	bool lma = s->efer & EFER_BIT_LMA;

	if (val & l->cr4_reserved)
		return false;
	if (lma && (!(val & CR4_PAE) || ((val ^ s->cr4) & CR4_LA57)))
		return false;
	/* PCIDE is switched on in long mode only, and with PCID 0. */
	if ((val & CR4_PCIDE) && !(s->cr4 & CR4_PCIDE) && (!lma || (s->cr3 & CR3_PCID)))
		return false;
	return true;
}

bool efer_valid(const struct cr_state *s, const struct cr_limits *l, u64 val)
{
	if (val & ~l->efer_allowed)
		return false;
	return !((s->cr0 & CR0_PG) && ((val ^ s->efer) & EFER_BIT_LME));
}

bool xcr0_valid(const struct cr_limits *l, u64 val)
{
	if (!(val & XCR0_FP) || (val & ~l->xcr0_allowed))
		return false;
	if ((val & XCR0_YMM) && !(val & XCR0_SSE))
		return false;
	if ((val & XCR0_AVX512) && ((val & XCR0_AVX512) != XCR0_AVX512 || !(val & XCR0_YMM)))
		return false;
	return true;
}

bool sregs_valid(const struct kvm_sregs *r, const struct cr_limits *l)
{
	bool long_mode = (r->efer & EFER_BIT_LME) && (r->cr0 & CR0_PG);

	if (r->cr0 >> 32 || ((r->cr0 & CR0_PG) && !(r->cr0 & CR0_PE)) ||
	    ((r->cr0 & CR0_NW) && !(r->cr0 & CR0_CD)))
		return false;
	if ((r->cr4 & l->cr4_reserved) || (r->efer & ~l->efer_allowed) || r->cr8 > 15)
		return false;
	if (long_mode) {
		if (!(r->cr4 & CR4_PAE) || !(r->efer & EFER_BIT_LMA) ||
		    (r->cr3 & reserved_gpa_bits(l)))
			return false;
		return !(r->cs.l && r->cs.db);
	}
	return !(r->efer & EFER_BIT_LMA) && !r->cs.l && !(r->cr4 & CR4_PCIDE);
}
