/* SPDX-License-Identifier: GPL-2.0 */
/*
 * MTRRs as a guest sees them: storage with the validity rules of the SDM, "Memory Type Range
 * Registers". They have no effect on nested
 * paging: guest memory is write-back, the guest's PAT does the rest. Pure.
 */
#ifndef STRATA_MTRR_H
#define STRATA_MTRR_H

#include <linux/types.h>

#define MTRR_NR_VAR	8	/* base and mask pairs */
#define MTRR_NR_FIXED	11

#define MTRR_MSR_CAP		0x0fe
#define MTRR_MSR_VAR		0x200
#define MTRR_MSR_VAR_LAST	(MTRR_MSR_VAR + 2 * MTRR_NR_VAR - 1)
#define MTRR_MSR_FIX64K		0x250
#define MTRR_MSR_FIX16K		0x258
#define MTRR_MSR_FIX4K		0x268
#define MTRR_MSR_FIX4K_LAST	0x26f
#define MTRR_MSR_DEF_TYPE	0x2ff
/* Fixed and write-combining types are there, no SMRR */
#define MTRR_CAP		(0x500 | MTRR_NR_VAR)

/**
 * struct mtrr_state - the registers
 * @def_type: IA32_MTRR_DEF_TYPE
 * @fixed: 64K, 16K x2, 4K x8
 * @var: base, mask, base, mask...
 */
struct mtrr_state {
	u64 def_type;
	u64 fixed[MTRR_NR_FIXED];
	u64 var[2 * MTRR_NR_VAR];
};

/* Storage of an MTRR MSR, NULL if it is none (MTRRcap has none). */
u64 *mtrr_slot(struct mtrr_state *m, u32 msr);
/* May this value be written? */
bool mtrr_valid(u32 msr, u64 val, u8 maxphyaddr);
/* Eight memory types, as PAT and fixed MTRRs hold them; @pat adds UC-. */
bool mtrr_types_valid(u64 val, bool pat);

#endif
