// SPDX-License-Identifier: GPL-2.0
/* MTRR storage and validity. Pure. */
#include "mtrr.h"

/* UC, WC, WT, WP, WB; UC- (7) in the PAT only */
static bool type_valid(u8 type, bool pat)
{
	return type < 8 && ((pat ? 0xf3 : 0x73) >> type & 1);
}

bool mtrr_types_valid(u64 val, bool pat)
{
	unsigned int i;

	for (i = 0; i < 8; i++)
		if (!type_valid(val >> (8 * i), pat))
			return false;
	return true;
}

u64 *mtrr_slot(struct mtrr_state *m, u32 msr)
{
	if (msr >= MTRR_MSR_VAR && msr <= MTRR_MSR_VAR_LAST)
		return &m->var[msr - MTRR_MSR_VAR];
	if (msr >= MTRR_MSR_FIX4K && msr <= MTRR_MSR_FIX4K_LAST)
		return &m->fixed[3 + msr - MTRR_MSR_FIX4K];
	switch (msr) {
	case MTRR_MSR_FIX64K:
		return &m->fixed[0];
	case MTRR_MSR_FIX16K:
	case MTRR_MSR_FIX16K + 1:
		return &m->fixed[1 + msr - MTRR_MSR_FIX16K];
	case MTRR_MSR_DEF_TYPE:
		return &m->def_type;
	}
	return NULL;
}

bool mtrr_valid(u32 msr, u64 val, u8 maxphyaddr)
{
	u64 reserved = ~((1ull << maxphyaddr) - 1);

	if (msr == MTRR_MSR_DEF_TYPE)
		return !(val & ~0xcffull) && type_valid(val, false);
	if (msr >= MTRR_MSR_VAR && msr <= MTRR_MSR_VAR_LAST) {
		if (msr & 1)
			return !(val & (reserved | 0x7ff));
		return !(val & (reserved | 0xf00)) && type_valid(val, false);
	}
	return mtrr_types_valid(val, false);
}
