/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Which ASID a vCPU's translations are tagged with, and what has to be flushed (APM vol. 2, "TLB
 * Control"). Pure.
 *
 * ASIDs are handed out per CPU in generations: a vCPU whose generation is not the CPU's takes a new
 * one; when they run out the generation ends and the TLB is flushed once. A flush of one vCPU's
 * translations is a new ASID, or, where the CPU can, a flush by ASID.
 */
#ifndef STRATA_SVM_ASID_H
#define STRATA_SVM_ASID_H

#include <linux/types.h>

/*
 * The control block's TLB_CONTROL: do nothing, flush all, flush this guest's, flush this guest's
 * that are not global.
 */
enum svm_tlb { TLB_NOTHING = 0, TLB_ALL = 1, TLB_THIS = 3, TLB_THIS_LOCAL = 7 };

/**
 * struct svm_asids - the ASIDs of a CPU
 * @gen: current generation, not 0
 * @next: next free ASID, 1 to the number of them less one; with that number there is none left
 */
struct svm_asids {
	u64 gen;
	u32 next;
};

/**
 * struct svm_asid - one of the host's ASIDs
 * @gen: generation that it belongs to on the CPU that the vCPU ran on; 0: before it is used again,
 *	what it tags has to go
 * @held: the same, but not 0 for that reason
 * @asid: its number
 */
struct svm_asid {
	u64 gen;
	u64 held;
	u32 asid;
};

/**
 * svm_asid_take() - make an ASID one of the CPU's current generation, with nothing that must not be
 * used behind it
 * @cpu: of the CPU that the vCPU is about to be entered on
 * @a: whose generation is another; zero in both generations if it comes from another CPU
 * @nr: how many ASIDs the CPU has, 0, which is the host's, among them
 * @by_asid: the CPU can flush by ASID
 *
 * Returns what the next VMRUN has to flush.
 */
enum svm_tlb svm_asid_take(struct svm_asids *cpu, struct svm_asid *a, u32 nr, bool by_asid);

/* The CPU was off: nothing is known of it, so the first one to come flushes all. */
void svm_asids_reset(struct svm_asids *cpu, u32 nr);

#endif
