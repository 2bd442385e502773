// SPDX-License-Identifier: GPL-2.0
/* Decisions of an MSR filter. Pure. */
#include "msr_filter.h"

#include <linux/nospec.h>

#define X2APIC_FIRST	0x800
#define X2APIC_LAST	0x8ff

bool msr_filter_allows(const struct msr_filter *f, u32 msr, bool write)
{
	u32 want = write ? KVM_MSR_FILTER_WRITE : KVM_MSR_FILTER_READ;
	const struct msr_range *r;
	u32 at;

	if (!f || (msr >= X2APIC_FIRST && msr <= X2APIC_LAST))
		return true;
	for (r = f->range; r < f->range + f->nr; r++) {
		at = msr - r->base;
		if (at >= r->nmsrs || !(r->flags & want))
			continue;
		at = array_index_nospec(at, r->nmsrs);
		return r->bitmap[at / 8] >> (at % 8) & 1;
	}
	return !f->default_deny;
}
