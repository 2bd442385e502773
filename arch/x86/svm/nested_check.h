/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What VMRUN refuses (APM vol. 2, "Canonicalization and Consistency Checks", "Event Injection",
 * "Nested Paging and VMRUN/#VMEXIT"), as a pure function of a copy of the guest's control block;
 * and what of its intercepts counts. No kernel header beyond types and bits: the unit suite links
 * it too.
 */
#ifndef STRATA_NESTED_CHECK_H
#define STRATA_NESTED_CHECK_H

#include <linux/bits.h>
#include <linux/types.h>

/**
 * struct svm_entry - the fields of a control block that the checks look at
 * @vmrun_intercepted: the VMRUN intercept bit
 * @nested_paging: NP_ENABLE
 * @asid: ASID
 * @event_inj: EVENTINJ, low half
 * @iopm: base of the IO permission map
 * @msrpm: base of the MSR permission map
 * @ncr3: nested CR3
 * @g_pat: PAT, used with nested paging only
 * @efer: EFER
 * @cr0: CR0
 * @cr3: CR3
 * @cr4: CR4
 * @dr6: DR6
 * @dr7: DR7
 * @cs_attrib: attributes of CS as the control block packs them
 */
struct svm_entry {
	bool vmrun_intercepted;
	bool nested_paging;
	u32 asid;
	u32 event_inj;
	u64 iopm, msrpm, ncr3, g_pat;
	u64 efer, cr0, cr3, cr4, dr6, dr7;
	u16 cs_attrib;
};

/**
 * struct svm_limits - what the processor that executes VMRUN offers
 * @cr4_reserved: CR4 bits that must be 0
 * @efer_allowed: EFER bits that may be 1
 * @maxphyaddr: physical address width
 * @long_mode: long mode is there
 * @nested_paging: nested paging is there
 * @paging: CR0.PG of the host
 */
struct svm_limits {
	u64 cr4_reserved;
	u64 efer_allowed;
	u8 maxphyaddr;
	bool long_mode;
	bool nested_paging;
	bool paging;
};

/* What was wrong: one name for each check */
enum svm_refusal {
	SVM_REFUSE_NOTHING,
	SVM_REFUSE_VMRUN,	/* VMRUN is not intercepted */
	SVM_REFUSE_ASID,	/* ASID 0 */
	SVM_REFUSE_IOPM,	/* the map reaches beyond physical addresses */
	SVM_REFUSE_MSRPM,
	SVM_REFUSE_NP,		/* nested paging: not there, or the host does not page */
	SVM_REFUSE_NCR3,
	SVM_REFUSE_PAT,
	SVM_REFUSE_EVENT_TYPE,
	SVM_REFUSE_EVENT_VECTOR,
	SVM_REFUSE_SVME,
	SVM_REFUSE_EFER,
	SVM_REFUSE_CR0_NW,
	SVM_REFUSE_CR0,
	SVM_REFUSE_CR3,
	SVM_REFUSE_CR4,
	SVM_REFUSE_DR6,
	SVM_REFUSE_DR7,
	SVM_REFUSE_LONG_MODE,	/* EFER.LME or LMA without long mode */
	SVM_REFUSE_LONG_PAE,	/* long mode without CR4.PAE */
	SVM_REFUSE_LONG_PE,	/* long mode without CR0.PE */
	SVM_REFUSE_CS,		/* long mode, CS.L and CS.D */
	SVM_NR_REFUSALS,
};

/**
 * svm_check_controls() - the control area
 * @e: the copy
 * @l: the processor
 *
 * Return: the first check that failed.
 */
enum svm_refusal svm_check_controls(const struct svm_entry *e, const struct svm_limits *l);

/**
 * svm_check_save() - registers, of the guest that is to be entered or of a host that is to be
 * returned to
 * @e: the copy
 * @l: the processor
 *
 * Return: the first check that failed.
 */
enum svm_refusal svm_check_save(const struct svm_entry *e, const struct svm_limits *l);

/**
 * svm_check_entry() - all of it
 * @e: the copy
 * @l: the processor
 *
 * Return: the first check that failed.
 */
static inline enum svm_refusal svm_check_entry(const struct svm_entry *e,
					       const struct svm_limits *l)
{
	enum svm_refusal r = svm_check_controls(e, l);

	return r ? r : svm_check_save(e, l);
}

/* Words of the control block's intercepts */
#define SVM_INTERCEPT_WORDS	6

/**
 * svm_merge_intercepts() - what L2 exits by
 * @own: L0's, for L1
 * @l1: L1's for L2, of which only what is offered counts
 * @to: filled in: whatever L1 says, all of @own is in it
 */
void svm_merge_intercepts(const u32 *own, const u32 *l1, u32 *to);

/* EFER as VMRUN loads it: LMA follows LME and paging. */
u64 svm_entry_efer(u64 efer, u64 cr0);

#endif
