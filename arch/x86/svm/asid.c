// SPDX-License-Identifier: GPL-2.0
/*
 * ASIDs by generations. Pure.
 */
#include "asid.h"

enum svm_tlb svm_asid_take(struct svm_asids *cpu, struct svm_asid *a, u32 nr, bool by_asid)
{
	enum svm_tlb flush = TLB_NOTHING;

	if (a->held == cpu->gen && by_asid) {
		a->gen = a->held;
		return TLB_THIS;
	}
	if (cpu->next >= nr) {
		cpu->gen++;
		cpu->next = 1;
		flush = TLB_ALL;
	}
	a->gen = a->held = cpu->gen;
	a->asid = cpu->next++;
	return flush;
}

void svm_asids_reset(struct svm_asids *cpu, u32 nr)
{
	cpu->gen++;
	cpu->next = nr;
}
