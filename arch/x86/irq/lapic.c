// SPDX-License-Identifier: GPL-2.0
/*
 * Local APIC: priorities, acceptance and acknowledgement of interrupts (SDM vol. 3, "Handling
 * Interrupts").
 *
 * Vectors below 16 are never set in IRR or ISR, so a highest vector of 0 means none and compares
 * lower than any priority.
 */
#include "lapic.h"
#include "lapic_dest.h"

#include <linux/string.h>

/* The bit arrays are eight double-words, each at the start of a 16-byte slot. */
static u32 *vector_word(struct lapic *l, enum lapic_reg array, u8 vector)
{
	return &l->regs[array / 4 + vector / 32 * 4];
}

/* Nothing above @top is set. */
static u8 highest_vector(const struct lapic *l, enum lapic_reg array, u8 top)
{
	const u32 *word = &l->regs[array / 4];
	int i;

	for (i = top / 32; i >= 0; i--) {
		if (word[i * 4])
			return i * 32 + 31 - __builtin_clz(word[i * 4]);
	}
	return 0;
}

/*
 * PPR: the higher class of TPR and the interrupt in service; with equal classes TPR's subclass
 * stays.
 */
static void update_priority(struct lapic *l)
{
	u8 tpr = lapic_reg(l, LAPIC_TPR);
	u8 class = l->isr_max & 0xf0;
	u8 ppr = (tpr & 0xf0) >= class ? tpr : class;

	lapic_set_reg(l, LAPIC_PPR, ppr);
	l->pending = lapic_enabled(l) && (l->irr_max & 0xf0) > (ppr & 0xf0) ? l->irr_max : 0;
}

/* A vector above all that were requested. */
static void new_highest(struct lapic *l, u8 vector)
{
	l->irr_max = vector;
	l->pending = lapic_enabled(l) && (vector & 0xf0) > (lapic_reg(l, LAPIC_PPR) & 0xf0) ? vector : 0;
}

void lapic_refresh(struct lapic *l)
{
	/* Never set by an interrupt, but an image may say anything. */
	l->regs[LAPIC_IRR / 4] &= ~0xffffu;
	l->regs[LAPIC_ISR / 4] &= ~0xffffu;
	l->regs[LAPIC_TMR / 4] &= ~0xffffu;
	l->irr_max = highest_vector(l, LAPIC_IRR, 255);
	l->isr_max = highest_vector(l, LAPIC_ISR, 255);
	update_priority(l);
}

void lapic_configured(struct lapic *l)
{
	u32 version = LAPIC_VERSION_VALUE | LAPIC_VERSION_MAXLVT(l->cfg.cmci ? 6 : 5);

	if (l->cfg.directed_eoi)
		version |= LAPIC_VERSION_DIRECTED;
	lapic_set_reg(l, LAPIC_VERSION, version);
}

static void reset_lvt(struct lapic *l)
{
	unsigned int reg;

	for (reg = LAPIC_LVT_TIMER; reg <= LAPIC_LVT_ERROR; reg += 0x10)
		lapic_set_reg(l, reg, LAPIC_LVT_MASKED);
	/* Also without it: userspace may offer CMCI after the reset. */
	lapic_set_reg(l, LAPIC_LVT_CMCI, LAPIC_LVT_MASKED);
	if (l->cfg.lint0_extint)
		lapic_set_reg(l, LAPIC_LVT_LINT0, IRQ_MODE_EXTINT << LAPIC_MODE_SHIFT);
}

void lapic_reset(struct lapic *l, bool init)
{
	u32 id = lapic_reg(l, LAPIC_ID);

	if (!init) {
		l->base = LAPIC_BASE_RESET | LAPIC_BASE_EN | (l->cfg.bsp ? LAPIC_BASE_BSP : 0);
		id = l->cfg.id << 24;
	}
	memset(l->regs, 0, LAPIC_REGS_SIZE);
	lapic_set_reg(l, LAPIC_ID, id);
	lapic_set_reg(l, LAPIC_DFR, ~0u);
	lapic_set_reg(l, LAPIC_SVR, 0xff);
	if (lapic_x2apic(l))
		lapic_set_reg(l, LAPIC_LDR, lapic_x2_ldr(l->cfg.id));
	lapic_configured(l);
	reset_lvt(l);
	l->armed = false;
	l->expiry = 0;
	l->deadline = 0;
	l->errors = 0;
	lapic_keep(l);
	lapic_refresh(l);
}

void lapic_init(struct lapic *l, u32 *regs, const struct lapic_config *cfg)
{
	memset(l, 0, sizeof(*l));
	l->regs = regs;
	l->cfg = *cfg;
	lapic_reset(l, false);
}

static enum lapic_action accept_vector(struct lapic *l, u8 vector, bool level)
{
	u32 bit = 1u << (vector & 31);
	u32 *irr = vector_word(l, LAPIC_IRR, vector);
	u32 *tmr = vector_word(l, LAPIC_TMR, vector);

	if (vector < 16) {
		lapic_error(l, LAPIC_ESR_RECV_ILLEGAL);
		return LAPIC_IGNORED;
	}
	if (level)
		*tmr |= bit;
	else
		*tmr &= ~bit;
	if (*irr & bit)
		return LAPIC_COALESCED;
	*irr |= bit;
	if (vector > l->irr_max)
		new_highest(l, vector);
	return LAPIC_ACCEPTED;
}

enum lapic_action lapic_accept(struct lapic *l, const struct irq_msg *m)
{
	if (!lapic_enabled(l))
		return LAPIC_IGNORED;

