/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A second walker of page tables, to compare the module's with: one function per paging mode, bit
 * numbers as the manuals' figures give them, no sharing between the modes, and no tables of masks.
 */
#ifndef STRATA_REF_WALK_H
#define STRATA_REF_WALK_H

#include <linux/types.h>

#define MEM_PAGES	16
#define MEM_SIZE	(MEM_PAGES * 4096)

/* Guest memory from address 0; nothing beyond */
struct mem {
	u8 byte[MEM_SIZE];
};

struct ref_cpu {
	unsigned long cr0, cr4;
	u64 efer, cr3, pdptr[4];
	u32 pkru;
	bool ac;
	u8 maxphyaddr;
	bool gbpages, amd;
};

struct ref_access {
	u64 linear;
	bool write, user, fetch, implicit;
};

enum ref_outcome { REF_OK, REF_PF, REF_NO_MEMORY };

struct ref_result {
	enum ref_outcome outcome;
	u32 error;
	u64 gpa;
	int level;
	bool writable, user, exec;
};

/* Translate; A and D bits are set in @mem when that succeeds. */
struct ref_result ref_walk(const struct ref_cpu *cpu, const struct ref_access *a, struct mem *mem);

#endif
