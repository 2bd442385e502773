// SPDX-License-Identifier: GPL-2.0
/*
 * The consistency checks of VMRUN, and the intercepts of both levels in one. Pure.
 */
#include "nested_check.h"

#include <asm/svm.h>

#define IOPM_SIZE	(3 * 4096ull)
#define MSRPM_SIZE	(2 * 4096ull)

#define EVENT_VALID	BIT(31)
#define EVENT_TYPE(x)	((x) >> 8 & 7)
enum { TYPE_INTR = 0, TYPE_NMI = 2, TYPE_EXCEPTION = 3, TYPE_SOFT = 4 };

#define EFER_LME	BIT_ULL(8)
#define EFER_LMA	BIT_ULL(10)
#define EFER_SVME	BIT_ULL(12)
#define CR0_PE		BIT_ULL(0)
#define CR0_NW		BIT_ULL(29)
#define CR0_CD		BIT_ULL(30)
#define CR0_PG		BIT_ULL(31)
#define CR4_PAE		BIT_ULL(5)
/* Attributes as the control block packs them: bits 55:52 and 47:40 of a descriptor */
#define CS_L		BIT(9)
#define CS_D		BIT(10)

static u64 beyond(u8 maxphyaddr)
{
	return ~((1ull << maxphyaddr) - 1);
}

/* The low 12 bits are ignored. */
static bool map_fits(u64 base, u64 size, const struct svm_limits *l)
{
	u64 first = base & ~0xfffull, last = first + size - 1;

	return last > first && !((first | last) & beyond(l->maxphyaddr));
}

#define EACH_BYTE	0x0101010101010101ull

/*
 * UC 0, WC 1, WT 4, WP 5, WB 6, UC- 7 in each of eight bytes: nothing above bit 2, and no bit 1
 * without bit 2
 */
static bool pat_valid(u64 pat)
{
	return !(pat & 0xf8 * EACH_BYTE) && !(pat >> 1 & ~(pat >> 2) & EACH_BYTE);
}

static enum svm_refusal check_event(u32 event)
{
	u8 vector = event;

	if (!(event & EVENT_VALID))
		return SVM_REFUSE_NOTHING;
	switch (EVENT_TYPE(event)) {
	case TYPE_INTR:
	case TYPE_NMI:
	case TYPE_SOFT:
		return SVM_REFUSE_NOTHING;
	case TYPE_EXCEPTION:
		/* Vector 2 is an NMI, not an exception. */
		return vector > 31 || vector == 2 ? SVM_REFUSE_EVENT_VECTOR : SVM_REFUSE_NOTHING;
	default:
		return SVM_REFUSE_EVENT_TYPE;
	}
}

static enum svm_refusal check_paging(const struct svm_entry *e, const struct svm_limits *l)
{
	if (!e->nested_paging)
		return SVM_REFUSE_NOTHING;
	if (!l->nested_paging || !l->paging)
		return SVM_REFUSE_NP;
	if (e->ncr3 & beyond(l->maxphyaddr))
		return SVM_REFUSE_NCR3;
	return pat_valid(e->g_pat) ? SVM_REFUSE_NOTHING : SVM_REFUSE_PAT;
}

enum svm_refusal svm_check_controls(const struct svm_entry *e, const struct svm_limits *l)
{
	enum svm_refusal r;

	if (!e->vmrun_intercepted)
		return SVM_REFUSE_VMRUN;
	if (!e->asid)
		return SVM_REFUSE_ASID;
	if (!map_fits(e->iopm, IOPM_SIZE, l))
		return SVM_REFUSE_IOPM;
	if (!map_fits(e->msrpm, MSRPM_SIZE, l))
		return SVM_REFUSE_MSRPM;
	r = check_paging(e, l);
	return r ? r : check_event(e->event_inj);
}

static enum svm_refusal check_long_mode(const struct svm_entry *e, const struct svm_limits *l)
{
	if ((e->efer & (EFER_LME | EFER_LMA)) && !l->long_mode)
		return SVM_REFUSE_LONG_MODE;
	if (!(e->efer & EFER_LME) || !(e->cr0 & CR0_PG))
		return SVM_REFUSE_NOTHING;
	if (!(e->cr4 & CR4_PAE))
		return SVM_REFUSE_LONG_PAE;
	if (!(e->cr0 & CR0_PE))
		return SVM_REFUSE_LONG_PE;
	return (e->cs_attrib & (CS_L | CS_D)) == (CS_L | CS_D) ? SVM_REFUSE_CS : SVM_REFUSE_NOTHING;
}

enum svm_refusal svm_check_save(const struct svm_entry *e, const struct svm_limits *l)
{
	if (!(e->efer & EFER_SVME))
		return SVM_REFUSE_SVME;
	if (e->efer & ~(l->efer_allowed | EFER_LME | EFER_LMA))
		return SVM_REFUSE_EFER;
	if ((e->cr0 & (CR0_CD | CR0_NW)) == CR0_NW)
		return SVM_REFUSE_CR0_NW;
	if (e->cr0 >> 32)
		return SVM_REFUSE_CR0;
	if (e->cr3 & beyond(l->maxphyaddr))
		return SVM_REFUSE_CR3;
	if (e->cr4 & l->cr4_reserved)
		return SVM_REFUSE_CR4;
	if (e->dr6 >> 32)
		return SVM_REFUSE_DR6;
	if (e->dr7 >> 32)
		return SVM_REFUSE_DR7;
	return check_long_mode(e, l);
}

u64 svm_entry_efer(u64 efer, u64 cr0)
{
	return (efer & EFER_LME) && (cr0 & CR0_PG) ? efer | EFER_LMA : efer & ~EFER_LMA;
}

/* Not the write traps of SEV-ES, nor INVLPGB, MCOMMIT and TLBSYNC, which guests do not have. */
static const u32 offered[SVM_INTERCEPT_WORDS] = {
	[0 ... 3] = ~0u,	/* CRn, DRn, exceptions, and what the first word of instructions has */
	[4] = BIT(SVM_EXIT_RDPRU - SVM_EXIT_VMRUN + 1) - 1,
	[5] = BIT(SVM_EXIT_INVPCID & 31),
};

void svm_merge_intercepts(const u32 *own, const u32 *l1, u32 *to)
{
	unsigned int i;

	for (i = 0; i < SVM_INTERCEPT_WORDS; i++)
		to[i] = own[i] | (l1[i] & offered[i]);
}