	switch (m->mode) {
	case IRQ_MODE_FIXED:
	case IRQ_MODE_LOWEST:
		if (!lapic_sw_enabled(l))
			return LAPIC_IGNORED;
		return accept_vector(l, m->vector, m->level);
	case IRQ_MODE_SMI:
		return LAPIC_SMI;
	case IRQ_MODE_NMI:
		return LAPIC_NMI;
	case IRQ_MODE_INIT:
		return LAPIC_INIT;
	case IRQ_MODE_SIPI:
		return LAPIC_SIPI;
	case IRQ_MODE_EXTINT:
		return LAPIC_EXTINT;
	}
	return LAPIC_IGNORED;
}

/*
 * Delivery mode of a local vector table entry; IRQ_MODE_RESERVED if the entry knows no such mode.
 */
static u8 lvt_mode(enum lapic_reg lvt, u32 val)
{
	u8 mode = (val >> LAPIC_MODE_SHIFT) & 7;

	switch (lvt) {
	case LAPIC_LVT_TIMER:
	case LAPIC_LVT_ERROR:
		return IRQ_MODE_FIXED;
	case LAPIC_LVT_LINT0:
	case LAPIC_LVT_LINT1:
		return mode == IRQ_MODE_LOWEST || mode == IRQ_MODE_SIPI ? IRQ_MODE_RESERVED : mode;
	default:
		if (mode == IRQ_MODE_FIXED || mode == IRQ_MODE_SMI || mode == IRQ_MODE_NMI)
			return mode;
		return IRQ_MODE_RESERVED;
	}
}

enum lapic_action lapic_local(struct lapic *l, enum lapic_reg lvt)
{
	u32 val = lapic_reg(l, lvt);
	struct irq_msg m = { .vector = val & LAPIC_VECTOR, .mode = lvt_mode(lvt, val) };

	if (!lapic_enabled(l)) {
		/* Without an APIC its two pins are the processor's INTR and NMI. */
		if (lvt == LAPIC_LVT_LINT0)
			return LAPIC_EXTINT;
		return lvt == LAPIC_LVT_LINT1 ? LAPIC_NMI : LAPIC_IGNORED;
	}
	if (val & LAPIC_LVT_MASKED || (lvt == LAPIC_LVT_CMCI && !l->cfg.cmci))
		return LAPIC_IGNORED;
	if (lvt == LAPIC_LVT_PERF && l->cfg.pmi_masks)
		lapic_set_reg(l, lvt, val | LAPIC_LVT_MASKED);
	return lapic_accept(l, &m);
}

void lapic_error(struct lapic *l, u32 bits)
{
	u32 fresh = bits & ~l->errors;

	l->errors |= bits;
	/*
	 * An illegal vector in the error entry itself comes back here once, and is not fresh then.
	 */
	if (fresh)
		lapic_local(l, LAPIC_LVT_ERROR);
}

static void merge_word(struct lapic *l, unsigned int word, u32 irr, u32 level)
{
	u32 *tmr = &l->regs[LAPIC_TMR / 4 + word * 4];

	if (!irr)
		return;
	l->regs[LAPIC_IRR / 4 + word * 4] |= irr;
	*tmr = (*tmr & ~irr) | (irr & level);
}

void lapic_drain(struct lapic *l, unsigned int word, u64 irr, u64 level)
{
	unsigned int top;

	if (!word)
		irr &= ~0xffffull;
	if (!irr)
		return;
	merge_word(l, 2 * word, irr, level);
	merge_word(l, 2 * word + 1, irr >> 32, level >> 32);
	top = word * 64 + 63 - __builtin_clzll(irr);
	if (top > l->irr_max)
		new_highest(l, top);
}

u8 lapic_ack(struct lapic *l)
{
	u8 vector = l->pending;
	u32 bit = 1u << (vector & 31);

	if (!vector)
		return 0;
	*vector_word(l, LAPIC_IRR, vector) &= ~bit;
	*vector_word(l, LAPIC_ISR, vector) |= bit;
	l->irr_max = highest_vector(l, LAPIC_IRR, vector);
	/*
	 * Its class is above the PPR, so above all in service and the TPR; nothing that is
	 * requested is above it.
	 */
	l->isr_max = vector;
	lapic_set_reg(l, LAPIC_PPR, vector & 0xf0);
	l->pending = 0;
	return vector;
}

bool lapic_eoi_broadcasts(const struct lapic *l, u8 vector)
{
	if (!(l->regs[LAPIC_TMR / 4 + vector / 32 * 4] & 1u << (vector & 31)))
		return false;
	return !(l->cfg.directed_eoi && lapic_reg(l, LAPIC_SVR) & LAPIC_SVR_DIRECTED);
}

u8 lapic_eoi(struct lapic *l, bool *broadcast)
{
	u8 vector = l->isr_max;
	u32 bit = 1u << (vector & 31);

	*broadcast = false;
	if (!vector)
		return 0;
	*vector_word(l, LAPIC_ISR, vector) &= ~bit;
	l->isr_max = highest_vector(l, LAPIC_ISR, vector);
	update_priority(l);
	*broadcast = lapic_eoi_broadcasts(l, vector);
	return vector;
}

bool lapic_eoi_can_wait(const struct lapic *l, u8 vector)
{
	return vector && l->isr_max == vector && !l->irr_max &&
	       !(l->regs[LAPIC_TMR / 4 + vector / 32 * 4] & 1u << (vector & 31));
}

void lapic_set_tpr(struct lapic *l, u8 tpr)
{
	lapic_set_reg(l, LAPIC_TPR, tpr);
	update_priority(l);
}

bool lapic_takes_extint(const struct lapic *l)
{
	u32 lint0 = lapic_reg(l, LAPIC_LVT_LINT0);

	if (!lapic_enabled(l))
		return true;
	return !(lint0 & LAPIC_LVT_MASKED) && ((lint0 >> LAPIC_MODE_SHIFT) & 7) == IRQ_MODE_EXTINT;
}
