// SPDX-License-Identifier: GPL-2.0
/*
 * Local APIC: IA32_APIC_BASE and the images of KVM_GET_LAPIC and KVM_SET_LAPIC.
 *
 * An image is the register page. In x2APIC mode the ID is in xAPIC format unless
 * KVM_X2APIC_API_USE_32BIT_IDS says otherwise, and the ICR's upper half stands in ICR2. What
 * registers cannot say is in unused words, see enum lapic_image.
 */
#include "lapic.h"
#include "lapic_dest.h"

#include <linux/errno.h>
#include <linux/string.h>

static bool base_valid(const struct lapic *l, u64 val)
{
	u64 legal = ((1ull << l->cfg.maxphyaddr) - 1) & ~0xfffull;

	legal |= LAPIC_BASE_BSP | LAPIC_BASE_EN;
	if (l->cfg.x2apic)
		legal |= LAPIC_BASE_EXTD;
	if (val & ~legal)
		return false;
	return val & LAPIC_BASE_EN || !(val & LAPIC_BASE_EXTD);
}

/* From x2APIC mode only to disabled, into it only from xAPIC mode. */
static bool transition_legal(u64 old, u64 new)
{
	bool was_on = old & LAPIC_BASE_EN, was_x2 = old & LAPIC_BASE_EXTD;
	bool on = new & LAPIC_BASE_EN, x2 = new & LAPIC_BASE_EXTD;

	if (was_x2 && on && !x2)
		return false;
	return was_on || !x2;
}

/* Disabling loses all state; the registers are those of power-up when the APIC is enabled again. */
static void power_down(struct lapic *l)
{
	u64 base = l->base;

	lapic_reset(l, false);
	l->base = base;
	lapic_refresh(l);
}

int lapic_set_base(struct lapic *l, u64 val, bool host)
{
	bool was_x2 = lapic_x2apic(l);
	u64 old = l->base;

	if (!base_valid(l, val) || (!host && !transition_legal(old, val)))
		return 1;
	l->base = val;
	if (!host && old & LAPIC_BASE_EN && !(val & LAPIC_BASE_EN))
		power_down(l);
	if (!was_x2 && lapic_x2apic(l)) {
		lapic_set_reg(l, LAPIC_ID, l->cfg.id);
		lapic_set_reg(l, LAPIC_LDR, lapic_x2_ldr(l->cfg.id));
	} else if (was_x2 && !lapic_x2apic(l)) {
		lapic_set_reg(l, LAPIC_ID, l->cfg.id << 24);
		lapic_set_reg(l, LAPIC_LDR, 0);
	}
	lapic_refresh(l);
	return 0;
}

void lapic_get_state(const struct lapic *l, const struct lapic_posted *posted, u64 ns,
		     struct kvm_lapic_state *s)
{
	struct lapic copy = *l;
	unsigned int i;

	memcpy(s->regs, l->regs, LAPIC_REGS_SIZE);
	copy.regs = (u32 *)s->regs;
	for (i = 0; posted && i < 4; i++)
		lapic_drain(&copy, i, posted->irr[i], posted->level[i]);
	lapic_timer_fire_ns(&copy, ns);
	lapic_timer_save(&copy, ns);
	lapic_set_reg(&copy, LAPIC_IMAGE_ESR, copy.errors);
	if (lapic_x2apic(l) && !l->cfg.ids32)
		lapic_set_reg(&copy, LAPIC_ID, l->cfg.id << 24);
}

/* Bits an image may have in registers that software cannot write freely */
static void clean_page(struct lapic *l)
{
	bool x2 = lapic_x2apic(l);
	unsigned int reg;

	lapic_set_reg(l, LAPIC_TPR, lapic_reg(l, LAPIC_TPR) & 0xff);
	lapic_set_reg(l, LAPIC_APR, 0);
	lapic_set_reg(l, LAPIC_EOI, 0);
	lapic_set_reg(l, LAPIC_RRD, 0);
	lapic_set_reg(l, LAPIC_LDR,
		      x2 ? lapic_x2_ldr(l->cfg.id) : lapic_reg(l, LAPIC_LDR) & 0xff000000);
	lapic_set_reg(l, LAPIC_DFR, lapic_reg(l, LAPIC_DFR) | 0x0fffffff);
	lapic_set_reg(l, LAPIC_SVR, lapic_reg(l, LAPIC_SVR) & (0x3ff | LAPIC_SVR_DIRECTED));
	lapic_set_reg(l, LAPIC_ICR, lapic_reg(l, LAPIC_ICR) & ~(u32)LAPIC_ICR_BUSY);
	lapic_set_reg(l, LAPIC_TDCR, lapic_reg(l, LAPIC_TDCR) & 0xb);
	for (reg = LAPIC_LVT_TIMER; reg <= LAPIC_LVT_ERROR; reg += 0x10)
		lapic_set_reg(l, reg, lapic_reg(l, reg) & 0x7efff & ~(u32)LAPIC_LVT_REMOTE_IRR);
}

/* Between the registers there is nothing; the CPU may read there for the guest. */
static void clean_gaps(struct lapic *l)
{
	unsigned int reg;

	for (reg = 0; reg < LAPIC_REGS_SIZE; reg += 0x10)
		memset(&l->regs[reg / 4 + 1], 0, 12);
}

int lapic_set_state(struct lapic *l, const struct kvm_lapic_state *s, u64 ns)
{
	u32 id;

	memcpy(&id, s->regs + LAPIC_ID, sizeof(id));
	if (lapic_x2apic(l)) {
		if (l->cfg.ids32 && id != l->cfg.id)
			return -EINVAL;
		id = l->cfg.id;
	}
	memcpy(l->regs, s->regs, LAPIC_REGS_SIZE);
	lapic_set_reg(l, LAPIC_ID, id);
	lapic_configured(l);
	clean_page(l);
	/* VMMs that rebuild images do not know this entry; zero would be unmasked. */
	if (lapic_reg(l, LAPIC_IMAGE_MARK) != LAPIC_IMAGE_VALID && !lapic_reg(l, LAPIC_LVT_CMCI))
		lapic_set_reg(l, LAPIC_LVT_CMCI, LAPIC_LVT_MASKED);
	l->errors = lapic_reg(l, LAPIC_IMAGE_ESR) & 0xff;
	lapic_timer_restore(l, ns);
	clean_gaps(l);
	lapic_keep(l);
	lapic_refresh(l);
	return 0;
}
