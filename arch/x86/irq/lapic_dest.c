// SPDX-License-Identifier: GPL-2.0
/*
 * Local APIC: destinations and arbitration.
 *
 * Beyond the manual, one courtesy to VMMs that start more than 255 processors: an APIC still in
 * xAPIC mode also answers to its own x2APIC ID where that does not fit in 8 bits.
 */
#include "lapic_dest.h"

struct lapic_addr lapic_addr(const struct lapic *l)
{
	bool x2apic = lapic_x2apic(l);

	return (struct lapic_addr){
		.id		= l->cfg.id,
		.xid		= x2apic ? 0 : lapic_reg(l, LAPIC_ID) >> 24,
		.ldr		= x2apic ? lapic_x2_ldr(l->cfg.id) : lapic_reg(l, LAPIC_LDR) >> 24,
		.model		= lapic_reg(l, LAPIC_DFR) >> 28,
		.x2apic		= x2apic,
		.enabled	= lapic_enabled(l),
		.sw_enabled	= lapic_enabled(l) && lapic_sw_enabled(l),
	};
}

static bool match_physical(const struct lapic_addr *a, u32 dest)
{
	if (a->x2apic)
		return dest == a->id;
	if (dest > 0xff)
		return dest == a->id;
	return dest == 0xff || dest == a->xid;
}

static bool match_logical(const struct lapic_addr *a, u32 dest)
{
	if (a->x2apic)
		return dest >> 16 == a->ldr >> 16 && (dest & a->ldr & 0xffff);
	if (dest > 0xff)
		return false;
	if (dest == 0xff)
		return true;

	switch (a->model) {
	case LAPIC_DFR_FLAT:
		return dest & a->ldr;
	case LAPIC_DFR_CLUSTER:
		return dest >> 4 == a->ldr >> 4 && (dest & a->ldr & 0xf);
	}
	return false;
}

bool lapic_match(const struct lapic_addr *a, const struct irq_msg *m, bool self)
{
	if (!a->enabled)
		return false;

	switch (m->shorthand) {
	case IRQ_DEST_SELF:
		return self;
	case IRQ_DEST_ALL:
		return true;
	case IRQ_DEST_OTHERS:
		return !self;
	}
	if (m->broadcast)
		return true;
	return m->logical ? match_logical(a, m->dest) : match_physical(a, m->dest);
}

unsigned int lapic_arbitrate(const struct lapic_rival *r, unsigned int n, u8 vector)
{
	unsigned int equal = 0, i;
	u8 best = 0xff;

	for (i = 0; i < n; i++) {
		u8 class = r[i].prio >> 4;

		if (class < best) {
			best = class;
			equal = 0;
		}
		equal += class == best;
	}
	equal = vector % equal;
	for (i = 0; i < n; i++) {
		if (r[i].prio >> 4 == best && !equal--)
			break;
	}
	return i;
}
